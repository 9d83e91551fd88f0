"""Which revision is served: the pointer, the statuses that go with it, and the link `current`.

Moving the pointer is a transaction; the link is only a convenience that `repair` makes again.
"""

from __future__ import annotations

from datetime import datetime
from typing import cast

from agent.errors import StaleState
from agent.store import artefacts, keeping, ledger
from agent.store.db import Store
from agent.store.mending import mended
from agent.store.moves import OPEN, Note, Step, get_row, supersede, take
from agent.store.published import BASE, facts_rows, get, pointer
from agent.types import Revision, Status


def rollback(store: Store, to_id: int, *, reason: str, who: str, now: datetime) -> Revision:
    """Make an earlier (or later) revision current again; 0 is the base. Its facts become live, those it lacks
    rolled back.

    Nothing is deleted. Raises UnknownId, StoreError when its weights were removed, and StaleState when a fact that must live again
    is just being edited anew.
    """
    target = get(store, to_id)
    with store.writing("rollback"):
        if to_id != BASE:
            keeping.need_weights(store, to_id)
        point_at(store, to_id, Note(who, now, reason))
    repair_link(store)
    return target


def point_at(store: Store, to_id: int, note: Note) -> None:
    """Move the pointer, the statuses with it, and tell the ledger; nothing at all if it stands there."""
    before = pointer(store)
    held = {int(row["proposal_id"]) for row in facts_rows(store, to_id)}
    live = {int(row["id"]) for row in store.rows("SELECT id FROM proposal WHERE status = 'live'")}
    if before == to_id and held == live:
        return
    away, back = sorted(live - held), sorted(held - live)
    told = Note(note.who, note.at, f"revision {to_id} is current again: {note.reason}")
    for proposal_id in away:
        take(store, proposal_id, Step("live", "rolled_back"), told)
    for proposal_id in back:
        _restore(store, proposal_id, told)
    set_pointer(store, to_id)
    store.run("UPDATE revision SET status = 'rolled_back' WHERE id > ? AND id <= ?", (to_id, before))
    store.run("UPDATE revision SET status = 'published' WHERE id = ?", (to_id,))
    payload = {
        "revision": to_id,
        "before": before,
        "away": away,
        "back": back,
        "who": note.who,
        "reason": note.reason,
    }
    ledger.append(store, "pointed", payload, note.at)


def _restore(store: Store, proposal_id: int, note: Note) -> None:
    """superseded or rolled_back -> live.

    Where the same fact waits in the queue again, that row has become needless.
    """
    row = get_row(store, proposal_id)
    twin = store.row(
        "SELECT id, status FROM proposal WHERE subject = ? AND relation = ? AND object = ?"
        f" AND status IN ({', '.join(repr(status) for status in OPEN)})",
        (row["subject"], row["relation"], row["object"]),
    )
    if twin is not None and twin["status"] in ("editing", "verified"):
        raise StaleState(
            f"proposal {twin['id']} is the same fact and is being edited; wait for it, then go back"
        )
    if twin is not None:
        supersede(store, twin["id"], cast(Status, twin["status"]), proposal_id, note)
    take(store, proposal_id, Step(cast(Status, row["status"]), "live", {"superseded_by": None}), note)


def repair(store: Store) -> tuple[str, ...]:
    """At the start of a worker that holds the lock: sweep up what a killed one left, set the link right. One line for each thing done."""
    done = list(mended(store))
    if not link_is_right(store):
        repair_link(store)
        done.append(
            f"repaired: the link {store.revisions_folder / artefacts.LINK} is right again: {_link_target(store) or 'none'}"
        )
    return tuple(done)


def repair_link(store: Store) -> None:
    artefacts.link(store.revisions_folder, _link_target(store))


def link_is_right(store: Store) -> bool:
    """Not so after a kill between the transaction that publishes and the link."""
    return artefacts.linked(store.revisions_folder) == _link_target(store)


def _link_target(store: Store) -> str | None:
    served = pointer(store)
    return None if served == BASE else str(served)


def set_pointer(store: Store, revision_id: int) -> None:
    value = None if revision_id == BASE else revision_id
    store.run("INSERT OR REPLACE INTO current_revision VALUES (1, ?)", (value,))
