"""The queue of corrections: what is proposed, and what a person (or a written policy) makes of it.

    pending -> approved -> editing -> verified -> live        else rejected | failed | superseded |
    rolled_back

`schema.sql` has every legal move; `leases.py` the worker's half; `revisions.py` publishes. A deferred
proposal is pending with `not_before_at`.
"""

from __future__ import annotations

from datetime import datetime
from typing import cast

from agent.errors import StaleState, UsageError
from agent.store.codec import (
    belief_of,
    request_of,
    to_text,
)
from agent.store.db import Store, Value
from agent.store.moves import (
    OPEN,
    Event,
    Note,
    Step,
    events,
    fact_in,
    get_row,
    insert,
    proposal_in,
    record_event,
    stale,
    supersede,
    take,
)
from agent.store.proposing import Proposed, propose
from agent.types import Belief, EditRequest, Fact, FactKey, Proposal, Status

__all__ = [
    "Event",
    "Proposed",
    "approve",
    "belief",
    "defer",
    "due",
    "events",
    "get",
    "live_facts",
    "proposals",
    "propose",
    "proposed_since",
    "refused",
    "reject",
    "reopen",
    "request",
    "send_back",
    "take_back",
]

_OPEN_SQL = ", ".join(f"'{status}'" for status in OPEN)


def approve(store: Store, proposal_id: int, *, who: str, now: datetime, reason: str = "") -> Proposal:
    """pending -> approved. Other approved objects for a single-valued key, and pending ones that are not
    newer, are superseded.

    Raises UnknownId, StaleState.
    """
    with store.writing("approve"):
        take(
            store,
            proposal_id,
            Step("pending", "approved", {"decided_at": to_text(now)}),
            Note(who, now, reason),
        )
        row = get_row(store, proposal_id)
        rivals = store.rows(
            "SELECT id, status FROM proposal WHERE subject = ? AND relation = ? AND single = 1 AND id <> ?"
            " AND (status = 'approved' OR status = 'pending' AND valid_from <= ?) ORDER BY id",
            (row["subject"], row["relation"], proposal_id, row["valid_from"]),
        )
        for rival in rivals if row["single"] else ():
            note = Note(who, now, f"{row['object']} was approved (proposal {proposal_id})")
            supersede(store, rival["id"], cast(Status, rival["status"]), proposal_id, note)
        return get(store, proposal_id)


def reject(store: Store, proposal_id: int, *, reason: str, who: str, now: datetime) -> Proposal:
    """pending or approved -> rejected. Raises UsageError without a reason, UnknownId, StaleState."""
    _need_reason(proposal_id, reason)
    with store.writing("reject"):
        row = get_row(store, proposal_id)
        source: Status = "approved" if row["status"] == "approved" else "pending"
        take(
            store, proposal_id, Step(source, "rejected", {"decided_at": to_text(now)}), Note(who, now, reason)
        )
        return get(store, proposal_id)


def defer(
    store: Store, proposal_id: int, until: datetime, *, who: str, now: datetime, reason: str = ""
) -> Proposal:
    """Keep a pending proposal from being due before `until`.

    Raises UnknownId, StaleState when it is not pending.
    """
    with store.writing("defer"):
        done = store.run(
            "UPDATE proposal SET not_before_at = ? WHERE id = ? AND status = 'pending'",
            (to_text(until), proposal_id),
        )
        if done.rowcount != 1:
            raise stale(store, proposal_id, "pending")
        text = f"deferred until {to_text(until)}" + (f": {reason}" if reason else "")
        record_event(store, proposal_id, "pending", "pending", Note(who, now, text))
        return get(store, proposal_id)


def reopen(store: Store, proposal_id: int, *, reason: str, who: str, now: datetime) -> Proposal:
    """Put a rejected, failed or rolled back proposal before the reviewer again.

    One that was live keeps its row, which revisions point at, and comes back as a new one. Raises UsageError
    without a reason, UnknownId, StaleState when it is in another status or the same fact is open already.
    """
    _need_reason(proposal_id, reason)
    note = Note(who, now, reason)
    with store.writing("reopen"):
        row = get_row(store, proposal_id)
        twin = store.row(
            "SELECT id, status FROM proposal WHERE subject = ? AND relation = ? AND object = ?"
            f" AND status IN ({_OPEN_SQL})",
            (row["subject"], row["relation"], row["object"]),
        )
        if twin is not None:
            raise StaleState(
                f"proposal {proposal_id}: the same fact is {twin['status']} as proposal {twin['id']}"
            )
        if row["status"] == "rolled_back":
            columns: dict[str, Value] = {name: row[name] for name in ("belief", "request", "single")}
            proposal_id = insert(store, proposal_in(row), columns, note)
        else:
            source: Status = "failed" if row["status"] == "failed" else "rejected"
            take(
                store, proposal_id, Step(source, "pending", {"decided_at": None, "not_before_at": None}), note
            )
        return get(store, proposal_id)


