"""The clock of `factd run`: every so often one round of the pipeline. What is due comes from the database,
not from here.

A round runs in one thread of its own, with its own connection to the database: there is one worker for the model. Being told to
stop ends it at its next step: what it had taken goes back to approved, and the next start goes on from there.

Once a second the main thread looks at its clocks, hands a round that is due to that thread, and tells systemd that all is well, as
long as rounds get on. A round is due by elapsed time, which nobody sets: after a night's sleep there is one at once, however many
were missed, and a clock that is set back neither stalls nor repeats one. APScheduler runs the rounds, one at a time.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.date import DateTrigger

from agent.memory import give_back, share_heaps
from agent.notify import Notifier
from agent.pulse import Clocks, Pulse, elapsed_s
from agent.rhythm import Moment, first_wait_s, leap, span, wait_s
from agent.rounds import NextAt, Stopped, counts, explained, noted, summary
from agent.store import rounds
from agent.store.db import open_store
from agent.store.lock import daemon_lock
from agent.workshop import Clock, Workshop

_STOPPED = {signal.SIGTERM: 0, signal.SIGINT: 130}
# APScheduler goes by the UTC clock. A date that has passed on every clock means now.
_NOW = datetime(1970, 1, 2, tzinfo=UTC)
_log = logging.getLogger(__name__)


def clocks(utc: Clock) -> Clocks:
    """The machine's clocks, the moment by `utc`."""
    return lambda: Moment(utc(), elapsed_s(), time.monotonic())


@dataclass(frozen=True, slots=True)
class Daemon:
    """What goes round: `every_s` between two rounds, and `pulse`, which says whether it gets on. `look_s`: between two looks at the clocks.
    `found`: what the last start of a round found and could not mend; it is said once.
    """

    shop: Workshop
    every_s: float
    pulse: Pulse
    notifier: Notifier = field(default_factory=Notifier)
    look_s: float = 1.0
    found: set[str] = field(default_factory=set)


def daemon_of(shop: Workshop, notifier: Notifier | None = None) -> Daemon:
    """The daemon that the settings describe."""
    wanted = shop.settings.daemon
    pulse = Pulse(60 * wanted.stuck_minutes, clocks(shop.clock))
    return Daemon(shop, 60 * wanted.poll_minutes, pulse, notifier or Notifier())


def serve(daemon: Daemon, stop: threading.Event | None = None) -> int:
    """Run rounds until SIGTERM (returns 0), SIGINT (130) or `stop` is set (0). Every event is logged.

    The first round starts at once. A round that takes longer than the interval is followed by one, not by all
    it missed. An error ends its round and is noted; the next waits the longer, the more there were in a row. Raises LockHeld where
    there is a daemon on this state already.
    """
    share_heaps()
    stop = stop or threading.Event()
    caught: list[int] = []
    scheduler = BackgroundScheduler(timezone=UTC, executors={"default": ThreadPoolExecutor(max_workers=1)})
    with daemon_lock(daemon.shop.store.folder), _signals(stop, caught):
        lost = rounds.lost_in_a_row(daemon.shop.store)
        if wait := first_wait_s(daemon.every_s, lost):
            _say(logging.WARNING, "waiting", f"{lost} rounds in a row ended with their process; the first round"
                 f" waits {span(wait)}", lost=lost, wait_s=wait)  # fmt: skip
        daemon.pulse.plan(daemon.pulse.look().elapsed_s + wait)
        scheduler.start()
        daemon.notifier.ready("started")
        _say(logging.INFO, "started", f"a round every {span(daemon.every_s)} over"
             f" {len(daemon.shop.settings.sources)} sources", sources=len(daemon.shop.settings.sources))  # fmt: skip
        try:
            _watch(daemon, scheduler, stop)
        finally:
            daemon.notifier.stopping("ending the round in progress")
            _say(logging.INFO, "stopping", "told to stop; the round in progress ends at its next step")
            stop.set()
            scheduler.shutdown(wait=True)
            _say(logging.INFO, "stopped", "stopped; nothing is lost")
    return _STOPPED.get(signal.Signals(caught[0]), 0) if caught else 0


