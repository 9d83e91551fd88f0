"""How many there are of everything, counted by the database."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from agent.store.codec import to_text
from agent.store.db import Row, Store, Value


def by_status(store: Store) -> dict[str, int]:
    """Proposals by status; a status without any is left out."""
    rows = store.rows("SELECT status, count(*) AS n FROM proposal GROUP BY status ORDER BY status")
    return {row["status"]: row["n"] for row in rows}


def deferred(store: Store, now: datetime) -> int:
    """Pending proposals that wait for a date to come."""
    return _count(
        store,
        "SELECT count(*) AS n FROM proposal WHERE status = 'pending' AND not_before_at > ?",
        to_text(now),
    )


def articles(store: Store) -> int:
    return _count(store, "SELECT count(*) AS n FROM article")


def claims(store: Store) -> int:
    """Those that hold."""
    return _count(store, "SELECT count(*) AS n FROM claim WHERE retired_at IS NULL")


def _count(store: Store, sql: str, *values: Value) -> int:
    return int(cast(Row, store.row(sql, values))["n"])
