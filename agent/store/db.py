"""Opening the state folder, and the one way to write to it: `with store.writing(): ...`.

WAL with synchronous=FULL: what `writing()` has left is on the disk. A connection belongs to the thread that
opened it; a thread of its own opens a store of its own.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agent.errors import StoreError
from agent.faults import step
from agent.private import make_file, make_folder
from agent.store.migrations import APPLICATION_ID, MIGRATIONS, create, migrate
from agent.whole import sync

DATABASE = "factd.db"
BUSY_TIMEOUT_S = 10.0
_READERS = ("rw", "ro", "ro&immutable=1")

Row = sqlite3.Row
Value = str | int | float | bytes | None

_ADVICE = {
    "SQLITE_FULL": "the disk is full; nothing of this step was kept, free some space and run it again",
    "SQLITE_BUSY": "another process has been writing for too long; try again when it is done",
    "SQLITE_NOTADB": "this is not a database; move the file away, or name another state folder",
    "SQLITE_CORRUPT": "the database is damaged; restore a copy of the state folder",
    "SQLITE_CANTOPEN": "it cannot be opened; check that the folder exists and that you may write to it",
    "SQLITE_READONLY": "it may not be written; check the owner and the permissions of folder and file",
    "SQLITE_PERM": "access is not permitted; check the owner and the permissions of the folder and the file",
    "SQLITE_IOERR": "the disk reported an error or is full; nothing of this step was kept, check the disk",
    "SQLITE_AUTH": "access is not permitted; check the owner and the permissions of the folder and the file",
}


@dataclass(frozen=True, slots=True)
class Store:
    """An open state folder. Close it, or use it as a context manager."""

    folder: Path
    conn: sqlite3.Connection

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.conn.close()

    @property
    def revisions_folder(self) -> Path:
        return self.folder / "revisions"

    def copy_to(self, folder: Path, now: datetime) -> Store:
        """The same database, as it is now, in another folder, open for writing. This one is only read."""
        with closing(sqlite3.connect(folder / DATABASE)) as copy, _explained(folder / DATABASE):
            self.conn.backup(copy)
        return open_store(folder, now, create_missing=True)

    def run(self, sql: str, values: Sequence[Value] = ()) -> sqlite3.Cursor:
        """Execute one statement. Raises StoreError for whatever SQLite refuses."""
        with _explained(self.folder / DATABASE):
            return self.conn.execute(sql, values)

    def rows(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        with _explained(self.folder / DATABASE):
            return self.conn.execute(sql, values).fetchall()

    def row(self, sql: str, values: Sequence[Value] = ()) -> Row | None:
        """The first row, or None."""
        with _explained(self.folder / DATABASE):
            row: Row | None = self.conn.execute(sql, values).fetchone()
            return row

    @contextmanager
    def writing(self, stage: str = "") -> Iterator[None]:
        """A transaction that has the write lock from its start; all of it is on the disk at the end, or none
        of it.

        Inside another `writing()` it is part of that one, so that functions which each write atomically can
        be put together. `stage` names it for the tests of crashes (agent.faults). Raises StoreError when the lock cannot be had in time, or the disk is full.
        """
        if _in_transaction(self.conn):
            yield
            return
        self.run("BEGIN IMMEDIATE")
        try:
            yield
            with step(stage, "commit") if stage else nullcontext():
                self.run("COMMIT")
        except BaseException:
            if self.conn.in_transaction:
                self.conn.rollback()
            raise

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Several reads that see one moment of the database."""
        if _in_transaction(self.conn):
            yield
            return
        self.run("BEGIN")
        try:
            yield
        finally:
            if self.conn.in_transaction:
                self.conn.rollback()


def open_store(folder: Path, now: datetime, *, create_missing: bool = False) -> Store:
    """Open the state in `folder` for reading and writing, and bring an older database up to date.

    With `create_missing` the folder and the database are made when they are not there. Raises StoreError when
    they are missing, may not be used, are no state of factd, or come from a newer factd.
    """
    path = folder / DATABASE
    if create_missing:
        try:
            _make(folder)
            make_file(path)  # SQLite gives its other files the same permissions
        except OSError as error:
            raise StoreError(
                f"{folder}: the state folder cannot be made ({error.strerror}); choose another"
            ) from error
    else:
        _must_exist(path)
    with _explained(path):
        conn = _connect(path, "rwc" if create_missing else "rw")
    try:
        with _explained(path):
            version = _version(conn, path)
            _use_wal(conn)
            conn.execute("PRAGMA synchronous = FULL")
            conn.execute("PRAGMA foreign_keys = ON")
            if version < len(MIGRATIONS):
                with Store(folder, conn).writing("open"):
                    _bring_up(conn, path, now)
    except BaseException:
        conn.close()
        raise
    return Store(folder, conn)


