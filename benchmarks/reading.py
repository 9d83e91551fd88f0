"""How fast news becomes claims, from the bytes of feeds on, and what each stage takes.

    python -m benchmarks.reading [FEED ...] [--processes 2] [--repeat 5] [--json OUT]

FEED is a feed or JSONL file; without one, the demo's papers are read. A stage is timed in one process, on all articles:
`parse` (bytes to articles), `sentences` (cut, and is there a role word?), `names` (the recogniser), `grammar` (linking, symbols,
patterns: what remains of the whole). Then so many processes read everything at once, each with a reader of its own; the slowest counts.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median
from typing import Any

from agent.catalogue import load_catalogue
from agent.ner.claims import Reader, make_reader
from agent.ner.load import load_nlp
from agent.paths import MORE, WORLD
from agent.relations import load_relations
from agent.sources.base import SourceSpec
from agent.sources.body import parse_body
from agent.sources.items import Context
from agent.types import Article

ROOT = Path(__file__).parent.parent
Bodies = Sequence[tuple[str, bytes]]


def shipped_reader(pipeline: str | None = None) -> Reader:
    """The reader that factd uses without any settings."""
    relations = load_relations(ROOT / "configs" / "relations.yaml")
    return make_reader(load_nlp(pipeline), load_catalogue([WORLD, MORE]), relations)


def articles_of(bodies: Bodies) -> list[Article]:
    now = datetime.now(UTC)
    return [
        article
        for name, body in bodies
        for article in parse_body(body, Context(SourceSpec(name, name), now), name=name).articles
    ]


def seconds(run: Callable[[], Any], repeat: int) -> float:
    """The median wall time of `run`, after one that warms up."""
    run()
    taken = []
    for _ in range(repeat):
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    return median(taken)


def stages(reader: Reader, bodies: Bodies, repeat: int) -> dict[str, float]:
    """Seconds by stage; `all` from bytes to claims."""
    articles = articles_of(bodies)
    sentences = [s for article in articles for s in reader.page(article).telling()]
    whole = seconds(lambda: list(reader.read_many(articles)), repeat)
    found = {
        "parse": seconds(lambda: articles_of(bodies), repeat),
        "sentences": seconds(lambda: [reader.page(article) for article in articles], repeat),
        "names": seconds(lambda: list(reader.names(sentences)), repeat),
    }
    found["grammar"] = whole - found["sentences"] - found["names"]
    return {**found, "all": found["parse"] + whole}


def together(bodies: Bodies, processes: int, repeat: int, pipeline: str | None) -> float:
    """Seconds in which each of `processes` gets from the bytes to all claims; the median of `repeat`, of which each is the slowest's."""
    # Each its share of the processors: numpy would give every process all of them.
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // processes))
    context = get_context("spawn")
    ready, results = context.Barrier(processes), context.Queue()
    workers = [
        context.Process(target=_work, args=(bodies, repeat, pipeline, ready, results))
        for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    taken = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    slowest: list[float] = [max(each) for each in zip(*taken, strict=True)]
    return median(slowest)


def _work(bodies: Bodies, repeat: int, pipeline: str | None, ready: Barrier, results: Any) -> None:
    reader = shipped_reader(pipeline)
    taken = []
    for again in range(repeat + 1):
        ready.wait()
        started = time.perf_counter()
        list(reader.read_many(articles_of(bodies)))
        if again:
            taken.append(time.perf_counter() - started)
    results.put(taken)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "feeds", type=Path, nargs="*", default=sorted((ROOT / "agent/demo/feeds").glob("*.xml"))
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument(
        "--pipeline", default=None, help="a spaCy package or folder; the one factd would use by default"
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    bodies = [(path.name, path.read_bytes()) for path in arguments.feeds]
    count = len(articles_of(bodies))
    found = stages(shipped_reader(arguments.pipeline), bodies, arguments.repeat)
    slowest = together(bodies, arguments.processes, arguments.repeat, arguments.pipeline)
    print(f"{count} articles in {sum(len(body) for _, body in bodies) / 2**20:.2f} MiB\n")
    print(f"{'stage':<12}{'ms an article':>14}{'share':>8}")
    for stage, taken in found.items():
        print(f"{stage:<12}{1000 * taken / count:>14.2f}{taken / found['all']:>8.0%}")
    rates = {
        "one process": count / found["all"],
        f"{arguments.processes} processes": arguments.processes * count / slowest,
    }
    print("\n" + "\n".join(f"{name}: {rate:.0f} articles a second" for name, rate in rates.items()))
    if arguments.json:
        result = {"articles": count, "seconds": found, "articles_per_s": rates}
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
