from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from agent.errors import StoreError
from agent.store import articles, feeds, queue
from agent.store.db import DATABASE, open_store
from agent.store.migrations import MIGRATIONS, create, migrate, statements
from agent.types import FeedState
from tests.store.samples import NOW, article


def _database(path: Path | str, version: int) -> sqlite3.Connection:
    conn = sqlite3.connect(path, isolation_level=None)
    conn.execute("BEGIN IMMEDIATE")
    migrate(conn, 0, NOW, until=version)
    conn.execute("COMMIT")
    return conn


def _shape(conn: sqlite3.Connection) -> dict[str, str]:
    """Name -> definition without comments and spaces, and the rows that are there from the start."""
    found = {}
    for kind, name, sql in conn.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"):
        plain = re.sub(r"--[^\n]*", "", sql)
        found[f"{kind} {name}"] = re.sub(r"\s+", "", plain)
    found["transitions"] = str(conn.execute("SELECT * FROM transition ORDER BY 1, 2").fetchall())
    found["migrations"] = str(conn.execute("SELECT * FROM migration").fetchall())
    for pragma in ("user_version", "application_id"):
        found[pragma] = str(conn.execute(f"PRAGMA {pragma}").fetchone()[0])
    return found


def test_migrating_from_the_first_version_gives_what_the_schema_says() -> None:
    fresh = sqlite3.connect(":memory:", isolation_level=None)
    create(fresh, NOW)
    for start in range(len(MIGRATIONS)):
        old = _database(":memory:", start)
        migrate(old, start, NOW)
        assert _shape(old) == _shape(fresh)
        old.close()
    fresh.close()


def test_an_old_database_is_brought_up_with_what_it_holds(folder: Path) -> None:
    folder.mkdir()
    conn = _database(folder / DATABASE, 1)
    conn.execute("INSERT INTO feed VALUES ('f', 'https://f.example', '', '', NULL, NULL, 0, '', 0)")
    conn.close()
    with open_store(folder, NOW) as store:
        assert [row["name"] for row in store.rows("SELECT name FROM migration ORDER BY version")] == [
            migration.__name__ for migration in MIGRATIONS
        ]
        (state,) = feeds.states(store)
        assert state == FeedState("f", "https://f.example")
        articles.add(store, [article(1)])
        assert queue.proposals(store) == ()


def test_a_migration_that_fails_leaves_the_old_version(folder: Path) -> None:
    """One of its tables is in the way, so that the second version cannot be reached."""
    folder.mkdir()
    conn = _database(folder / DATABASE, 1)
    conn.execute("CREATE TABLE stage (in_the_way)")
    with pytest.raises(StoreError, match="stage already exists"):
        open_store(folder, NOW)
    assert conn.execute("PRAGMA user_version").fetchone()[0] == 1
    assert not conn.execute("SELECT * FROM sqlite_master WHERE name = 'skip'").fetchall()
    conn.execute("DROP TABLE stage")
    conn.close()
    with open_store(folder, NOW) as store:
        assert len(store.rows("SELECT * FROM migration")) == len(MIGRATIONS)


def test_a_script_that_ends_in_the_middle_is_an_error() -> None:
    with pytest.raises(ValueError, match="middle of a statement"):
        list(statements("CREATE TABLE a (b);\nCREATE TABLE c (\n"))
