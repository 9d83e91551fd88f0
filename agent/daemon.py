"""The clock of `factd run`: every so often one round of the pipeline. What is due comes from the database,
not from here.

A round runs in one thread of its own, with its own connection to the database. Being told to stop ends it at
its next step: what it had taken goes back to approved, and the next start goes on from there.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC
from types import FrameType

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from agent.errors import FactdError
from agent.pipeline import Gathered, gather
from agent.revise import Revised, apply
from agent.store import queue, revisions
from agent.store.db import Store, open_store
from agent.workshop import Workshop

Tell = Callable[[str], None]
_STOPPED = {signal.SIGTERM: 0, signal.SIGINT: 130}


class Stopped(BaseException):
    """Raised inside a round at its next step after the daemon was told to stop; no `except Exception` may
    swallow it.
    """


def round_(shop: Workshop) -> tuple[Gathered, Revised | None]:
    """Gather, then apply where there is something to apply: approved, or left half done by a run that was
    killed.
    """
    found = gather(shop)
    return found, apply(shop) if has_work(shop.store) else None


def has_work(store: Store) -> bool:
    """Whether `apply` would do anything: proposals that are approved or held by a dead worker, a set of live
    facts that the current revision does not have, or a link that a killed run left behind.
    """
    if queue.proposals(store, "approved", "editing", "verified"):
        return True
    held = {p.id for p in revisions.members(store, revisions.current(store).id)}
    return {p.id for p in queue.proposals(store, "live")} != held or not revisions.link_is_right(store)


def serve(shop: Workshop, *, every_s: float, tell: Tell, stop: threading.Event | None = None) -> int:
    """Run rounds until SIGTERM (returns 0), SIGINT (130) or `stop` is set (0). `tell` gets one line per
    round.

    The first round starts at once. A round that takes longer than the interval is followed by one, not by all
    it missed. An error ends its round, is told, and the next round tries again.
    """
    stop = stop or threading.Event()
    caught: list[int] = []
    scheduler = BackgroundScheduler(timezone=UTC, executors={"default": ThreadPoolExecutor(max_workers=1)})
    scheduler.add_job(
        _round_in_thread,
        IntervalTrigger(seconds=every_s, timezone=UTC),
        args=(shop, tell, stop),
        next_run_time=shop.clock(),
        coalesce=True,
        max_instances=1,
        misfire_grace_time=None,
    )
    with _signals(stop, caught):
        scheduler.start()
        try:
            while not stop.wait(1.0):
                pass
        finally:
            stop.set()
            scheduler.shutdown(wait=True)
    return _STOPPED.get(signal.Signals(caught[0]), 0) if caught else 0


def _round_in_thread(shop: Workshop, tell: Tell, stop: threading.Event) -> None:
    def progress(stage: str, done: int, total: int) -> None:
        if stop.is_set():
            raise Stopped
        shop.progress(stage, done, total)

    if stop.is_set():  # the clock may start one more round before it is stopped itself
        return
    try:
        with open_store(shop.store.folder, shop.clock()) as store:
            found, revised = round_(replace(shop, store=store, progress=progress))
        tell(summary(found, revised))
    except Stopped:
        tell("stopping: the round in progress was given up, its proposals are approved again")
    except FactdError as error:
        tell(f"error: {error}")
    except Exception as error:
        tell(f"error: unexpected {type(error).__name__}: {error}; the next round tries again")


def summary(found: Gathered, revised: Revised | None) -> str:
    """One line on a round."""
    parts = [
        f"{len(found.fetched)} polled, {len(found.new)} proposed, {len(found.approved)} approved by rule"
    ]
    parts += [f"source {failure.source}: {failure.message}" for failure in found.failures]
    if failed := found.reading.failed:
        parts.append(f"the extractor's model gave no usable answer to {len(failed)} articles: {failed[-1]}")
    if revised is not None and revised.revision is not None:
        parts.append(f"revision {revised.revision.id} is served, {len(revised.added)} added")
    if revised is not None and revised.returned:
        parts.append(f"{len(revised.returned)} pending again: their pages no longer say so")
    if revised is not None and revised.failed:
        parts.append(f"{len(revised.failed)} failed verification")
    return "; ".join(parts)


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
