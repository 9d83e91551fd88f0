"""What a start does before anything else: end or undo what a killed run left, and say so."""

from __future__ import annotations

from contextlib import suppress

from agent.editing.cache import mend_values
from agent.errors import LockHeld
from agent.store import leases, revisions
from agent.store.lock import worker_lock
from agent.workshop import Workshop


def mend(shop: Workshop) -> None:
    """Only for who holds the worker's lock. One line to `shop.tell` for each thing done; none after a run that ended well."""
    told = list(revisions.repair(shop.store))
    if freed := leases.release_expired(shop.store, shop.clock(), sole_worker=True):
        ids = ", ".join(map(str, freed))
        told.append(
            f"repaired: given back to approved: {ids}; the run that held {'it' if len(freed) == 1 else 'them'} had been killed"
        )
    partial, whole = mend_values(shop.cache / "values")
    if partial:
        told.append(
            f"repaired: removed {_sets(partial)} that a killed run had half written; they are computed again"
        )
    if whole:
        told.append(f"repaired: put {_sets(whole)} in place that a killed run had computed")
    for line in told:
        shop.tell(line)


def _sets(count: int) -> str:
    return "1 set of value vectors" if count == 1 else f"{count} sets of value vectors"


def mend_if_free(shop: Workshop) -> None:
    """Nothing where another worker is at it: what is half done is then its own."""
    with suppress(LockHeld), worker_lock(shop.store.folder):
        mend(shop)
