"""What a revision holds, since when, and what was left out on the way to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agent.store import artefacts
from agent.store.codec import to_text, to_time
from agent.store.db import Store
from agent.store.moves import Event, event_in, get_row, proposal_in
from agent.store.published import BASE, get, keeping, place_of
from agent.types import Place, Proposal


@dataclass(frozen=True, slots=True)
class Held:
    """One fact of a revision: where it is, and the first revision that held it, with its time."""

    proposal: Proposal
    place: Place
    first_in: int
    first_at: datetime


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One fact that did not get in, and the event that says why."""

    proposal: Proposal
    event: Event


@dataclass(frozen=True, slots=True)
class File:
    """One file of a revision; `size` in bytes, None where it is not there."""

    name: str
    sha256: str
    size: int | None


def held(store: Store, revision_id: int) -> tuple[Held, ...]:
    """The facts of a revision, by the id of their proposal."""
    rows = store.rows(
        "SELECT mine.proposal_id, mine.place, min(every.revision_id) AS first_in, revision.created_at AS first_at"
        " FROM revision_fact AS mine JOIN revision_fact AS every ON every.proposal_id = mine.proposal_id"
        " JOIN revision ON revision.id = every.revision_id"
        " WHERE mine.revision_id = ? GROUP BY mine.proposal_id ORDER BY mine.proposal_id",
        (revision_id,),
    )
    return tuple(
        Held(
            proposal_in(get_row(store, row["proposal_id"])),
            row["place"],
            row["first_in"],
            to_time(row["first_at"]),
        )
        for row in rows
    )


def left_out(store: Store, revision_id: int) -> tuple[LeftOut, ...]:
    """The facts that failed, or were taken out by the gate, after the revision before this one was published and until this one was.

    Raises UnknownId.
    """
    if revision_id == BASE:
        return ()
    until = get(store, revision_id).created_at
    before = store.row("SELECT max(created_at) AS at FROM revision WHERE id < ?", (revision_id,))
    since = before["at"] if before is not None and before["at"] is not None else ""
    rows = store.rows(
        "SELECT * FROM proposal_event WHERE at > ? AND at <= ?"
        " AND (to_status = 'failed' OR to_status = 'rolled_back' AND who = 'gate') ORDER BY id",
        (since, to_text(until)),
    )
    return tuple(LeftOut(proposal_in(get_row(store, row["proposal_id"])), event_in(row)) for row in rows)


def files(store: Store, revision_id: int) -> tuple[File, ...]:
    """Name, recorded hash and present size of each file; none for the base."""
    if revision_id == BASE:
        return ()
    recorded, place = keeping(store, revision_id).files, place_of(store, revision_id)
    return tuple(File(name, sha, artefacts.size(place, name)) for name, sha in sorted(recorded.items()))


def replaced_by(store: Store, proposal_id: int) -> Proposal | None:
    """The published fact whose place this one took, the last of them; None if it took nobody's."""
    row = store.row(
        "SELECT max(id) AS id FROM proposal WHERE superseded_by = ? AND id IN (SELECT proposal_id FROM revision_fact)",
        (proposal_id,),
    )
    return None if row is None or row["id"] is None else proposal_in(get_row(store, row["id"]))
