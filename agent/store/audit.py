"""Whether what was published is still what the ledger says: the chain of its rows, every revision's row and files, pointer and pins.

The ledger's chain shows that no row of it was changed; the rest is held against it. Only reads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.errors import StoreError
from agent.store import artefacts, ledger
from agent.store.db import Row, Store
from agent.store.ledger import Entry
from agent.store.published import facts_rows, place_of, pointer, strangers

_COLUMNS = ("base_sha", "delta_sha", "settings_sha")
# Columns of the database that repeat a file.
_REPEATED = {"facts": "facts.json", "report": "report.json"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What is not as it was: `where` names the ledger row, the revision or the file."""

    where: str
    what: str


@dataclass(slots=True)
class _Told:
    """What the ledger's rows come to: revisions as published, by id, and where pointer, pins and removals stand."""

    published: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    pointer: int = 0
    pinned: set[int] = field(default_factory=set)
    removed: set[int] = field(default_factory=set)

    def add(self, entry: Entry) -> None:
        revision: int = entry.payload.get("revision", 0)
        match entry.kind:
            case "published":
                self.published[revision] = entry.payload
                self.pointer = revision
            case "pointed":
                self.pointer = revision
            case "pinned":
                self.pinned.add(revision)
            case "unpinned":
                self.pinned.discard(revision)
            case "removed":
                self.removed.add(revision)
            case "restored":
                self.removed.discard(revision)


def audit(store: Store) -> tuple[Finding, ...]:
    """Everything that is not as it was, in the order ledger, revisions, pointer; nothing when all is sound.

    Where the ledger itself was changed only that is told: nothing can be held against it. Raises StoreError when a file cannot be
    read.
    """
    with store.reading():
        broken = ledger.verify_chain(store)
        if broken is not None:
            return (
                Finding(
                    f"ledger row {broken}",
                    "was changed, taken out or put in: its hash does not follow from the row before",
                ),
            )
        told = _Told()
        for entry in ledger.entries(store):
            told.add(entry)
        return (*_revisions(store, told), *_strangers(store), *_pointer(store, told))


def _revisions(store: Store, told: _Told) -> Iterator[Finding]:
    rows = {int(row["id"]): row for row in store.rows("SELECT * FROM revision ORDER BY id")}
    for number in sorted(rows.keys() | told.published.keys()):
        where = f"revision {number}"
        if number not in rows:
            yield Finding(where, "is in the ledger and not in the database")
        elif number not in told.published:
            yield Finding(where, "is in the database and not in the ledger")
        else:
            yield from (Finding(where, what) for what in _row(store, rows[number], told))
            yield from _files(store, number, told)


def _row(store: Store, row: Row, told: _Told) -> Iterator[str]:
    """What of a revision's row is not as the ledger has it."""
    number, payload = int(row["id"]), told.published[row["id"]]
    for column in _COLUMNS:
        if row[column] != payload[column]:
            yield f"{column} is {row[column]}, the ledger has {payload[column]}"
    if json.loads(row["files"]) != payload["files"]:
        yield "the list of its files is not the ledger's"
    for column, name in _REPEATED.items():
        text = "null" if row[column] is None else row[column]
        if hashlib.sha256(f"{text}\n".encode()).hexdigest() != payload["files"].get(name):
            yield f"its {column} in the database are not those of {name}"
    places = {entry["proposal_id"]: entry["place"] for entry in facts_rows(store, number)}
    if sorted(places) != sorted(payload["proposals"]):
        yield f"it holds the proposals {sorted(places)}, the ledger has {sorted(payload['proposals'])}"
    beside = sorted(proposal for proposal, place in places.items() if place == "overlay")
    if beside != sorted(payload.get("overlay", [])):
        yield f"its overlay holds the proposals {beside}, the ledger has {sorted(payload.get('overlay', []))}"
    if (row["pinned_at"] is not None) != (number in told.pinned):
        yield "it is pinned in one of database and ledger only"
    if (row["removed_at"] is not None) != (number in told.removed):
        yield "its weights are removed in one of database and ledger only"


def _files(store: Store, number: int, told: _Told) -> Iterator[Finding]:
    for name, wanted in sorted(told.published[number]["files"].items()):
        if name == artefacts.DELTA and number in told.removed:
            continue
        try:
            found = artefacts.sha(place_of(store, number), name)
        except StoreError as error:
            yield Finding(f"revision {number}, {name}", str(error))
            continue
        if found != wanted:
            what = "is missing" if found is None else "was changed after publication"
            yield Finding(f"revision {number}, {name}", what)


def _strangers(store: Store) -> Iterator[Finding]:
    for number in strangers(store):
        yield Finding(
            f"the folder {store.revisions_folder / str(number)}",
            "is on the disk and not in the database: the database is older than it, perhaps put back from a copy",
        )


def _pointer(store: Store, told: _Told) -> Iterator[Finding]:
    served = pointer(store)
    if served != told.pointer:
        yield Finding(
            "the current revision", f"is {served}, by the ledger it is {told.pointer}; somebody moved it"
        )
    linked = artefacts.linked(store.revisions_folder)
    if linked != (str(served) if served else None):
        yield Finding(
            "the link revisions/current",
            f"points at {linked}, served is {served}; any command that works on the state sets it right",
        )
