from __future__ import annotations

import sqlite3

import pytest

from agent.errors import StoreError
from agent.store import ledger
from agent.store.db import Store
from tests.store.samples import NOW, day


def _fill(store: Store) -> None:
    for number in range(5):
        ledger.append(store, "refused", {"n": number, "why": "naïve “gate”"}, day(number))


def test_rows_follow_one_another(store: Store) -> None:
    assert ledger.head(store) == (0, "")
    assert ledger.verify_chain(store) is None
    _fill(store)
    rows = ledger.entries(store)
    assert [row.seq for row in rows] == [1, 2, 3, 4, 5]
    assert [row.prev for row in rows] == ["", *(row.hash for row in rows[:-1])]
    assert rows[3].payload == {"n": 3, "why": "naïve “gate”"}
    assert ledger.head(store) == (5, rows[-1].hash)
    assert ledger.verify_chain(store) is None


@pytest.mark.parametrize(
    "sql", ["UPDATE ledger SET kind = 'x' WHERE seq = 2", "DELETE FROM ledger WHERE seq = 5"]
)
def test_rows_are_neither_changed_nor_deleted(store: Store, sql: str) -> None:
    _fill(store)
    with pytest.raises(StoreError, match="the ledger is never"):
        store.run(sql)


def test_a_row_that_does_not_follow_is_refused(store: Store) -> None:
    _fill(store)
    with pytest.raises(StoreError, match="follows the last one"):
        store.run("INSERT INTO ledger VALUES (6, ?, 'x', '{}', 'forged', 'forged')", (NOW.isoformat(),))


@pytest.mark.parametrize(
    ("sql", "first_bad"),
    [
        ("UPDATE ledger SET payload = replace(payload, '2', '7') WHERE seq = 3", 3),
        ("UPDATE ledger SET payload = 'no json' WHERE seq = 3", 3),
        ("UPDATE ledger SET at = 'yesterday' WHERE seq = 1", 1),
        ("UPDATE ledger SET hash = 'x' WHERE seq = 4", 4),
        ("DELETE FROM ledger WHERE seq = 2", 2),
        ("DELETE FROM ledger WHERE seq = 5", 5),
        ("DELETE FROM ledger", 1),
    ],
)
def test_who_gets_past_the_triggers_is_found_out(store: Store, sql: str, first_bad: int) -> None:
    _fill(store)
    for trigger in ("ledger_fixed", "ledger_stays"):
        store.run(f"DROP TRIGGER {trigger}")
    store.run(sql)
    assert ledger.verify_chain(store) == first_bad


def test_what_json_does_not_know_is_refused(store: Store) -> None:
    for payload in ({"x": float("nan")}, {"x": object()}, {"x": "\ud83d"}):
        with pytest.raises(StoreError, match="JSON"):
            ledger.append(store, "x", payload, NOW)
    assert ledger.head(store) == (0, "")


def test_the_hash_is_what_the_schema_says(store: Store) -> None:
    """An auditor with SQLite and sha256sum can check it without us."""
    import hashlib

    entry = ledger.append(store, "x", {"b": 1, "a": "é"}, NOW)
    text = '{"at":"2026-03-01T12:00:00.000000+00:00","kind":"x","payload":{"a":"é","b":1},"prev":"","seq":1}'
    assert entry.hash == hashlib.sha256(text.encode()).hexdigest()


def test_numbers_are_not_given_again(store: Store) -> None:
    _fill(store)
    with pytest.raises(sqlite3.Error):
        store.conn.execute(
            "INSERT INTO ledger SELECT seq, at, kind, payload, hash, hash FROM ledger WHERE seq = 5"
        )