def send_back(store: Store, proposal_id: int, *, reason: str, who: str, now: datetime) -> Proposal:
    """approved -> pending: before it is applied a person is to look at it again, for this reason.

    Raises UsageError without a reason, UnknownId, StaleState.
    """
    _need_reason(proposal_id, reason)
    with store.writing("send-back"):
        take(store, proposal_id, Step("approved", "pending", {"decided_at": None}), Note(who, now, reason))
        return get(store, proposal_id)


def take_back(store: Store, proposal_id: int, *, reason: str, who: str, now: datetime) -> Proposal:
    """live -> rolled_back: the next revision is compiled without it; the current one is not changed by this.

    Raises UsageError without a reason, UnknownId, StaleState.
    """
    _need_reason(proposal_id, reason)
    with store.writing("take-back"):
        take(
            store,
            proposal_id,
            Step("live", "rolled_back", {"decided_at": to_text(now)}),
            Note(who, now, reason),
        )
        return get(store, proposal_id)


def get(store: Store, proposal_id: int) -> Proposal:
    """Raises UnknownId."""
    return proposal_in(get_row(store, proposal_id))


def proposals(store: Store, *statuses: Status) -> tuple[Proposal, ...]:
    """The proposals in any of `statuses` (all of them if none is named), by id."""
    where = f" WHERE status IN ({', '.join('?' * len(statuses))})" if statuses else ""
    return tuple(
        proposal_in(row) for row in store.rows(f"SELECT * FROM proposal{where} ORDER BY id", statuses)
    )


def due(store: Store, now: datetime) -> tuple[Proposal, ...]:
    """The pending proposals that are not deferred beyond `now`, by id."""
    rows = store.rows(
        "SELECT * FROM proposal WHERE status = 'pending' AND (not_before_at IS NULL OR not_before_at <= ?)"
        " ORDER BY id",
        (to_text(now),),
    )
    return tuple(proposal_in(row) for row in rows)


def proposed_since(store: Store, at: datetime, who: str = "factd") -> tuple[FactKey, ...]:
    """The (subject, relation) of each proposal that `who` made pending after `at`, once for each time."""
    rows = store.rows(
        "SELECT subject, relation FROM proposal_event JOIN proposal ON proposal.id = proposal_id"
        " WHERE at > ? AND who = ? AND to_status = 'pending' AND from_status IN ('', 'rejected')"
        " ORDER BY proposal_event.id",
        (to_text(at), who),
    )
    return tuple((row["subject"], row["relation"]) for row in rows)


def refused(store: Store) -> frozenset[tuple[str, str, str]]:
    """(subject, relation, object) of everything that was ever rejected, or taken back by itself, whatever became of it since.

    What only went with a rollback to another revision is not among it: that says nothing about the single fact. `take_back` is told
    from it by its decision, which a rollback makes none of.
    """
    rows = store.rows(
        "SELECT DISTINCT subject, relation, object FROM proposal JOIN proposal_event ON proposal.id = proposal_id"
        " WHERE to_status = 'rejected' OR (to_status = 'rolled_back' AND at = decided_at)"
    )
    return frozenset((row["subject"], row["relation"], row["object"]) for row in rows)


def belief(store: Store, proposal_id: int) -> Belief | None:
    """What the model answered when this was proposed (or last taken up). Raises UnknownId."""
    text = get_row(store, proposal_id)["belief"]
    return None if text is None else belief_of(text)


def request(store: Store, proposal_id: int) -> EditRequest | None:
    """The edit as a person gave it, None where it is made from the relation's templates. Raises UnknownId."""
    text = get_row(store, proposal_id)["request"]
    return None if text is None else request_of(text)


def live_facts(store: Store) -> tuple[Fact, ...]:
    """The facts that the next revision must hold, by the id of their proposal."""
    rows = store.rows("SELECT * FROM proposal WHERE status = 'live' ORDER BY id")
    return tuple(fact_in(row) for row in rows)


def _need_reason(proposal_id: int, reason: str) -> None:
    if not reason.strip():
        raise UsageError(f"proposal {proposal_id}: say why (--reason), it stays in the history")