def _watch(daemon: Daemon, scheduler: BackgroundScheduler, stop: threading.Event) -> None:
    """Until told to stop: look at the clocks, start what is due, feed the watchdog while rounds get on."""
    pulse, fed_s, was_moving = daemon.pulse, float("-inf"), True
    before = pulse.look()
    while not stop.wait(min(daemon.look_s, daemon.every_s)):
        now = pulse.look()
        if found := leap(before, now):
            _say(logging.WARNING, "clock", str(found), slept_s=found.slept_s, set_s=found.set_s)
            if found.set_s >= daemon.every_s and not pulse.beat.running:
                pulse.plan(now.elapsed_s)  # sources go by the UTC clock, and may be due by now
        before = now
        if pulse.is_due(now):
            pulse.begin()
            scheduler.add_job(
                _round_in_thread,
                DateTrigger(_NOW),
                args=(daemon, stop),
                max_instances=1,
                misfire_grace_time=None,
            )
        moving = pulse.is_moving()
        if moving and now.awake_s - fed_s >= daemon.notifier.watchdog_s / 3:
            daemon.notifier.alive()
            fed_s = now.awake_s
        if was_moving and not moving:
            told = f"the round made no step for {span(pulse.stuck_s)} ({pulse.beat.stage}); the watchdog is not fed"
            _say(logging.ERROR, "stuck", told, stage=pulse.beat.stage)
        was_moving = moving


def _round_in_thread(daemon: Daemon, stop: threading.Event) -> None:
    shop, pulse = daemon.shop, daemon.pulse
    began_s = pulse.clocks().elapsed_s
    due_s = began_s + daemon.every_s

    def progress(stage: str, done: int, total: int) -> None:
        pulse.step(stage)
        if stop.is_set():
            raise Stopped
        shop.progress(stage, done, total)

    def next_at(errors: int) -> datetime:
        nonlocal due_s
        ended_s = pulse.clocks().elapsed_s
        wait = wait_s(daemon.every_s, errors, ended_s - began_s)
        due_s = ended_s + wait
        return shop.clock() + timedelta(seconds=wait)

    try:
        if stop.is_set():  # it may have been told between two looks
            return
        _round(daemon, replace(shop, progress=progress), next_at)
    finally:
        pulse.plan(due_s)
        give_back()


def _round(daemon: Daemon, shop: Workshop, next_at: NextAt) -> None:
    """One round with a connection of this thread's own. Whatever ends it is told, and ends no more than it."""
    started_s = time.monotonic()
    lines: set[str] = set()

    def tell(line: str) -> None:
        lines.add(line)
        if line not in daemon.found:
            _mended(line)

    try:
        with open_store(shop.store.folder, shop.clock()) as store:
            found, revised = noted(replace(shop, store=store, tell=tell), next_at)
    except Stopped as stopped:
        _say(logging.INFO, "round_stopped", f"stopping: {explained(stopped)}")
        return
    except Exception as error:
        trace = error if os.environ.get("FACTD_TRACEBACK") else None
        _say(
            logging.ERROR,
            "round_failed",
            f"error: {explained(error)}",
            trace=trace,
            kind=type(error).__name__,
        )
        daemon.notifier.status(f"the last round failed: {type(error).__name__}")
        return
    finally:
        daemon.found.clear()
        daemon.found.update(line for line in lines if line.startswith("found:"))
    told = summary(found, revised)
    numbers: dict[str, Any] = {
        "seconds": round(time.monotonic() - started_s, 1),
        **counts(found, revised),
    }
    _say(logging.INFO, "round", told, **numbers)
    daemon.notifier.status(told.partition(";")[0])


def _mended(line: str) -> None:
    """What a start does about a run that was killed, and what it finds that a person should look at."""
    found = line.startswith("found:")
    _say(logging.WARNING if found else logging.INFO, "found" if found else "repaired", line)


def _say(
    level: int, event: str, message: str, /, *, trace: BaseException | None = None, **fields: object
) -> None:
    """One event of the log: its name and fields are for programs."""
    _log.log(level, "%s", message, exc_info=trace, extra={"event": event, "fields": fields})


@contextmanager
def _signals(stop: threading.Event, caught: list[int]) -> Iterator[None]:
    """SIGTERM and SIGINT ask to stop; a second one works as it did before. Only the main thread can be told
    by signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _STOPPED}

    def handle(number: int, _frame: FrameType | None) -> None:
        caught.append(number)
        stop.set()
        for known, handler in before.items():
            signal.signal(known, handler)

    for number in _STOPPED:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
