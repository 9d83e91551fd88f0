"""How a fact gets into the queue: a row of its own, or the one that stands for it already, and which of two objects for a key gives way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agent.store.codec import (
    belief_record,
    canonical,
    request_record,
    storable,
    strings,
    to_text_or_none,
    to_time,
)
from agent.store.db import Row, Store, Value
from agent.store.moves import (
    OPEN,
    Note,
    Step,
    fact_columns,
    get_row,
    insert,
    proposal_in,
    record_event,
    supersede,
    take,
)
from agent.types import Belief, EditRequest, Fact, FactKey, Proposal

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
        return Proposed(proposal_in(get_row(store, proposal_id)), is_new)


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
