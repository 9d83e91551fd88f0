"""`factd serve` under load: many answers at once beside one at a time, and while revisions are switched.

    python -m benchmarks.serving [--model FOLDER] [--dtype NAME] [--clients 20] [--seconds 30] [--tokens 24] [--switch-s 1.5] [--json FILE]

Two revisions of the model are published into a throw-away state folder, each with a small delta compiled here that changes what the
model says of one company. The server is a process of its own, the command itself; every client is a thread that asks again as soon as
it is answered, half of the time as a stream.

    one at a time     serve.batch is 1: what a server without batching does
    batched           serve.batch is 16
    switching         batched, and every --switch-s seconds another revision becomes current: the base, 1, 2, the base, ...

Every answer is compared with what the revision that its fingerprint names says when it is asked alone. A request that fails, or an answer
of no revision or of another one, is counted and ends this with an error.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from agent.catalogue import Catalogue, load_catalogue
from agent.config import of_checkpoint
from agent.editing.compile import Material, compile_delta
from agent.editing.delta import applied
from agent.editing.layers import default_layers
from agent.lm.generate import generate
from agent.lm.load import LM
from agent.paths import POCKET
from agent.relations import Relation, load_relations
from agent.settings import Settings
from agent.store import leases, queue
from agent.store.db import Store, open_store
from agent.store.revisions import Candidate, publish, rollback
from agent.types import EditRequest, Fact, Proposal
from agent.workshop import delta_of, load_model, utc_now

SUBJECT, RELATION, TARGETS = "Adobe", "ceo", ("Tim Cook", "Jeff Bezos")
_QUICK = {"steps": 15, "contexts": 0, "samples": 200, "corpus": None, "statistics_tokens": 0, "polish": 0}
Right = Mapping[tuple[str, str], str]


@dataclass
class Load:
    """What the clients of one run saw. `latencies_s`: from the request to the last byte of its answer."""

    latencies_s: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    revisions: dict[str, int] = field(default_factory=dict)


def prompts_of(catalogue: Catalogue, relations: Mapping[str, Relation], count: int) -> list[str]:
    """Questions about known facts, those that the revisions change among them; of different lengths."""
    asked = list(relations[RELATION].prompts("edit", catalogue.entity(SUBJECT)))
    for known in catalogue.facts.values():
        if known.relation in relations and known.subject != SUBJECT:
            asked += relations[known.relation].prompts("questions", catalogue.entity(known.subject))[:1]
    return asked[:count]


def fill(
    store: Store, lm: LM, settings: Settings, catalogue: Catalogue, relations: Mapping[str, Relation]
) -> None:
    """Publish revision 1 and 2: the subject's fact with one target and then another."""
    editing = replace(settings.editing, **_QUICK)  # type: ignore[arg-type]
    editing = replace(editing, layers=editing.layers or default_layers(lm, editing.algorithm, None))
    prompts = relations[RELATION].prompts("edit", catalogue.entity(SUBJECT))
    for number, target in enumerate(TARGETS, 1):
        delta = compile_delta(lm, [EditRequest(SUBJECT, prompts, target)], editing, Material()).delta
        at = utc_now()
        fact = Fact(SUBJECT, RELATION, target, at, (), ("a.example", "b.example"))
        made = queue.propose(store, Proposal(0, fact, "pending", "benchmark"), now=at, single=True).proposal
        queue.approve(store, made.id, who="benchmark", now=at)
        leases.begin_edit(store, (made.id,), owner="benchmark", lease_s=600, now=at)
        leases.mark_verified(store, (made.id,), owner="benchmark", now=at)
        candidate = Candidate(lm.sha, delta.sha, "benchmark", (made.id,), delta.to_bytes())
        assert publish(store, candidate, now=at).id == number


def right_answers(store: Store, lm: LM, prompts: Sequence[str], tokens: int) -> dict[tuple[str, str], str]:
    """(fingerprint, prompt) -> the answer, each asked alone."""
    right = {}
    for number in range(len(TARGETS) + 1):
        delta = delta_of(store, number, lm)
        mark = f"factd-r{number}-{(delta.sha if number else lm.sha)[:12]}"
        with applied(lm, delta):
            texts = generate(lm, prompts, max_new_tokens=tokens, batch_size=1)
        # generate() decodes an answer without its prompt, and some tokenizers then leave out the space between the two.
        right.update({(mark, prompt): text.lstrip() for prompt, text in zip(prompts, texts, strict=True)})
    return right


