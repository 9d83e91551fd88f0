"""The queue of corrections: what is proposed, and what a person (or a written policy) makes of it.

    pending -> approved -> editing -> verified -> live        else rejected | failed | superseded |
    rolled_back

`schema.sql` has every legal move; `leases.py` the worker's half; `revisions.py` publishes. A deferred
proposal is pending with `not_before_at`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import cast

from agent.errors import StaleState, UsageError
from agent.store.codec import (
    belief_of,
    belief_record,
    canonical,
    request_of,
    request_record,
    storable,
    strings,
    to_text,
    to_text_or_none,
    to_time,
)
from agent.store.db import Row, Store, Value
from agent.store.moves import (
    OPEN,
    Event,
    Note,
    Step,
    events,
    fact_columns,
    fact_in,
    get_row,
    insert,
    proposal_in,
    record_event,
    stale,
    supersede,
    take,
)
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


@dataclass(frozen=True, slots=True)
class Proposed:
    """The row that stands for a fact, whatever its status, and whether this call made it pending."""

    proposal: Proposal
    is_new: bool


def propose(
    store: Store,
    draft: Proposal,
    *,
    now: datetime,
    belief: Belief | None = None,
    request: EditRequest | None = None,
    single: bool = True,
    who: str = "factd",
) -> Proposed:
    """Queue `draft` (its id and status are ignored) unless the same fact is there already. If it is:

    - open (pending to live): not queued again; a pending one takes up further evidence and the newer belief;
    - rejected or rolled back: stays so, unless publishers that it did not have say it too;
    - failed: stays so (see `reopen`);
    - superseded: stays so, unless it is newer than what took its place, or that came to nothing.

    With `single` (one object at a time) the newer of two pending objects for a key supersedes the older,
    provided that at least as many publishers stand behind it: one voice must not push a corroborated change
    out of the queue.
    """
    note = Note(who, now, draft.reason)
    columns: dict[str, Value] = {
        "belief": None if belief is None else canonical(belief_record(belief)),
        "request": None if request is None else canonical(request_record(request)),
        "single": int(single),
    }
    with store.writing("propose"):
        proposal_id, is_new = _place(store, draft, columns, note)
        _settle(store, draft.fact.key, note)
        return Proposed(get(store, proposal_id), is_new)


def _place(store: Store, draft: Proposal, columns: dict[str, Value], note: Note) -> tuple[int, bool]:
    """Find the row for the draft's fact, or make one: (id, whether this call made it pending)."""
    fact = draft.fact
    row = store.row(
        "SELECT * FROM proposal WHERE subject = ? AND relation = ? AND object = ?"
        f" ORDER BY status IN ({_OPEN_SQL}) DESC, id DESC LIMIT 1",
        (fact.subject, fact.relation, fact.object),
    )
    if row is None:
        return insert(store, draft, columns, note), True
    if row["status"] == "pending":
        _take_up(store, row, draft, columns, note)
        return row["id"], False
    further = [name for name in fact.publishers if name not in strings(row["publishers"])]
    if row["status"] == "rejected" and further:
        merged = {**columns, **_merged(row, fact), "target_old": storable(draft.target_old)}
        merged |= {"decided_at": None, "not_before_at": to_text_or_none(draft.not_before_at)}
        again = Note(note.who, note.at, f"further publishers: {', '.join(further)}")
        take(store, row["id"], Step("rejected", "pending", merged), again)
        return row["id"], True
    if (row["status"] == "rolled_back" and further) or (
        row["status"] == "superseded" and _outdone(store, row, fact)
    ):
        return insert(store, draft, columns, note), True
    return row["id"], False


def _take_up(store: Store, row: Row, draft: Proposal, columns: dict[str, Value], note: Note) -> None:
    """Bring a pending row up to date.

    Writes nothing where nothing changed, so that a repeated run leaves no trace.
    """
    sets: dict[str, Value] = {**_merged(row, draft.fact), "target_old": storable(draft.target_old)}
    sets |= {column: columns[column] for column in ("belief", "request") if columns[column] is not None}
    changed = {column: value for column, value in sets.items() if row[column] != value}
    if not changed:
        return
    assignments = ", ".join(f"{column} = ?" for column in changed)
    store.run(f"UPDATE proposal SET {assignments} WHERE id = ?", (*changed.values(), row["id"]))
    record_event(
        store,
        row["id"],
        "pending",
        "pending",
        Note(note.who, note.at, f"newer: {', '.join(sorted(changed))}"),
    )


def _merged(row: Row, fact: Fact) -> dict[str, Value]:
    """The fact's columns with the evidence of both, in the order in which it came."""
    columns = fact_columns(fact)
    columns["evidence"] = canonical(tuple(dict.fromkeys((*strings(row["evidence"]), *fact.evidence))))
    columns["publishers"] = canonical(tuple(dict.fromkeys((*strings(row["publishers"]), *fact.publishers))))
    return columns


def _outdone(store: Store, row: Row, fact: Fact) -> bool:
    """Whether a superseded fact may come back: what took its place came to nothing, or is older by now."""
    while row["status"] == "superseded" and row["superseded_by"] is not None:
        row = get_row(store, row["superseded_by"])
    return row["status"] not in OPEN or fact.valid_from > to_time(row["valid_from"])


def _settle(store: Store, key: FactKey, note: Note) -> None:
    """Of one key's single-valued objects, put aside each pending one that a newer, no weaker one outdoes."""
    rows = store.rows(
        "SELECT * FROM proposal WHERE subject = ? AND relation = ? AND single = 1"
        f" AND status IN ({_OPEN_SQL}) ORDER BY id",
        key,
    )
    ranked = sorted(rows, key=lambda row: (row["valid_from"], row["id"]), reverse=True)
    for place, row in enumerate(ranked):
        voices = len(strings(row["publishers"]))
        winner = next(
            (other for other in ranked[:place] if len(strings(other["publishers"])) >= voices), None
        )
        if row["status"] == "pending" and winner is not None:
            reason = f"{winner['object']} is newer (proposal {winner['id']})"
            supersede(store, row["id"], "pending", winner["id"], Note(note.who, note.at, reason))


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