def read_store(folder: Path) -> Store:
    """Open the state in `folder` for reading only: creates nothing, changes nothing, waits for nobody.

    The connection may write and is told not to (`query_only`): a reader without the right to write would
    leave -wal and -shm files behind, this one clears them away when it is the last. Where the folder itself
    is read-only it falls back to such a reader. Raises StoreError as `open_store` does, and when the database
    is of an older version: then any writing command updates it.
    """
    path = folder / DATABASE
    _must_exist(path)
    with _explained(path):
        conn, version = _reader(path)
    if version < len(MIGRATIONS):
        conn.close()
        raise StoreError(
            f"{path}: of an older version ({version}); `factd init` on this folder brings it up to date"
        )
    return Store(folder, conn)


def _make(folder: Path) -> None:
    """The state folder, with names that a power cut does not forget."""
    parts = [part for part in (folder, folder / "revisions", folder / "cache") if not part.is_dir()]
    with step("open", "folders") if parts else nullcontext():
        for part in parts:
            make_folder(part)
        for part in dict.fromkeys(part.parent for part in parts):
            sync(part)


def _use_wal(conn: sqlite3.Connection) -> None:
    """The mode stays in the file, so only its first users switch. SQLite does not wait for the lock of it."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while conn.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            conn.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _reader(path: Path) -> tuple[sqlite3.Connection, int]:
    """`immutable` is for a folder where nobody can write: else SQLite wants to make its -shm file there."""
    for mode in _READERS:
        conn = _connect(path, mode)
        try:
            conn.execute("PRAGMA query_only = ON")
            return conn, _version(conn, path)
        except sqlite3.OperationalError:
            conn.close()
            if mode == _READERS[-1]:
                raise
        except BaseException:
            conn.close()
            raise
    raise AssertionError("the last mode returns or raises")


def _in_transaction(conn: sqlite3.Connection) -> bool:
    """Asked anew each time: SQLite itself ends a transaction that met a full disk."""
    return conn.in_transaction


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    """`isolation_level=None`: transactions are ours alone, Python opens none of its own."""
    conn = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None
    )
    conn.row_factory = sqlite3.Row
    return conn


def _version(conn: sqlite3.Connection, path: Path) -> int:
    """The schema version, 0 for an empty database. Raises StoreError if it is not ours or too new."""
    version, application, tables = (
        conn.execute(  # one statement, one moment: another process may be creating it
            "SELECT user_version, application_id, (SELECT count(*) FROM sqlite_master)"
            " FROM pragma_user_version, pragma_application_id"
        ).fetchone()
    )
    if application != APPLICATION_ID and (application or version or tables):
        raise StoreError(f"{path}: a database of another program; name another state folder")
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{path}: made by a newer factd (version {version}, this one knows {len(MIGRATIONS)});"
            " update factd, nothing was changed"
        )
    return int(version)


def _bring_up(conn: sqlite3.Connection, path: Path, now: datetime) -> None:
    """Create or migrate; another process may have been first, so the version is read again under the lock."""
    version = _version(conn, path)
    if version == 0:
        create(conn, now)
    else:
        migrate(conn, version, now)


def _must_exist(path: Path) -> None:
    try:
        if path.is_file():
            return
        there = path.parent.is_dir()
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be looked at ({error.strerror}); check the permissions of the folder"
        ) from error
    what = "no factd.db in this folder" if there else "no such state folder"
    raise StoreError(f"{path.parent}: {what}; run `factd init`, or name the right one")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into StoreError with what, where and what to do.

    Bugs in SQL stay visible through the cause.
    """
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "") or ""
        advice = next((text for code, text in _ADVICE.items() if name.startswith(code)), None)
        if advice is None:
            raise StoreError(f"{path}: refused: {error}") from error
        raise StoreError(f"{path}: {advice} ({error})") from error
    except UnicodeEncodeError as error:
        raise StoreError(
            f"{path}: refused a text that is not Unicode ({error.reason}); clean it first"
        ) from error
