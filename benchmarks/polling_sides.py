"""The two sides of `benchmarks.polling`, each run in a process of its own: poll, parse and store on disk, three rounds.

What one side does is one function from (urls, folder) to a `Side`; it is imported only in the process that runs it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.feed_server import host_of

ROUNDS = ("cold", "again", "news")


@dataclass(frozen=True)
class Side:
    """`poll` asks every feed once, due or not, and returns how many gave an error; `stored` counts articles in the database."""

    poll: Callable[[], int]
    stored: Callable[[], int]
    close: Callable[[], None]


def ours(urls: list[str], folder: Path, workers: int, per_host: int) -> Side:
    """What `agent.pipeline.fetch` does, without the model that the daemon holds beside it."""
    from agent.sources.base import SourceSpec
    from agent.sources.http import Client
    from agent.sources.poll import poll_batches
    from agent.store import feeds
    from agent.store.db import open_store

    store = open_store(folder / "factd", datetime.now(UTC), create_missing=True)
    specs = [SourceSpec(f"feed-{n}", url, allow_private=True) for n, url in enumerate(urls)]

    def poll_all() -> int:
        states = {state.source: state for state in feeds.states(store)}
        errors = 0
        for batch in poll_batches(specs, states, Client(), datetime.now(UTC), workers, per_host):
            feeds.save_polled(store, [(result.articles, result.state) for _, result in batch])
            errors += sum(result.status in ("error", "gone") for _, result in batch)
        return errors

    def stored() -> int:
        return int(store.rows("SELECT count(*) FROM article")[0][0])

    return Side(poll_all, stored, store.close)


def reader(urls: list[str], folder: Path, workers: int, per_host: int) -> Side:
    """lemon24/reader as its documentation uses it; it knows no limit per host."""
    from reader import make_reader

    library = make_reader(str(folder / "reader.sqlite"))
    for url in urls:
        library.add_feed(url)

    def poll_all() -> int:
        results = library.update_feeds_iter(scheduled=False, workers=workers)
        return sum(isinstance(result.value, Exception) for result in results)

    def stored() -> int:
        return int(library.get_entry_counts().total or 0)

    return Side(poll_all, stored, library.close)


SIDES: dict[str, Callable[[list[str], Path, int, int], Side]] = {"ours": ours, "reader": reader}


def control(port: int, path: str) -> dict[str, Any]:
    """Ask the server itself: `begin/0`, `begin/1` or `seen`."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/control/{path}", timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The rounds of one side: seconds, processor seconds, articles stored and what the server saw, for each; and the peak memory."""
    urls = [f"http://{host_of(n, options.hosts)}:{options.port}/feed/{n}.xml" for n in range(options.feeds)]
    side = SIDES[options.side](urls, Path(options.folder), options.workers, options.per_host)
    found: dict[str, Any] = {"side": options.side}
    for name in ROUNDS:
        control(options.port, f"begin/{int(name == 'news')}")
        began, used = time.perf_counter(), _processor_s()
        errors = side.poll()
        found[name] = {
            "s": time.perf_counter() - began,
            "processor_s": _processor_s() - used,
            "errors": errors,
            "articles": side.stored(),
            **control(options.port, "seen"),
        }
    found["peak_mib"] = _peak_mib()
    side.close()
    return found


def _processor_s() -> float:
    """User and system time of this process and of those that it has waited for."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both)


def _peak_mib() -> float:
    """Resident memory at its highest, this process and its living children together (shared pages counted in each)."""
    pids = ["self", *(str(child.pid) for child in multiprocessing.active_children())]
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="One side of benchmarks.polling.")
    parser.add_argument("--side", choices=sorted(SIDES), required=True)
    parser.add_argument("--folder", required=True)
    for name in ("port", "feeds", "hosts", "workers", "per-host"):
        parser.add_argument(f"--{name}", type=int, required=True)
    json.dump(measure(parser.parse_args()), sys.stdout)


if __name__ == "__main__":
    main()
