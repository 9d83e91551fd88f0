"""The rounds of `factd run`: when each began and ended, and what came of it. For people, and for the pause after errors.

Rows are numbered for ever, also across a clock that was set back; those of the newest rounds are kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from agent.store.codec import canonical, storable, to_text, to_text_or_none, to_time, to_time_or_none
from agent.store.db import Row, Store

Outcome = Literal["running", "ok", "error", "stopped", "lost"]
KEPT = 5000
_BAD = ("error", "lost")


@dataclass(frozen=True, slots=True)
class Round:
    """One round. `took_s` by a clock that nobody sets. `errors`: rounds in a row that failed, this one included. `counts`: what
    it found, by name.
    """

    id: int
    started_at: datetime
    ended_at: datetime | None
    outcome: Outcome
    took_s: float = 0.0
    errors: int = 0
    next_at: datetime | None = None
    message: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class End:
    """What is noted of a round that ends."""

    outcome: Outcome
    took_s: float
    message: str = ""
    next_at: datetime | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


def begin(store: Store, now: datetime) -> int:
    """The number of the round that begins now. One that is said to run still has lost its process, and counts as an error."""
    with store.writing("round"):
        errors = errors_before(store)
        for row in store.rows("SELECT id FROM round WHERE outcome = 'running' ORDER BY id"):
            errors += 1
            store.run("UPDATE round SET outcome = 'lost', errors = ? WHERE id = ?", (errors, row["id"]))
        done = store.run(
            "INSERT INTO round (started_at, outcome, took_s, errors, message, counts)"
            " VALUES (?, 'running', 0, ?, '', '{}')",
            (to_text(now), errors),
        )
        number = int(done.lastrowid or 0)
        store.run("DELETE FROM round WHERE id <= ?", (number - KEPT,))
    return number


def errors_before(store: Store) -> int:
    """How many rounds in a row failed up to the last one that has ended."""
    row = store.row("SELECT errors FROM round WHERE outcome <> 'running' ORDER BY id DESC LIMIT 1")
    return 0 if row is None else int(row["errors"])


def end(store: Store, number: int, what: End, now: datetime) -> None:
    """Note the end of a round. One that was only told to stop says nothing about errors."""
    with store.writing("round"):
        row = store.row(
            "SELECT errors FROM round WHERE id < ? AND outcome <> 'running' ORDER BY id DESC LIMIT 1",
            (number,),
        )
        before = 0 if row is None else int(row["errors"])
        errors = before + 1 if what.outcome in _BAD else 0 if what.outcome == "ok" else before
        store.run(
            "UPDATE round SET ended_at = ?, outcome = ?, took_s = ?, errors = ?, next_at = ?, message = ?,"
            " counts = ? WHERE id = ?",
            (
                to_text(now),
                what.outcome,
                what.took_s,
                errors,
                to_text_or_none(what.next_at),
                storable(what.message),
                canonical(dict(what.counts)),
                number,
            ),
        )


def last(store: Store, count: int = 1) -> tuple[Round, ...]:
    """The newest rounds, the newest first."""
    return tuple(_round(row) for row in store.rows("SELECT * FROM round ORDER BY id DESC LIMIT ?", (count,)))


def last_good(store: Store) -> Round | None:
    """The newest round that came to its end without an error."""
    row = store.row("SELECT * FROM round WHERE outcome = 'ok' ORDER BY id DESC LIMIT 1")
    return None if row is None else _round(row)


def lost_in_a_row(store: Store) -> int:
    """How many of the newest rounds took their process with them, the one that is said to run still included."""
    number = 0
    for row in store.rows("SELECT outcome FROM round ORDER BY id DESC LIMIT 50"):
        if row["outcome"] not in ("lost", "running"):
            break
        number += 1
    return number


def _round(row: Row) -> Round:
    return Round(
        id=row["id"],
        started_at=to_time(row["started_at"]),
        ended_at=to_time_or_none(row["ended_at"]),
        outcome=row["outcome"],
        took_s=row["took_s"],
        errors=row["errors"],
        next_at=to_time_or_none(row["next_at"]),
        message=row["message"],
        counts=json.loads(row["counts"]),
    )
