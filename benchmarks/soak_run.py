"""A daemon's life in simulated time: its rounds, one after the other, against the publishers of `benchmarks.soak_server`, and what is looked at after each.

The rounds are the daemon's own (`agent.rounds.noted`, a connection of their own each), and so are the pauses between them. Only the clock is made: it goes
from one round to the next, at times past a night of sleep, and once it is set back an hour and later right again.
"""

from __future__ import annotations

import gc
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from unittest.mock import patch

from agent import pipeline, refetch
from agent.memory import give_back, share_heaps
from agent.rhythm import wait_s
from agent.rounds import Stopped, counts, noted
from agent.settings import Settings
from agent.sources.http import Client
from agent.store import queue, revisions
from agent.store.db import DATABASE, Store, open_store
from agent.store.lock import daemon_lock
from agent.types import SourceSpec
from agent.workshop import Workshop, open_workshop
from benchmarks.soak_http import serving
from benchmarks.soak_news import Key, News
from benchmarks.soak_server import START, Publishers

TIMEOUT_S = 0.5
SLEEP_H = 8.0
_SET_BACK_H = 1.0
# A stop that is asked for when a stage begins ends the round there; of the rounds that compile every third is stopped.
_STAGES = ("fetch", "ask", "read", "")
_COMPILING = "values"


@dataclass(slots=True)
class SimulatedClock:
    """`hour` is the world's; the machine's clock is off by `off_h`."""

    hour: float = 0.0
    off_h: float = 0.0

    def __call__(self) -> datetime:
        return START + timedelta(hours=self.hour + self.off_h)


@dataclass(frozen=True, slots=True)
class Footprint:
    """What the process holds: resident memory, objects that the collector knows, open descriptors, threads, and the database on disk."""

    rss_mib: float
    objects: int
    descriptors: int
    threads: int
    database_mib: float


