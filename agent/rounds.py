"""One round of the pipeline, noted in the database: when it began, what it found, how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from agent.canary import held
from agent.errors import FactdError
from agent.pipeline import Gathered, gather
from agent.revise import Revised, apply
from agent.start import mend_if_free
from agent.store import queue, revisions, rounds
from agent.store.db import Store
from agent.store.rounds import End, Outcome
from agent.workshop import Workshop

# From the errors in a row to when the next round is due.
NextAt = Callable[[int], datetime | None]
MESSAGE = 1000


class Stopped(BaseException):
    """Raised inside a round at its next step after the daemon was told to stop; no `except Exception` may
    swallow it.
    """


def round_(shop: Workshop) -> tuple[Gathered, Revised | None]:
    """Gather, then apply where there is something to apply: approved, or left half done by a run that was
    killed.
    """
    mend_if_free(shop)
    found = gather(shop)
    waits = bool(shop.settings.policy.canary) and held(shop.store) is not None
    return found, apply(shop) if has_work(shop.store, waits=waits) else None


def has_work(store: Store, *, waits: bool = False) -> bool:
    """Whether `apply` would do anything: proposals that are approved (and wait for no canary) or held by a dead worker, a set of live
    facts that the current revision does not have, or a link that a killed run left behind.
    """
    if queue.proposals(store, "editing", "verified"):
        return True
    if queue.proposals(store, "approved") and not waits:
        return True
    held = {p.id for p in revisions.members(store, revisions.current(store).id)}
    return {p.id for p in queue.proposals(store, "live")} != held or not revisions.link_is_right(store)


def noted(shop: Workshop, next_at: NextAt = lambda _errors: None) -> tuple[Gathered, Revised | None]:
    """`round_`, with its row in the database, whatever becomes of it. Raises what the round raises."""
    number, started_s = rounds.begin(shop.store, shop.clock()), time.monotonic()
    try:
        found, revised = round_(shop)
    except BaseException as error:
        with suppress(FactdError):  # the disk may be full, and what the round raised says more
            _end(shop, number, started_s, next_at, _outcome(error), explained(error), {})
        raise
    _end(shop, number, started_s, next_at, "ok", summary(found, revised), counts(found, revised))
    return found, revised


def _end(
    shop: Workshop,
    number: int,
    started_s: float,
    next_at: NextAt,
    outcome: Outcome,
    message: str,
    numbers: dict[str, int],
) -> None:
    took_s = time.monotonic() - started_s
    errors = rounds.errors_before(shop.store) + 1 if outcome == "error" else 0
    what = End(outcome, took_s, message[:MESSAGE], next_at(errors), numbers)
    rounds.end(shop.store, number, what, shop.clock())


def _outcome(error: BaseException) -> Outcome:
    return "error" if isinstance(error, Exception) else "stopped"


def explained(error: BaseException) -> str:
    """What a person is told of an error that ended a round."""
    if isinstance(error, Stopped | KeyboardInterrupt):
        return "the round in progress was given up, its proposals are approved again"
    if isinstance(error, FactdError):
        return str(error)
    if isinstance(error, MemoryError):
        return "out of memory; nothing was published, free some"
    return f"unexpected {type(error).__name__}: {error}"


def counts(found: Gathered, revised: Revised | None) -> dict[str, int]:
    """What a round found and did, by name."""
    numbers = {
        "polled": len(found.fetched),
        "failed_sources": len(found.failures),
        "articles": sum(len(f.articles) for f in found.fetched),
        "claims": found.claims,
        "proposed": len(found.new),
        "approved": len(found.approved),
        "left_alone": len(found.skips),
    }
    if revised is not None:
        numbers |= {
            "added": len(revised.added),
            "beside": len(revised.beside),
            "failed": len(revised.failed),
            "returned": len(revised.returned),
            "held": len(revised.held),
        }
    return numbers


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
    if revised is not None and revised.held:
        parts.append(f"{len(revised.held)} approved wait: {next(iter(revised.held.values()))}")
    return "; ".join(parts)
