"""The ledger: what was done to the model, append-only, each row sealed with the hash of the one before.

It shows that no row in the middle was changed, dropped or put in. Who can write the file can still forge a
whole new chain; to be safe from that, keep `head()` somewhere else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent.store.codec import canonical, digest, to_text, to_time
from agent.store.db import Store


@dataclass(frozen=True, slots=True)
class Entry:
    seq: int
    at: datetime
    kind: str
    payload: dict[str, Any]
    prev: str
    hash: str


def append(store: Store, kind: str, payload: Mapping[str, Any], now: datetime) -> Entry:
    """Add a row at the end; within `store.writing()` it stands or falls with the rest.

    `payload` must be plain JSON values.
    """
    with store.writing("ledger"):
        seq, prev = head(store)
        at = to_text(now)
        seal = digest(_sealed(seq + 1, at, kind, dict(payload), prev))
        store.run(
            "INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?)",
            (seq + 1, at, kind, canonical(payload), prev, seal),
        )
    return Entry(seq + 1, to_time(at), kind, dict(payload), prev, seal)


def head(store: Store) -> tuple[int, str]:
    """The number and the hash of the last row; (0, "") for an empty ledger."""
    row = store.row("SELECT seq, hash FROM ledger ORDER BY seq DESC LIMIT 1")
    return (0, "") if row is None else (row["seq"], row["hash"])


def entries(store: Store) -> tuple[Entry, ...]:
    rows = store.rows("SELECT * FROM ledger ORDER BY seq")
    return tuple(
        Entry(
            row["seq"], to_time(row["at"]), row["kind"], json.loads(row["payload"]), row["prev"], row["hash"]
        )
        for row in rows
    )


def verify_chain(store: Store) -> int | None:
    """The number of the first row that is wrong or missing, None for a sound ledger."""
    prev = ""
    expected = 1
    with store.reading():
        for row in store.rows("SELECT * FROM ledger ORDER BY seq"):
            if row["seq"] != expected or row["prev"] != prev or row["hash"] != _seal(dict(row)):
                return expected
            prev = row["hash"]
            expected += 1
        highest = store.row("SELECT seq FROM sqlite_sequence WHERE name = 'ledger'")
    # rows cut off at the end leave the chain sound, but SQLite remembers the highest number it ever gave
    return expected if highest is not None and highest["seq"] >= expected else None


def _seal(row: Mapping[str, Any]) -> str:
    """The hash that a stored row should have; empty when its payload is no JSON any more."""
    try:
        payload = json.loads(row["payload"])
    except ValueError:
        return ""
    return digest(_sealed(row["seq"], row["at"], row["kind"], payload, row["prev"]))


def _sealed(seq: int, at: str, kind: str, payload: object, prev: str) -> dict[str, object]:
    return {"seq": seq, "at": at, "kind": kind, "payload": payload, "prev": prev}
