"""How long `factd verify` takes for a revision of many facts, by part, with every kind of probe.

    python -m benchmarks.verifying [--model FOLDER] [--facts 100] [--state FOLDER] [--runs 3] [--json FILE]

Known facts of the demo's catalogue get another object, are queued, approved, compiled and published into a state folder by `apply`,
as a user's would be; only the gate is told to let everything into the weights, for what is timed is the asking. Then the
served revision is verified again, base and edited model, with the shipped settings' sizes. With --state the folder is kept, and a second
call only verifies.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent.cli.progress import ProgressLine, shows_progress
from agent.config import load
from agent.examine import nearness, probes_of
from agent.locate import with_another_object
from agent.paths import POCKET, data_file
from agent.recheck import recheck
from agent.revise import apply
from agent.settings import ModelSettings, Settings, VerifySettings
from agent.store import published, queue, revisions
from agent.types import Fact, Proposal
from agent.workshop import Workshop, open_workshop

_ALL = VerifySettings(
    efficacy=0,
    paraphrase=0,
    same_subject=0,
    others=0,
    ppl_ratio=1e9,
    every_fact=False,
    drift=1e9,
    entropy=0,
    norm=1e9,
)


@dataclass(frozen=True, slots=True)
class Timing:
    """One verification, base and edited model together: seconds by the clock, and of the processor in all threads."""

    wall_s: float
    cpu_s: float


def settings_of(model: Path, state: Path) -> Settings:
    """The demo's catalogue and editing, the shipped sizes of the probe sets, a gate that lets everything in, and no polishing."""
    settings = load(data_file("demo.yaml"), state=state, environ={})
    model_settings = ModelSettings(path=str(model), dtype="float32")
    editing = replace(settings.editing, polish=0)
    return replace(settings, model=model_settings, editing=editing, verify=_ALL, sources=())


def fill(shop: Workshop, count: int) -> None:
    """Publish a revision of `count` facts of relations with one object each. Raises ValueError where there are fewer."""
    swaps = with_another_object(shop.catalogue, shop.relations, 0)
    facts = {
        (known.subject, known.relation): Fact(known.subject, known.relation, traced.other, shop.clock())
        for known, traced in swaps
        if shop.relations[known.relation].cardinality == "one"
    }
    if len(facts) < count:
        raise ValueError(f"the catalogue has only {len(facts)} facts with one object")
    for fact in list(facts.values())[:count]:
        found = queue.propose(shop.store, Proposal(0, fact, "pending", "benchmark"), now=shop.clock())
        queue.approve(shop.store, found.proposal.id, who="benchmark", now=shop.clock())
    apply(shop)


@contextmanager
def shop_of(settings: Settings, progress: ProgressLine, *, create: bool = False) -> Iterator[Workshop]:
    with progress:
        shop = open_workshop(settings, progress=progress, create=create)
        with shop.store:
            yield shop


def timed(settings: Settings, progress: ProgressLine) -> Timing:
    """Verify what is served, the model loaded already, as a daemon has it."""
    with shop_of(settings, progress) as shop:
        shop.base()
        wall, cpu = time.perf_counter(), time.process_time()
        recheck(shop)
        return Timing(time.perf_counter() - wall, time.process_time() - cpu)


def asked(settings: Settings, progress: ProgressLine) -> dict[str, int]:
    """How many facts are in the weights, and how many prompts are asked by kind."""
    with shop_of(settings, progress) as shop:
        current = revisions.current(shop.store).id
        places = revisions.places(shop.store, current)
        inside = [p for p in published.members(shop.store, current) if places[p.id] == "weights"]
        probes = probes_of(shop, inside, nearness(shop, shop.base(), inside))
        return {"facts": len(inside), **Counter(probe.kind for probe in probes)}


def measure(settings: Settings, facts: int, runs: int) -> dict[str, Any]:
    progress = ProgressLine(shows_progress(sys.stderr, quiet=False))
    with shop_of(settings, progress, create=True) as shop:
        if not revisions.current(shop.store).facts:
            fill(shop, facts)
    timings = [timed(settings, progress) for _ in range(runs)]
    return {
        "asked": asked(settings, progress),
        "wall_s": statistics.median(t.wall_s for t in timings),
        "cpu_s": statistics.median(t.cpu_s for t in timings),
        "runs": [[t.wall_s, t.cpu_s] for t in timings],
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verifying", description=__doc__)
    parser.add_argument("--model", type=Path, default=POCKET)
    parser.add_argument("--facts", type=int, default=100)
    parser.add_argument("--state", type=Path, help="keep the revision here, for another call")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        state = options.state or Path(scratch)
        result = measure(settings_of(options.model, state.absolute()), options.facts, options.runs)
    kinds = ", ".join(f"{count} {kind}" for kind, count in result["asked"].items())
    sys.stdout.write(f"{kinds}\n")
    sys.stdout.write(
        f"verified in {result['wall_s']:.1f} s (processor {result['cpu_s']:.1f} s), median of {options.runs}\n"
    )
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
