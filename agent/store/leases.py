"""The worker's half of the queue: taking approved proposals under a lease, and what becomes of them.

A lease covers editing and verified, until the revision is published. A worker that dies leaves it to run out;
nothing is lost and nothing is dequeued.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import cast

from agent.errors import StaleState
from agent.store.codec import to_text
from agent.store.db import Row, Store, Value
from agent.store.moves import Note, Step, get_row, proposal_in, stale, supersede, take
from agent.types import Proposal, Status

_NO_LEASE: dict[str, Value] = {"lease_owner": None, "lease_until": None}


def begin_edit(
    store: Store, ids: Iterable[int], *, owner: str, lease_s: float, now: datetime
) -> tuple[Proposal, ...]:
    """approved -> editing for all of `ids` or, with StaleState, for none.

    `owner` names this run; only it may finish them.
    """
    until = to_text(now + timedelta(seconds=lease_s))
    with store.writing("lease"):
        for proposal_id in (chosen := tuple(dict.fromkeys(ids))):
            step = Step("approved", "editing", {"lease_owner": owner, "lease_until": until})
            take(store, proposal_id, step, Note(owner, now))
        return tuple(proposal_in(get_row(store, proposal_id)) for proposal_id in chosen)


def renew(store: Store, ids: Iterable[int], *, owner: str, lease_s: float, now: datetime) -> None:
    """Move the end of the leases to `lease_s` from now.

    Raises StaleState for one that is not `owner`'s any more.
    """
    with store.writing("renew"):
        for proposal_id in ids:
            _held(store, proposal_id, owner)
            until = to_text(now + timedelta(seconds=lease_s))
            store.run("UPDATE proposal SET lease_until = ? WHERE id = ?", (until, proposal_id))


def mark_verified(store: Store, ids: Iterable[int], *, owner: str, now: datetime, reason: str = "") -> None:
    """editing -> verified, all or none: the gate let the candidate pass that holds them."""
    with store.writing("verified"):
        for proposal_id in ids:
            _held(store, proposal_id, owner)
            take(store, proposal_id, Step("editing", "verified"), Note(owner, now, reason))


def mark_failed(store: Store, reasons: Mapping[int, str], *, owner: str, now: datetime) -> None:
    """editing or verified -> failed, each with its reason."""
    with store.writing("failed"):
        for proposal_id, reason in reasons.items():
            status = cast(Status, _held(store, proposal_id, owner)["status"])
            take(store, proposal_id, Step(status, "failed", _NO_LEASE), Note(owner, now, reason))


def release(store: Store, ids: Iterable[int], *, owner: str, now: datetime, reason: str) -> None:
    """Give `owner`'s proposals back: editing or verified -> approved."""
    with store.writing("release"):
        for proposal_id in ids:
            _give_back(store, _held(store, proposal_id, owner), Note(owner, now, reason))


def release_expired(store: Store, now: datetime, *, sole_worker: bool = False) -> tuple[int, ...]:
    """Give back every proposal whose lease has run out; returns their ids.

    With `sole_worker` the leases that still run go too: who holds the state folder's lock knows that their
    worker is dead.
    """
    held = "FROM proposal WHERE status IN ('editing', 'verified') AND (lease_until <= ? OR ?)"
    values = (to_text(now), int(sole_worker))
    # Nearly always, and then there is nothing to put on the disk.
    if store.row(f"SELECT 1 {held}", values) is None:
        return ()
    with store.writing("expired"):
        rows = store.rows(f"SELECT * {held} ORDER BY id", values)
        for row in rows:
            _give_back(store, row, Note("factd", now, f"the lease of {row['lease_owner']} ended"))
    return tuple(row["id"] for row in rows)


def _give_back(store: Store, row: Row, note: Note) -> None:
    """To approved; superseded if another object for its single-valued key was approved meanwhile."""
    source = cast(Status, row["status"])
    rival = store.row(
        "SELECT id FROM proposal WHERE subject = ? AND relation = ? AND single = 1"
        " AND status = 'approved' AND ?",
        (row["subject"], row["relation"], row["single"]),
    )
    if rival is None:
        take(store, row["id"], Step(source, "approved", _NO_LEASE), note)
    else:
        again = Note(note.who, note.at, f"{note.reason}; proposal {rival['id']} was approved meanwhile")
        supersede(store, row["id"], source, rival["id"], again)


def _held(store: Store, proposal_id: int, owner: str) -> Row:
    """The row of a proposal that `owner` has under lease. Raises UnknownId, StaleState."""
    row = get_row(store, proposal_id)
    if row["status"] not in ("editing", "verified"):
        raise stale(store, proposal_id, "editing or verified")
    if row["lease_owner"] != owner:
        raise StaleState(
            f"proposal {proposal_id} is held by {row['lease_owner']}, not by {owner}: this lease ran out"
        )
    return row
