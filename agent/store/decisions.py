"""A reviewer's decision: made on what they saw, sealed in the ledger, and undone as long as nobody went on from it.

The desk shows a proposal together with the number of its last event. Whoever decides gives that number back: has anything been
written about the proposal meanwhile, nothing is decided and StaleState says what happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast

from agent.errors import StaleState, UsageError
from agent.store import ledger, queue
from agent.store.codec import to_text
from agent.store.db import Row, Store, Value
from agent.store.moves import OPEN, Note, get_row, insert, proposal_in, record_event, stale
from agent.types import Proposal, Status

Action = Literal["approve", "reject", "defer", "due", "reopen", "send_back", "take_back"]
# What can be done with a proposal of a status; a deferred one can be made due as well.
ACTIONS: dict[Status, tuple[Action, ...]] = {
    "pending": ("approve", "reject", "defer"),
    "approved": ("send_back", "reject"),
    "live": ("take_back",),
    "rejected": ("reopen",),
    "failed": ("reopen",),
    "rolled_back": ("reopen",),
}
NEEDS_REASON: frozenset[Action] = frozenset({"reject", "reopen", "send_back", "take_back"})
UNDONE = "undone by the reviewer"
_DEFERRED = "deferred until "


@dataclass(frozen=True, slots=True)
class Decision:
    """`until` only for defer."""

    action: Action
    reason: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a decision: the proposal as it is now, what it was before, the event that `undo` wants, and the proposals
    that an approval put aside (an undone one: that came back, under new numbers).
    """

    proposal: Proposal
    before: Status
    event: int
    others: tuple[int, ...] = ()


def last_event(store: Store, proposal_id: int) -> int:
    """The number of the last thing that was written about a proposal. Raises UnknownId."""
    get_row(store, proposal_id)
    row = store.row("SELECT max(id) AS id FROM proposal_event WHERE proposal_id = ?", (proposal_id,))
    return int(cast(Row, row)["id"])


def decide(
    store: Store, proposal_id: int, decision: Decision, *, seen: int | None, who: str, now: datetime
) -> Made:
    """Carry a decision out, with its row in the ledger, in one transaction. `seen`: the last event that the reviewer knew, None
    for whatever it is.

    Raises UsageError without a reason that is needed, UnknownId, StaleState when the proposal was touched meanwhile.
    """
    with store.writing("decide"):
        _still(store, proposal_id, seen)
        before = queue.get(store, proposal_id).status
        moved = _carry_out(store, proposal_id, decision, Note(who, now, decision.reason))
        event = last_event(store, moved.id)
        aside = tuple(int(row["id"]) for row in _put_aside(store, moved.id, event, now))
        _seal(store, decision.action, moved, before, Note(who, now, decision.reason))
        return Made(moved, before, event, aside)


def undo(store: Store, proposal_id: int, event: int, *, who: str, now: datetime) -> Made:
    """Put a proposal back to pending that was just approved or rejected, or make one due again that was just deferred. What the
    approval had put aside comes back too, each as a new proposal.

    Raises UnknownId, UsageError when `event` was no such decision, StaleState when something was written after it.
    """
    with store.writing("undo"):
        _still(store, proposal_id, event)
        row = store.row("SELECT * FROM proposal_event WHERE id = ?", (event,))
        before, source = queue.get(store, proposal_id).status, cast(Row, row)["from_status"]
        note = Note(who, now, UNDONE)
        back: tuple[int, ...] = ()
        if before == "pending" and source == "pending" and cast(Row, row)["reason"].startswith(_DEFERRED):
            _due(store, proposal_id, note)
        elif source == "pending" and before == "approved":
            back = _bring_back(store, _put_aside(store, proposal_id, event, cast(Row, row)["at"]), note)
            queue.send_back(store, proposal_id, reason=UNDONE, who=who, now=now)
        elif source in ("pending", "approved") and before == "rejected":
            queue.reopen(store, proposal_id, reason=UNDONE, who=who, now=now)
        else:
            raise UsageError(f"proposal {proposal_id}: there is no decision that could be undone")
        moved = queue.get(store, proposal_id)
        _seal(store, "undo", moved, before, note)
        return Made(moved, before, last_event(store, proposal_id), back)


