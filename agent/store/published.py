"""What was published: revisions, their facts and answers, where their files are, and which of them keep their weights.

Only reads. A revision's weights (`delta.safetensors`) may have been removed by `keeping.remove`; its other files, which are small,
stay, so that what it was can still be shown and it can be compiled again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import cast

from agent.errors import StoreError, UnknownId
from agent.store import artefacts
from agent.store.codec import asked_of, facts_of, report_of, to_time, to_time_or_none
from agent.store.db import Row, Store
from agent.store.moves import get_row, proposal_in
from agent.types import Asked, Place, Proposal, Revision

BASE = 0


@dataclass(frozen=True, slots=True)
class Keeping:
    """Of one revision: its files (name -> SHA-256), whether it is pinned and why, and when its weights were removed."""

    id: int
    created_at: datetime
    files: Mapping[str, str]
    pinned_at: datetime | None = None
    pin_reason: str = ""
    removed_at: datetime | None = None


def pointer(store: Store) -> int:
    """The id of the revision that is served."""
    row = store.row("SELECT revision_id FROM current_revision")
    return BASE if row is None or row["revision_id"] is None else int(row["revision_id"])


def current(store: Store) -> Revision:
    """The revision that is served; the base (id 0, without facts) where nothing was published."""
    with store.reading():
        return get(store, pointer(store))


def get(store: Store, revision_id: int) -> Revision:
    """Raises UnknownId. The base has no row: its `base_sha` is empty, and it is as old as the database."""
    if revision_id == BASE:
        made = store.row("SELECT min(applied_at) AS at FROM migration")
        return Revision(BASE, "", "", (), to_time(cast(Row, made)["at"]))
    return _revision(store, _row(store, revision_id))


def revisions(store: Store) -> tuple[Revision, ...]:
    """All that were ever published, by id; the base is not among them."""
    return tuple(_revision(store, row) for row in store.rows("SELECT * FROM revision ORDER BY id"))


def statuses(store: Store) -> dict[int, str]:
    """Revision id -> published or rolled_back."""
    return {row["id"]: row["status"] for row in store.rows("SELECT id, status FROM revision ORDER BY id")}


def settings_sha(store: Store, revision_id: int) -> str:
    """Of the edit settings that a revision was compiled with. Raises UnknownId."""
    return str(_row(store, revision_id)["settings_sha"])


def members(store: Store, revision_id: int, place: Place | None = None) -> tuple[Proposal, ...]:
    """The proposals whose facts a revision holds, by id; with `place` only those that it has there."""
    return tuple(
        proposal_in(get_row(store, row["proposal_id"]))
        for row in facts_rows(store, revision_id)
        if place in (None, row["place"])
    )


def places(store: Store, revision_id: int) -> dict[int, Place]:
    """Where a revision has each of its facts, by proposal id."""
    return {row["proposal_id"]: row["place"] for row in facts_rows(store, revision_id)}


def keepings(store: Store) -> dict[int, Keeping]:
    """By id, every revision but the base."""
    return {row["id"]: _keeping(row) for row in store.rows("SELECT * FROM revision ORDER BY id")}


def keeping(store: Store, revision_id: int) -> Keeping:
    """Raises UnknownId, also for the base, which has no files of ours."""
    return _keeping(_row(store, revision_id))


def answers(store: Store, revision_id: int) -> tuple[Asked, ...]:
    """Everything that was asked before a revision was published; nothing for the base and for revisions of older versions.

    Raises UnknownId, StoreError when the file is gone or was changed.
    """
    text = None if revision_id == BASE else record(store, revision_id, "answers.json")
    return () if text is None else asked_of(text)


def record(store: Store, revision_id: int, name: str) -> str | None:
    """The text of one file of a revision, whether its weights are there or not; None where it never had that file.

    Raises UnknownId, StoreError when the file is gone or was changed.
    """
    files = keeping(store, revision_id).files
    if name not in files:
        return None
    place = place_of(store, revision_id)
    artefacts.check(place, {name: files[name]})
    return (place / name).read_text(encoding="utf-8")


def folder(store: Store, revision_id: int) -> Path:
    """Where the files of a published revision are, to be served.

    Raises UnknownId, StoreError when they are gone or were changed.
    """
    row = store.row("SELECT files, removed_at FROM revision WHERE id = ?", (revision_id,))
    if row is None:
        raise UnknownId(f"revision {revision_id}: has no files; `factd revisions` shows those that have")
    if row["removed_at"] is not None:
        raise removed(revision_id, to_time(row["removed_at"]))
    artefacts.check(place_of(store, revision_id), cast(dict[str, str], json.loads(row["files"])))
    return place_of(store, revision_id)


def removed(revision_id: int, at: datetime) -> StoreError:
    """What to say where the weights of a revision are wanted that were removed."""
    return StoreError(
        f"revision {revision_id}: its weights were removed on {at:%Y-%m-%d} to save space;"
        f" `factd revisions rebuild {revision_id}` compiles them again"
    )


def place_of(store: Store, revision_id: int) -> Path:
    """Where the files of a revision belong, unchecked."""
    return store.revisions_folder / str(revision_id)


def strangers(store: Store) -> tuple[int, ...]:
    """Numbers of folders that no row knows and no killed publication left: the database was put back to a time before them."""
    if not store.revisions_folder.is_dir():
        return ()
    known = {row["id"] for row in store.rows("SELECT id FROM revision")}
    found = (number for number in artefacts.numbers(store.revisions_folder) if number not in known)
    return tuple(n for n in found if not artefacts.is_unconfirmed(store.revisions_folder / str(n)))


def facts_rows(store: Store, revision_id: int) -> Iterable[Row]:
    return store.rows(
        "SELECT proposal_id, place FROM revision_fact WHERE revision_id = ? ORDER BY proposal_id",
        (revision_id,),
    )


def _row(store: Store, revision_id: int) -> Row:
    row = store.row("SELECT * FROM revision WHERE id = ?", (revision_id,))
    if row is None:
        raise UnknownId(f"revision {revision_id}: there is none; `factd revisions` shows those there are")
    return row


def _revision(store: Store, row: Row) -> Revision:
    facts = facts_of(row["facts"])
    # Facts stand in the order of their proposals' ids.
    where = [entry["place"] for entry in facts_rows(store, row["id"])]
    return Revision(
        id=row["id"],
        base_sha=row["base_sha"],
        delta_sha=row["delta_sha"],
        facts=facts,
        created_at=to_time(row["created_at"]),
        report=None if row["report"] is None else report_of(row["report"]),
        overlay=tuple(fact for fact, place in zip(facts, where, strict=True) if place == "overlay"),
    )


def _keeping(row: Row) -> Keeping:
    return Keeping(
        id=row["id"],
        created_at=to_time(row["created_at"]),
        files=json.loads(row["files"]),
        pinned_at=to_time_or_none(row["pinned_at"]),
        pin_reason=row["pin_reason"],
        removed_at=to_time_or_none(row["removed_at"]),
    )
