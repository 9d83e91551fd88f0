"""Why facts were not proposed, and where the pipeline's stages stand.

Both are for people and for resuming; neither decides.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent.store.codec import canonical, storable, strings, to_text, to_time
from agent.store.db import Store
from agent.types import Skip


@dataclass(frozen=True, slots=True)
class Stage:
    """When a stage last came to its end, and what it noted then."""

    name: str
    done_at: datetime
    detail: dict[str, Any]


def log_skips(store: Store, skips: Iterable[Skip], now: datetime) -> None:
    """Keep the last reason why each fact was not proposed, since when there is one, and how often."""
    with store.writing("skips"):
        for skip in skips:
            store.run(
                "INSERT INTO skip VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, 1)"
                " ON CONFLICT (subject, relation, object) DO UPDATE"
                " SET code = ?4, reason = ?5, evidence = ?6, last_at = ?7, times = times + 1",
                (
                    skip.subject,
                    skip.relation,
                    skip.object,
                    skip.code,
                    storable(skip.reason),
                    canonical(skip.evidence),
                    to_text(now),
                ),
            )


def skips(store: Store) -> tuple[Skip, ...]:
    """The latest first."""
    rows = store.rows("SELECT * FROM skip ORDER BY last_at DESC, subject, relation, object")
    return tuple(
        Skip(
            row["subject"],
            row["relation"],
            row["object"],
            row["code"],
            row["reason"],
            strings(row["evidence"]),
        )
        for row in rows
    )


def stage_done(store: Store, name: str, now: datetime, detail: Mapping[str, Any] | None = None) -> None:
    """Note that a stage came to its end; `detail` is plain JSON values."""
    with store.writing("stage"):
        store.run(
            "INSERT OR REPLACE INTO stage VALUES (?, ?, ?)",
            (name, to_text(now), canonical(dict(detail or {}))),
        )


def stages(store: Store) -> tuple[Stage, ...]:
    """In the order in which they ended."""
    rows = store.rows("SELECT * FROM stage ORDER BY done_at, name")
    return tuple(Stage(row["name"], to_time(row["done_at"]), json.loads(row["detail"])) for row in rows)