def _carry_out(store: Store, proposal_id: int, decision: Decision, note: Note) -> Proposal:
    reason, who, now = note.reason.strip(), note.who, note.at
    if decision.action in NEEDS_REASON and not reason:
        raise UsageError(f"proposal {proposal_id}: say why, it stays in the history")
    match decision.action:
        case "approve":
            return queue.approve(store, proposal_id, who=who, now=now, reason=reason)
        case "reject":
            return queue.reject(store, proposal_id, reason=reason, who=who, now=now)
        case "defer":
            if decision.until is None or decision.until <= now:
                raise UsageError(f"proposal {proposal_id}: say until when it is put off, a time to come")
            return queue.defer(store, proposal_id, decision.until, who=who, now=now, reason=reason)
        case "due":
            return _due(store, proposal_id, note)
        case "reopen":
            return queue.reopen(store, proposal_id, reason=reason, who=who, now=now)
        case "send_back":
            return queue.send_back(store, proposal_id, reason=reason, who=who, now=now)
        case "take_back":
            return queue.take_back(store, proposal_id, reason=reason, who=who, now=now)


def _due(store: Store, proposal_id: int, note: Note) -> Proposal:
    """A deferred proposal is due now. Raises UnknownId, StaleState when it is not pending, or not deferred."""
    done = store.run(
        "UPDATE proposal SET not_before_at = NULL"
        " WHERE id = ? AND status = 'pending' AND not_before_at IS NOT NULL",
        (proposal_id,),
    )
    if done.rowcount != 1:
        raise stale(store, proposal_id, "deferred")
    text = "due again" + (f": {note.reason}" if note.reason else "")
    record_event(store, proposal_id, "pending", "pending", Note(note.who, note.at, text))
    return queue.get(store, proposal_id)


def _put_aside(store: Store, proposal_id: int, event: int, at: datetime | str) -> list[Row]:
    """What the approval written as `event` superseded: its events follow, and have its time."""
    return store.rows(
        "SELECT p.* FROM proposal p JOIN proposal_event e ON e.proposal_id = p.id WHERE p.status = 'superseded'"
        " AND p.superseded_by = ? AND e.to_status = 'superseded' AND e.id > ? AND e.at = ? ORDER BY p.id",
        (proposal_id, event, at if isinstance(at, str) else to_text(at)),
    )


def _bring_back(store: Store, rows: list[Row], note: Note) -> tuple[int, ...]:
    """New pending proposals for those rows, but for facts that are open again already."""
    made = []
    for row in rows:
        marks = ", ".join("?" * len(OPEN))
        twin = store.row(
            f"SELECT 1 FROM proposal WHERE subject = ? AND relation = ? AND object = ? AND status IN ({marks})",
            (row["subject"], row["relation"], row["object"], *OPEN),
        )
        if twin is None:
            columns: dict[str, Value] = {name: row[name] for name in ("belief", "request", "single")}
            made.append(insert(store, proposal_in(row), columns, note))
    return tuple(made)


def _still(store: Store, proposal_id: int, seen: int | None) -> None:
    """Raises StaleState, with what was written since."""
    if seen is None or last_event(store, proposal_id) == seen:
        return
    newest = queue.events(store, proposal_id)[-1]
    what = newest.target if newest.source != newest.target else "changed"
    why = f" ({newest.reason})" if newest.reason else ""
    raise StaleState(
        f"proposal {proposal_id} was {what.replace('_', ' ')} by {newest.who}{why} while you looked; nothing was"
        " decided, look again"
    )


def _seal(store: Store, action: str, moved: Proposal, before: Status, note: Note) -> None:
    """The decision's row in the ledger: later nobody can say that somebody else made it, or for another reason."""
    payload = {
        "proposal": moved.id,
        "action": action,
        "before": before,
        "after": moved.status,
        "fact": [moved.fact.subject, moved.fact.relation, moved.fact.object],
        "who": note.who,
        "reason": note.reason,
    }
    if moved.not_before_at is not None:
        payload["until"] = to_text(moved.not_before_at)
    ledger.append(store, "decided", payload, note.at)


__all__ = ["ACTIONS", "NEEDS_REASON", "Action", "Decision", "Made", "decide", "last_event", "undo"]
