"""How a database of an older version becomes one of today: small named functions, each applied with its
record in one transaction.

To change the schema: change `schema.sql`, append a function here, never touch an older one. `first.sql` is
version 1 as it was; a test proves that migrating it gives what `schema.sql` says.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from agent.store.codec import to_text

APPLICATION_ID = 0x66616374  # "fact": how `file` and we tell our databases from others

Migration = Callable[[sqlite3.Connection], None]


def first(conn: sqlite3.Connection) -> None:
    """Articles, claims, feeds, queue, revisions, ledger."""
    run_script(conn, script("first.sql"))


def skips_and_stages(conn: sqlite3.Connection) -> None:
    """Why facts were not proposed, and where the pipeline's stages stand."""
    conn.execute(
        """
        CREATE TABLE skip (
            subject TEXT NOT NULL, relation TEXT NOT NULL, object TEXT NOT NULL, code TEXT NOT NULL, reason
            TEXT NOT NULL, evidence TEXT NOT NULL, first_at TEXT NOT NULL, last_at TEXT NOT NULL, times
            INTEGER NOT NULL, PRIMARY KEY (subject, relation, object)
        ) STRICT, WITHOUT ROWID
        """
    )
    conn.execute(
        """
        CREATE TABLE stage (
            name TEXT PRIMARY KEY, done_at TEXT NOT NULL, detail TEXT NOT NULL
        ) STRICT, WITHOUT ROWID
        """
    )


def copies_and_returns(conn: sqlite3.Connection) -> None:
    """By which further ways a text came, and the way back from approved to pending."""
    conn.execute(
        """
        CREATE TABLE article_copy (
            article_id TEXT NOT NULL REFERENCES article (id), source TEXT NOT NULL, publisher TEXT NOT NULL,
            PRIMARY KEY (article_id, source, publisher)
        ) STRICT, WITHOUT ROWID
        """
    )
    conn.execute("INSERT INTO transition (from_status, to_status) VALUES ('approved', 'pending')")


def where_feeds_began(conn: sqlite3.Connection) -> None:
    """The settings' url that a feed's state belongs to, and the hash of its last body."""
    conn.execute("ALTER TABLE feed ADD COLUMN origin TEXT NOT NULL DEFAULT ''")
    conn.execute("ALTER TABLE feed ADD COLUMN body_sha256 TEXT NOT NULL DEFAULT ''")


def places_and_pins(conn: sqlite3.Connection) -> None:
    """Which facts of a revision are in the weights and which in the overlay; what `revisions gc` keeps and removed."""
    conn.execute(
        "ALTER TABLE revision_fact ADD COLUMN place TEXT NOT NULL DEFAULT 'weights'"
        " CHECK (place IN ('weights', 'overlay'))"
    )
    conn.execute("ALTER TABLE revision ADD COLUMN pinned_at TEXT")
    conn.execute("ALTER TABLE revision ADD COLUMN pin_reason TEXT NOT NULL DEFAULT ''")
    conn.execute("ALTER TABLE revision ADD COLUMN removed_at TEXT")


def rounds(conn: sqlite3.Connection) -> None:
    """When `factd run` went round, and what came of it."""
    conn.execute(
        """
        CREATE TABLE round (
            id INTEGER PRIMARY KEY AUTOINCREMENT, started_at TEXT NOT NULL, ended_at TEXT, outcome TEXT NOT
            NULL CHECK (outcome IN ('running', 'ok', 'error', 'stopped', 'lost')), took_s REAL NOT NULL,
            errors INTEGER NOT NULL, next_at TEXT, message TEXT NOT NULL, counts TEXT NOT NULL
        ) STRICT
        """
    )


MIGRATIONS: tuple[Migration, ...] = (
    first,
    skips_and_stages,
    copies_and_returns,
    where_feeds_began,
    places_and_pins,
    rounds,
)


def create(conn: sqlite3.Connection, now: datetime) -> None:
    """Fill an empty database from `schema.sql`. The caller holds the transaction."""
    run_script(conn, script("schema.sql"))
    conn.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    for number, migration in enumerate(MIGRATIONS, 1):
        _record(conn, number, migration, now)


def migrate(conn: sqlite3.Connection, version: int, now: datetime, until: int = len(MIGRATIONS)) -> None:
    """Apply what comes after `version`, up to `until`.

    The caller holds the transaction; all of it is kept, or nothing.
    """
    for number, migration in enumerate(MIGRATIONS[version:until], version + 1):
        migration(conn)
        if number == 1:
            conn.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        _record(conn, number, migration, now)


def _record(conn: sqlite3.Connection, number: int, migration: Migration, now: datetime) -> None:
    name = getattr(migration, "__name__", "")
    conn.execute("INSERT INTO migration VALUES (?, ?, ?)", (number, name, to_text(now)))
    conn.execute(f"PRAGMA user_version = {number}")


def script(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def run_script(conn: sqlite3.Connection, sql: str) -> None:
    """Execute every statement of `sql` in the open transaction (`executescript` would commit it first)."""
    for statement in statements(sql):
        conn.execute(statement)


def statements(sql: str) -> Iterator[str]:
    """The statements of a script. Triggers hold semicolons too, so SQLite says where one is complete."""
    pending = ""
    for line in sql.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending.strip()
            pending = ""
    if any(line.strip() and not line.lstrip().startswith("--") for line in pending.splitlines()):
        raise ValueError(f"an SQL script ends in the middle of a statement: {pending.strip()[:80]!r}")
