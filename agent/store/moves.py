"""One proposal, one step: the only code that changes a status, and the only reader of the proposal table's
columns.

Every step is `UPDATE ... WHERE id = ? AND status = ?` and its event, together in one transaction. Who lost
the race gets StaleState.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from agent.errors import StaleState, UnknownId
from agent.store.codec import canonical, storable, strings, to_text, to_time, to_time_or_none
from agent.store.db import Row, Store, Value
from agent.types import Fact, Proposal, Status

OPEN: tuple[Status, ...] = ("pending", "approved", "editing", "verified", "live")


@dataclass(frozen=True, slots=True)
class Note:
    """Who does it, when, and why: what an event keeps of a step."""

    who: str
    at: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """From which status to which, and what else changes in the row: column names to values."""

    source: Status
    target: Status
    sets: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """One row of a proposal's history.

    `source` is empty for its creation and equals `target` where the status stayed.
    """

    proposal_id: int
    at: datetime
    who: str
    source: str
    target: str
    reason: str


def take(store: Store, proposal_id: int, step: Step, note: Note) -> None:
    """Make one step. Raises UnknownId, StaleState when the proposal is not in `step.source` any more."""
    sets = {"status": step.target, **step.sets}
    assignments = ", ".join(f"{column} = ?" for column in sets)
    with store.writing("move"):
        done = store.run(
            f"UPDATE proposal SET {assignments} WHERE id = ? AND status = ?",
            (*sets.values(), proposal_id, step.source),
        )
        if done.rowcount != 1:
            raise stale(store, proposal_id, step.source)
        record_event(store, proposal_id, step.source, step.target, note)


def supersede(store: Store, proposal_id: int, source: Status, by: int, note: Note) -> None:
    """Put a proposal aside because `by` takes its place; a lease it had ends."""
    step = Step(source, "superseded", {"superseded_by": by, "lease_owner": None, "lease_until": None})
    take(store, proposal_id, step, note)


def insert(store: Store, draft: Proposal, columns: Mapping[str, Value], note: Note) -> int:
    """A new pending row with `draft`'s fact, and its first event.

    `columns` are those that Proposal has no field for.
    """
    row: dict[str, Value] = {
        **fact_columns(draft.fact),
        "target_old": storable(draft.target_old),
        "reason": storable(draft.reason),
        "status": "pending",
        "created_at": to_text(note.at),
        "not_before_at": None if draft.not_before_at is None else to_text(draft.not_before_at),
        **columns,
    }
    with store.writing("propose"):
        marks = ", ".join("?" * len(row))
        done = store.run(f"INSERT INTO proposal ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
        proposal_id = int(done.lastrowid or 0)
        record_event(store, proposal_id, "", "pending", note)
    return proposal_id


def record_event(store: Store, proposal_id: int, source: str, target: str, note: Note) -> None:
    store.run(
        "INSERT INTO proposal_event (proposal_id, at, who, from_status, to_status, reason)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (proposal_id, to_text(note.at), storable(note.who), source, target, storable(note.reason)),
    )


def stale(store: Store, proposal_id: int, wanted: str) -> StaleState | UnknownId:
    """The error to raise when a proposal is not in the status that was wanted."""
    row = store.row("SELECT status FROM proposal WHERE id = ?", (proposal_id,))
    if row is None:
        return UnknownId(
            f"proposal {proposal_id}: no such proposal; `factd queue list` shows those there are"
        )
    return StaleState(
        f"proposal {proposal_id} is {row['status']}, not {wanted}: somebody moved it first; look again with"
        f" `factd queue show {proposal_id}`"
    )


def get_row(store: Store, proposal_id: int) -> Row:
    """Raises UnknownId."""
    row = store.row("SELECT * FROM proposal WHERE id = ?", (proposal_id,))
    if row is None:
        raise stale(store, proposal_id, "")
    return row


def events(store: Store, proposal_id: int) -> tuple[Event, ...]:
    """The history of one proposal, oldest first. Raises UnknownId."""
    get_row(store, proposal_id)
    rows = store.rows("SELECT * FROM proposal_event WHERE proposal_id = ? ORDER BY id", (proposal_id,))
    return tuple(event_in(row) for row in rows)


def fact_columns(fact: Fact) -> dict[str, Value]:
    return {
        "subject": fact.subject,
        "relation": fact.relation,
        "object": fact.object,
        "valid_from": to_text(fact.valid_from),
        "evidence": canonical(fact.evidence),
        "publishers": canonical(fact.publishers),
    }


def fact_in(row: Row) -> Fact:
    return Fact(
        subject=row["subject"],
        relation=row["relation"],
        object=row["object"],
        valid_from=to_time(row["valid_from"]),
        evidence=strings(row["evidence"]),
        publishers=strings(row["publishers"]),
    )


def event_in(row: Row) -> Event:
    return Event(
        proposal_id=row["proposal_id"],
        at=to_time(row["at"]),
        who=row["who"],
        source=row["from_status"],
        target=row["to_status"],
        reason=row["reason"],
    )


def proposal_in(row: Row) -> Proposal:
    return Proposal(
        id=row["id"],
        fact=fact_in(row),
        status=cast(Status, row["status"]),
        reason=row["reason"],
        target_old=row["target_old"],
        created_at=to_time(row["created_at"]),
        decided_at=to_time_or_none(row["decided_at"]),
        not_before_at=to_time_or_none(row["not_before_at"]),
    )
