"""Where each feed stands: what to send with the next conditional request, and when it is due."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from agent.store import articles
from agent.store.codec import storable, to_text, to_text_or_none, to_time_or_none
from agent.store.db import Row, Store
from agent.types import Article, FeedState


def get(store: Store, source: str) -> FeedState | None:
    row = store.row("SELECT * FROM feed WHERE source = ?", (source,))
    return None if row is None else _feed(row)


def states(store: Store) -> tuple[FeedState, ...]:
    return tuple(_feed(row) for row in store.rows("SELECT * FROM feed ORDER BY source"))


def save(store: Store, state: FeedState) -> None:
    """Remember the outcome of a poll.

    Call it after its articles are stored: an etag kept without them would lose them.
    """
    with store.writing("feed"):
        store.run(
            "INSERT OR REPLACE INTO feed VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                state.source,
                state.url,
                storable(state.etag),
                storable(state.last_modified),
                to_text_or_none(state.polled_at),
                to_text_or_none(state.next_poll_at),
                state.errors,
                storable(state.last_error),
                int(state.gone),
                state.origin,
                state.body_sha256,
            ),
        )


def save_polled(
    store: Store, outcomes: Iterable[tuple[Sequence[Article], FeedState]]
) -> list[articles.Added]:
    """Store what several polls brought, of each the articles, then the state; what became of the articles, in order.

    One transaction: a run killed here has the articles and the state of all of them, or of none.
    """
    added = []
    with store.writing("poll"):
        for found, state in outcomes:
            added.append(articles.add(store, found))
            save(store, state)
    return added


def _feed(row: Row) -> FeedState:
    return FeedState(
        source=row["source"],
        url=row["url"],
        etag=row["etag"],
        last_modified=row["last_modified"],
        polled_at=to_time_or_none(row["polled_at"]),
        next_poll_at=to_time_or_none(row["next_poll_at"]),
        errors=row["errors"],
        last_error=row["last_error"],
        gone=bool(row["gone"]),
        origin=row["origin"],
        body_sha256=row["body_sha256"],
    )


def due(store: Store, now: datetime) -> tuple[FeedState, ...]:
    """The feeds to poll now, the longest due first; those that are gone are never due."""
    rows = store.rows(
        "SELECT * FROM feed WHERE gone = 0 AND (next_poll_at IS NULL OR next_poll_at <= ?)"
        " ORDER BY next_poll_at, source",
        (to_text(now),),
    )
    return tuple(_feed(row) for row in rows)
