"""Revisions change under load: every request is answered, by exactly one revision, and says by which."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.editing.delta import Delta, applied
from agent.lm.load import LM
from agent.lm.sampling import Sampling
from agent.lm.stream import Decoder, Row, Wanted
from agent.lm.tokens import continuation
from tests.models import snapshot, unchanged
from tests.serve.conftest import ANSWERS, CAPITAL, LEADER, Site, serving

# The second is told beside the weights in revision 2 only. The last is long and drawn by chance, so that every word of it hangs on the
# weights: an answer in the middle of which they change is no revision's.
DRAWN = "Zorland Zorland Zorland"
PROMPTS = (CAPITAL, LEADER, "Zorland's capital is", DRAWN)
CLIENTS, SWITCHES, TOKENS = 20, 10, 6
HOT = {"temperature": 1.5, "seed": 11, "max_tokens": 30}


@dataclass
class Seen:
    """What the clients got: (prompt, text, fingerprint, revision as the body names it)."""

    answers: list[tuple[str, str, str, int]] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)


def asking(site: Site, number: int, stop: threading.Event, seen: Seen) -> None:
    """One client, in turn with and without a stream, until told to stop."""
    with site.client() as client:
        count = number
        while not stop.is_set():
            prompt, count = PROMPTS[count % len(PROMPTS)], count + 1
            how: Any = HOT if prompt == DRAWN else {"temperature": 0, "max_tokens": TOKENS}
            asked: Any = {"model": "taught", "prompt": prompt, **how}
            try:
                if count % 8 < 4:
                    first = client.completions.create(**asked)
                    text = first.choices[0].text
                else:
                    chunks = list(client.completions.create(**asked, stream=True))
                    assert len({chunk.system_fingerprint for chunk in chunks}) == 1
                    text, first = "".join(c.choices[0].text for c in chunks), chunks[0]
                revision = first.model_extra["factd"]["revision"]
                seen.answers.append((prompt, text, first.system_fingerprint, revision))
            except BaseException as error:
                seen.failures.append(error)
                return


def alone(lm: LM, prompt: str, begun: str = "") -> str:
    """What the model as it is now says, without a server and without company."""
    ids = tuple(lm.tokenizer(prompt)["input_ids"])
    begin = tuple(continuation(lm, prompt, begun)) if begun else ()
    one = Wanted(ids, TOKENS, begin=begin)
    if prompt == DRAWN:
        one = Wanted(ids, HOT["max_tokens"], Sampling(HOT["temperature"], 1.0, HOT["seed"]))  # type: ignore[arg-type]
    decoder = Decoder(lm)
    text = "".join(piece for _, piece in decoder.admit([Row.of(lm, one)]))
    while decoder.rows:
        text += "".join(piece for _, piece in decoder.step())
    return text


def right_answers(lm: LM, deltas: dict[int, Delta]) -> dict[tuple[int, str], str]:
    found = {}
    for revision in ANSWERS:
        with applied(lm, deltas.get(revision, Delta({}, lm.sha))):
            found.update({(revision, prompt): alone(lm, prompt) for prompt in PROMPTS})
            if revision == 2:
                found[2, LEADER] = alone(lm, f"{LEADER} Ilic.\n{LEADER}", " Ilic.")
    return found


def test_no_request_fails_and_none_mixes_revisions(lm: LM, deltas: dict[int, Delta], state: Path) -> None:
    before, right = snapshot(lm), right_answers(lm, deltas)
    for prompt in (CAPITAL, DRAWN):
        assert len({right[revision, prompt] for revision in ANSWERS}) == 3
    prints = {number: f"factd-r{number}-{delta.sha[:12]}" for number, delta in deltas.items()}
    prints[0] = f"factd-r0-{lm.sha[:12]}"
    seen, stop, served = Seen(), threading.Event(), set()
    with serving(lm, state) as site, ThreadPoolExecutor(CLIENTS) as pool:
        for number in range(CLIENTS):
            pool.submit(asking, site, number, stop, seen)
        try:
            for switch in range(SWITCHES):
                wanted = (1, 0, 2)[switch % 3]
                site.point_at(wanted)
                deadline = time.monotonic() + 20
                while site.engine.current.id != wanted and time.monotonic() < deadline:
                    time.sleep(0.01)
                asked = len(seen.answers)
                while (
                    len(seen.answers) < asked + CLIENTS // 2
                    and not seen.failures
                    and time.monotonic() < deadline
                ):
                    time.sleep(0.01)
                served.add(site.engine.current.id)
        finally:
            stop.set()
    assert seen.failures == []
    assert served == {0, 1, 2}
    wrong = [a for a in seen.answers if a[1] != right[a[3], a[0]] or a[2] != prints[a[3]]]
    assert wrong == []
    assert {revision for *_, revision in seen.answers} == {0, 1, 2}
    assert len(seen.answers) >= CLIENTS * SWITCHES // 2
    assert site.told == []
    assert unchanged(lm, before)