@dataclass(slots=True)
class Life:
    """What came of it so far. `live_h`: when each change was first seen live; `wrong`: what should not be; `did`: counts of what happened to the daemon."""

    did: Counter[str] = field(default_factory=Counter)
    live_h: dict[tuple[Key, str], float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    stages: Counter[str] = field(default_factory=Counter)
    warm: Footprint | None = None
    warm_h: float = 0.0
    end: Footprint | None = None
    seconds: float = 0.0


@dataclass(slots=True)
class Soak:
    """One soak: `settings` without sources, the state folder in them. `leaps`: chance of a night's sleep after a round; `stops`: of a stop in one.
    `tell` hears how far it is, every hundred hours.
    """

    settings: Settings
    news: News
    hours: float
    site: Publishers
    clock: SimulatedClock
    seed: int = 0
    leaps: float = 0.004
    stops: float = 0.01
    reopened: tuple[float, ...] = (0.35, 0.7)
    tell: Callable[[str], None] = lambda _line: None
    life: Life = field(default_factory=Life)

    def run(self) -> Life:
        """All rounds. Raises what no round may raise."""
        began = time.monotonic()
        share_heaps()
        with serving(self.site) as urls, _patient(TIMEOUT_S):
            sources = tuple(
                SourceSpec(feed, url, publisher=f"{self.news.feeds[feed]}.example", allow_private=True)
                for feed, url in urls.items()
            )
            settings = replace(self.settings, sources=sources)
            ends = [share * self.hours for share in self.reopened] + [self.hours]
            for until_h in ends:
                shop = open_workshop(settings, clock=self.clock, create=True)
                with shop.store, daemon_lock(shop.store.folder):
                    self._daemon(shop, until_h)
                    if (
                        until_h == self.hours
                    ):  # as it was when warm: model and reader in memory, the database open
                        self.life.end = footprint(settings.state)
                self.life.did["state reopened"] += until_h < self.hours
        self.life.seconds = time.monotonic() - began
        return self.life

    def _daemon(self, shop: Workshop, until_h: float) -> None:
        """Rounds until an hour of the world."""
        rng = random.Random(f"{self.seed}:{until_h}")
        every_h = shop.settings.daemon.poll_minutes / 60
        told_h = self.clock.hour
        while self.clock.hour < until_h:
            if self.clock.hour >= told_h + 100:
                told_h = self.clock.hour
                self.tell(
                    f"hour {told_h:.0f}: {len(self.life.live_h)} live so far, {footprint(shop.settings.state).rss_mib:.0f} MiB"
                )
            errors = self._round(shop, rng)
            self.clock.hour += wait_s(3600 * every_h, errors) / 3600
            if rng.random() < self.leaps:
                self.clock.hour += SLEEP_H
                self.life.did["slept 8 hours"] += 1
            self._set_clock()
            self._weigh(shop)

    def _set_clock(self) -> None:
        if (
            self.clock.off_h == 0
            and not self.life.did["clock set back an hour"]
            and self.clock.hour > 0.45 * self.hours
        ):
            self.clock.off_h = -_SET_BACK_H
            self.life.did["clock set back an hour"] += 1
        elif self.clock.off_h and self.clock.hour > 0.55 * self.hours:
            self.clock.off_h = 0.0
            self.life.did["clock set forward an hour"] += 1

    def _round(self, shop: Workshop, rng: random.Random) -> int:
        """One round as the daemon does it, and the look afterwards. Returns how many in a row failed."""
        stage = rng.choice(_STAGES) if rng.random() < self.stops else None
        errors = 0

        begun: set[str] = set()

        def progress(at: str, done: int, total: int) -> None:
            if at not in begun:
                begun.add(at)
                self.life.stages[at] += 1
                if at == _COMPILING and self.life.stages[at] % 3 == 2:
                    raise Stopped
            if stage is not None and (not stage or at == stage):
                raise Stopped

        def next_at(failed: int) -> datetime:
            nonlocal errors
            errors = failed
            return self.clock() + timedelta(seconds=wait_s(60 * shop.settings.daemon.poll_minutes, failed))

        self.life.did["rounds"] += 1
        with open_store(shop.store.folder, self.clock()) as store:
            try:
                found, revised = noted(replace(shop, store=store, progress=progress), next_at)
                self.life.did += Counter(
                    {f"round: {name}": n for name, n in counts(found, revised).items() if n}
                )
            except Stopped:
                self.life.did["stopped in a round"] += 1
            except Exception as error:
                self.life.did["rounds that failed"] += 1
                self.life.wrong.append(
                    f"hour {self.clock.hour:.1f}: a round failed: {type(error).__name__}: {error}"
                )
            self._look(store)
        return errors

    def _look(self, store: Store) -> None:
        """What is live now must have been told by two papers, and never give way to what was before it."""
        served = {(fact.key, fact.object) for fact in revisions.current(store).facts}
        queued = {(fact.key, fact.object) for fact in queue.live_facts(store)}
        if served != queued:
            self._say(f"served {sorted(served - queued)}, live in the queue {sorted(queued - served)}")
        for key, object_ in served:
            allowed = self.news.allowed(key, self.clock.hour)
            if object_ not in allowed:
                self._say(f"{key[0]}, {key[1]} is {object_}, which is not true")
            later = allowed[allowed.index(object_) + 1 :] if object_ in allowed else []
            if any((key, name) in self.life.live_h for name in later):
                self._say(f"{key[0]}, {key[1]} went back to {object_}")
            self.life.live_h.setdefault((key, object_), self.clock.hour)

    def _say(self, what: str) -> None:
        if len(self.life.wrong) < 100:
            self.life.wrong.append(f"hour {self.clock.hour:.1f}: {what}")

    def _weigh(self, shop: Workshop) -> None:
        """Once warm: a tenth of the time is over, and something was published."""
        if self.life.warm is None and self.clock.hour >= self.hours / 10 and self.life.live_h:
            self.life.warm, self.life.warm_h = footprint(shop.settings.state), self.clock.hour


def footprint(state: Path) -> Footprint:
    """What the process holds now, after giving back what it can."""
    give_back()
    time.sleep(0.1)  # the server closes its end of the last connections
    size = sum(path.stat().st_size for path in state.glob(f"{DATABASE}*") if path.is_file())
    return Footprint(
        _rss_mib(), len(gc.get_objects()), _descriptors(), threading.active_count(), size / 2**20
    )


def _rss_mib() -> float:
    pages = Path("/proc/self/statm")
    return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20 if pages.exists() else 0.0


def _descriptors() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if sys.platform == "linux" else 0


@contextmanager
def _patient(timeout_s: float) -> Iterator[None]:
    """Nobody waits 20 real seconds for a feed that says nothing, and the pages of one site are read without a real pause."""
    client = partial(Client, timeout_s=timeout_s, ssl_context=Client().ssl_context)
    check = partial(refetch.check, pause_s=0.0)
    with (
        patch.object(pipeline, "Client", client),
        patch.object(refetch, "Client", client),
        patch("agent.revise.check", check),
    ):
        yield
