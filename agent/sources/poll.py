"""Many sources at once, in threads, since a fetch is mostly waiting; a few at a time to any one host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime
from urllib.parse import urlsplit

from agent.sources.base import Fetched, Source, SourceSpec
from agent.sources.fetch import KINDS, fetch
from agent.sources.http import Client
from agent.types import FeedState


def poll(
    specs: Sequence[SourceSpec],
    states: Mapping[str, FeedState],
    client: Client,
    now: datetime,
    max_concurrency: int = 8,
    per_host: int = 2,
    kinds: tuple[Source, ...] = KINDS,
) -> Iterator[tuple[SourceSpec, Fetched]]:
    """Poll every one of `specs`, due or not (ask `is_due`), and yield outcomes as they come, in any order.

    `states` maps a source's name to what its last poll left. Abandoning the iterator starts no further fetch
    and waits for those under way, 20 s at most.
    """
    waiting = list(specs)
    busy: Counter[str] = Counter()
    running: dict[Future[Fetched], SourceSpec] = {}
    with ThreadPoolExecutor(max_workers=max_concurrency, thread_name_prefix="poll") as pool:
        while waiting or running:
            held_back: list[SourceSpec] = []
            for spec in waiting:
                host = _host(spec, states)
                if len(running) < max_concurrency and (not host or busy[host] < per_host):
                    busy[host] += 1
                    running[pool.submit(fetch, spec, states.get(spec.name), client, now, kinds)] = spec
                else:
                    held_back.append(spec)
            waiting = held_back
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                spec = running.pop(future)
                busy[_host(spec, states)] -= 1
                yield spec, future.result()


def _host(spec: SourceSpec, states: Mapping[str, FeedState]) -> str:
    """Where the request will go; "" for files, which have no limit."""
    state = states.get(spec.name)
    url = state.url if state is not None and state.url.startswith("http") else spec.url
    try:
        return (urlsplit(url).hostname or "") if "://" in url else ""
    except ValueError:
        return ""
