"""Many sources at once, in threads, since a fetch is mostly waiting; a few at a time to any one host."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from heapq import heappop, heappush
from queue import Empty, SimpleQueue
from urllib.parse import urlsplit

from agent.sources.base import Fetched, Source, SourceSpec, state_for
from agent.sources.fetch import KINDS, fetch
from agent.sources.http import Client
from agent.types import FeedState

Outcome = tuple[SourceSpec, Fetched]
_WEB = ("http://", "https://")


def poll(
    specs: Sequence[SourceSpec],
    states: Mapping[str, FeedState],
    client: Client,
    now: datetime,
    max_concurrency: int = 8,
    per_host: int = 2,
    kinds: tuple[Source, ...] = KINDS,
) -> Iterator[Outcome]:
    """Poll every one of `specs`, due or not (ask `is_due`), and yield outcomes as they come, in any order.

    `states` maps a source's name to what its last poll left. Abandoning the iterator starts no further fetch
    and waits for those under way, 20 s at most.
    """
    for batch in poll_batches(specs, states, client, now, max_concurrency, per_host, kinds):
        yield from batch


def poll_batches(
    specs: Sequence[SourceSpec],
    states: Mapping[str, FeedState],
    client: Client,
    now: datetime,
    max_concurrency: int = 8,
    per_host: int = 2,
    kinds: tuple[Source, ...] = KINDS,
) -> Iterator[list[Outcome]]:
    """As `poll`, but what became ready while the caller was busy comes together: one commit can hold it all.

    A batch is never empty and never held back to grow. Threads go on while the caller has a batch: as many sources
    again as there are threads wait for one, so nobody idles, and no more, so that outcomes do not pile up.
    """
    line = _Line(specs, states, per_host)
    running: dict[Future[Fetched], tuple[SourceSpec, str]] = {}
    finished: SimpleQueue[Future[Fetched]] = SimpleQueue()
    pool = ThreadPoolExecutor(max_workers=max_concurrency, thread_name_prefix="poll")
    try:
        while True:
            while len(running) < 2 * max_concurrency and (turn := line.take()) is not None:
                future = pool.submit(fetch, turn[0], states.get(turn[0].name), client, now, kinds)
                running[future] = turn
                future.add_done_callback(finished.put)
            if not running:
                return
            batch = []
            for future in _ready(finished):
                spec, host = running.pop(future)
                line.leave(host)
                batch.append((spec, future.result()))
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)


class _Line:
    """Who is next: of the hosts below their limit the one where most sources wait, so that none is left over for long."""

    def __init__(self, specs: Iterable[SourceSpec], states: Mapping[str, FeedState], per_host: int) -> None:
        self._per_host = per_host
        self._waiting: dict[str, deque[SourceSpec]] = {}
        for spec in specs:
            self._waiting.setdefault(_host(state_for(spec, states.get(spec.name)).url), deque()).append(spec)
        self._busy: Counter[str] = Counter()
        # A heap of the hosts with somebody waiting and below the limit, each once.
        self._free: list[tuple[int, str]] = []
        for host in self._waiting:
            self._offer(host)

    def take(self) -> tuple[SourceSpec, str] | None:
        """The next source and its host, which counts as busy from now; None while all hosts are."""
        if not self._free:
            return None
        _, host = heappop(self._free)
        self._busy[host] += 1
        spec = self._waiting[host].popleft()
        self._offer(host)
        return spec, host

    def leave(self, host: str) -> None:
        """A source of `host` is done."""
        was_full = self._is_full(host)
        self._busy[host] -= 1
        if was_full:
            self._offer(host)

    def _offer(self, host: str) -> None:
        if self._waiting[host] and not self._is_full(host):
            heappush(self._free, (-len(self._waiting[host]), host))

    def _is_full(self, host: str) -> bool:
        return bool(host) and self._busy[host] >= self._per_host


def _ready(finished: SimpleQueue[Future[Fetched]]) -> list[Future[Fetched]]:
    """Waits for one, and takes those that are there besides."""
    found = [finished.get()]
    try:
        while True:
            found.append(finished.get_nowait())
    except Empty:
        return found


def _host(url: str) -> str:
    """Where a request for `url` will go; "" for files, which have no limit."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".") if url.lower().startswith(_WEB) else ""
    except ValueError:
        return ""
