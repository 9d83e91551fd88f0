"""Revisions change under load: every request is answered, by exactly one revision, and says by which."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from agent.editing.delta import Delta, applied
from agent.lm.generate import generate
from agent.lm.load import LM
from tests.models import snapshot, unchanged
from tests.serve.conftest import ANSWERS, CAPITAL, LEADER, Site, serving

# Written to the end in every revision; the second is told beside the weights in revision 2 only.
PROMPTS = (CAPITAL, LEADER, "Zorland's capital is", "The currency of Tallisk is")
CLIENTS, SWITCHES, TOKENS = 20, 10, 6


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
            try:
                if count % 2:
                    answer = client.completions.create(
                        model="taught", prompt=prompt, max_tokens=TOKENS, temperature=0
                    )
                    text, last = answer.choices[0].text, answer
                else:
                    chunks = list(
                        client.completions.create(
                            model="taught", prompt=prompt, max_tokens=TOKENS, temperature=0, stream=True
                        )
                    )
                    assert len({chunk.system_fingerprint for chunk in chunks}) == 1
                    text, last = "".join(c.choices[0].text for c in chunks), chunks[0]
                assert last.model_extra is not None
                seen.answers.append(
                    (prompt, text, last.system_fingerprint or "", last.model_extra["factd"]["revision"])
                )
            except BaseException as error:
                seen.failures.append(error)
                return


def right_answers(lm: LM, deltas: dict[int, Delta]) -> dict[tuple[int, str], str]:
    """What each revision says, asked alone and without a server."""
    found = {}
    for revision in ANSWERS:
        with applied(lm, deltas.get(revision, Delta({}, lm.sha))):
            texts = generate(lm, PROMPTS, max_new_tokens=TOKENS)
        found.update({(revision, prompt): text for prompt, text in zip(PROMPTS, texts, strict=True)})
    with applied(lm, deltas[2]):
        begun = f"{LEADER} Ilic.\n{LEADER} Ilic"
        (rest,) = generate(lm, [begun], max_new_tokens=TOKENS - len(lm.tokenizer(" Ilic")["input_ids"]))
    found[2, LEADER] = f" Ilic{rest}"
    return found


def test_no_request_fails_and_none_mixes_revisions(lm: LM, deltas: dict[int, Delta], state: Path) -> None:
    before, right = snapshot(lm), right_answers(lm, deltas)
    assert len({right[revision, CAPITAL] for revision in ANSWERS}) == 3
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