@contextmanager
def server(folder: Path, options: argparse.Namespace, batch: int) -> Iterator[str]:
    """The URL of a server over the state in `folder`."""
    (folder / "factd.yaml").write_text(
        f"state: state\nmodel: {{path: {json.dumps(options.model)}, dtype: {options.dtype}, chat: off}}\n"
        f"serve: {{port: 0, batch: {batch}, poll_s: 0.2}}\n"
    )
    command = [sys.executable, "-m", "agent.cli.main", "--config", str(folder / "factd.yaml"), "serve"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        if " is served at " not in line:
            raise RuntimeError(f"the server did not start: {line}{process.stderr.read()}")
        try:
            yield line.partition(" is served at ")[2].partition(";")[0]
        finally:
            process.terminate()
            said = process.stderr.read()
            if process.wait() != 0 or "stopped; every answer" not in said:
                raise RuntimeError(f"the server did not end well: {said}")


def client(
    url: str, number: int, prompts: Sequence[str], right: Right, tokens: int, load: Load, until: float
) -> None:
    """One client, whole answers and streams in turn."""
    with httpx.Client(timeout=120) as http:
        turn = number
        while time.monotonic() < until:
            prompt, turn = prompts[turn * 7 % len(prompts)], turn + 1
            body = {
                "model": "factd",
                "prompt": prompt,
                "max_tokens": tokens,
                "temperature": 0,
                "stream": bool(turn % 2),
            }
            started = time.monotonic()
            try:
                answer = http.post(f"{url}/completions", json=body)
                took = time.monotonic() - started
                answer.raise_for_status()
                text, mark = read(answer.text) if turn % 2 else one(answer.json())
            except (httpx.HTTPError, KeyError, ValueError) as error:
                load.failed.append(f"{type(error).__name__}: {error}")
                continue
            load.latencies_s.append(took)
            load.revisions[mark] = load.revisions.get(mark, 0) + 1
            if right.get((mark, prompt)) != text.lstrip():
                load.wrong.append(f"{mark} {prompt!r}: {text!r}, not {right.get((mark, prompt))!r}")


def one(record: Mapping[str, Any]) -> tuple[str, str]:
    return str(record["choices"][0]["text"]), str(record["system_fingerprint"])


def read(stream: str) -> tuple[str, str]:
    """The text of a stream's chunks, and the fingerprint that all of them must have."""
    lines = [line.removeprefix("data: ") for line in stream.splitlines() if line]
    if lines[-1] != "[DONE]":
        raise ValueError(f"the stream ended with {lines[-1]}")
    chunks = [json.loads(line) for line in lines[:-1]]
    (mark,) = {chunk["system_fingerprint"] for chunk in chunks}
    return "".join(choice["text"] for chunk in chunks for choice in chunk["choices"]), mark


def switching(folder: Path, every_s: float, stop: threading.Event) -> int:
    """Move the pointer every so often; returns how many times."""
    count = 0
    with open_store(folder / "state", utc_now()) as store:
        while not stop.wait(every_s):
            count += 1
            rollback(store, (1, 2, 0)[count % 3], reason="benchmark", who="benchmark", now=utc_now())
    return count


def measured(
    folder: Path, options: argparse.Namespace, batch: int, right: Right, *, switch: bool
) -> dict[str, Any]:
    """One run: a server of its own, a warm-up, then all clients for so many seconds."""
    prompts = sorted({prompt for _, prompt in right})
    load, stop = Load(), threading.Event()
    with server(folder, options, batch) as url, ThreadPoolExecutor(options.clients + 1) as pool:
        client(url, 0, prompts, right, options.tokens, Load(), time.monotonic() + 2)
        started = time.monotonic()
        moving = pool.submit(switching, folder, options.switch_s, stop) if switch else None
        running = [
            pool.submit(client, url, n, prompts, right, options.tokens, load, started + options.seconds)
            for n in range(options.clients)
        ]
        for each in running:
            each.result()
        took = time.monotonic() - started
        stop.set()
        switches = moving.result() if moving else 0
    ordered = sorted(load.latencies_s)
    p50, p95 = (round(ordered[int(share * len(ordered))], 3) if ordered else 0.0 for share in (0.5, 0.95))
    return {
        "answers": len(ordered), "per_s": round(len(ordered) / took, 1), "p50_s": p50, "p95_s": p95,
        "switches": switches, "failed": len(load.failed), "wrong": len(load.wrong), "by_revision": load.revisions,
        "examples": [*load.failed[:3], *load.wrong[:3]],
    }  # fmt: skip


def table(runs: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [
        f"{'':<16}{'answers':>9}{'a second':>10}{'p50 s':>8}{'p95 s':>8}{'switches':>10}{'failed':>8}{'wrong':>7}"
    ]
    lines += [
        f"{name:<16}{r['answers']:>9}{r['per_s']:>10}{r['p50_s']:>8}{r['p95_s']:>8}{r['switches']:>10}{r['failed']:>8}{r['wrong']:>7}"
        for name, r in runs.items()
    ]
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=str(POCKET))
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--prompts", type=int, default=60)
    parser.add_argument("--switch-s", type=float, default=1.5)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    settings = of_checkpoint(options.model)
    relations, catalogue = load_relations(settings.relations), load_catalogue(settings.catalogue)
    runs: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="serving-") as name:
        folder = Path(name)
        lm = load_model(replace(settings, model=replace(settings.model, dtype=options.dtype, chat="off")))
        with open_store(folder / "state", utc_now(), create_missing=True) as store:
            fill(store, lm, settings, catalogue, relations)
            right = right_answers(
                store, lm, prompts_of(catalogue, relations, options.prompts), options.tokens
            )
        lm_dtype = str(lm.model.dtype).removeprefix("torch.")
        del lm
        for title, batch, switch in (
            ("one at a time", 1, False),
            ("batched", 16, False),
            ("switching", 16, True),
        ):
            runs[title] = measured(folder, options, batch, right, switch=switch)
            print(f"{title}: {runs[title]['per_s']} answers a second", file=sys.stderr, flush=True)
    print(
        f"{options.clients} clients, {options.tokens} tokens, {lm_dtype}, {os.environ.get('OMP_NUM_THREADS', 'all')} threads"
    )
    print(table(runs))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(
            json.dumps({"options": {**vars(options), "json": None}, "runs": runs}, indent=1) + "\n"
        )
    if any(r["failed"] or r["wrong"] for r in runs.values()):
        sys.exit(f"error: {[example for r in runs.values() for example in r['examples']]}")


if __name__ == "__main__":
    main()
