"""A full disk: a clear error, nothing of the step is kept, nothing of before is lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agent.errors import StoreError
from agent.store import articles, leases, ledger, queue, revisions
from agent.store.db import Store
from tests.store.samples import NOW, OWNER, approved, article, candidate, claim, draft, fact, live, verified

LONG = "x" * 100_000


def _publish(store: Store) -> object:
    ids = [1, *(item.id for item in queue.proposals(store, "verified"))]
    return revisions.publish(store, candidate(ids), now=NOW)


STEPS: dict[str, Callable[[Store], object]] = {
    "articles": lambda store: articles.add(store, [article(8), article(9, text=LONG, sha256="9" * 64)]),
    "claims": lambda store: articles.record_readings(
        store, [("feed:1", [claim(f"c{n}", object=LONG) for n in range(3)])], "v1", NOW
    ),
    "propose": lambda store: queue.propose(store, draft(fact(LONG)), now=NOW),
    "reject": lambda store: queue.reject(store, 2, reason=LONG, who="eva", now=NOW),
    "lease": lambda store: leases.begin_edit(store, [2], owner=LONG, lease_s=1, now=NOW),
    "ledger": lambda store: ledger.append(store, "refused", {"why": LONG}, NOW),
    "rollback": lambda store: revisions.rollback(store, 0, reason=LONG, who="eva", now=NOW),
}


def _all(store: Store) -> list[object]:
    tables = [row["name"] for row in store.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return [[tuple(row) for row in store.rows(f"SELECT * FROM {name}")] for name in sorted(tables)]


def _fill_the_disk(store: Store) -> None:
    row = store.row("PRAGMA page_count")
    assert row is not None
    store.run(f"PRAGMA max_page_count = {row[0]}")


@pytest.mark.parametrize("name", sorted(STEPS))
def test_a_full_disk_loses_nothing(store: Store, name: str) -> None:
    articles.add(store, [article(1)])
    live(store, fact(relation="capital"))
    approved(store, fact())
    before = _all(store)
    _fill_the_disk(store)
    with pytest.raises(StoreError, match="the disk is full; nothing of this step was kept") as caught:
        STEPS[name](store)
    assert "factd.db" in str(caught.value)
    assert _all(store) == before
    assert ledger.verify_chain(store) is None
    store.run("PRAGMA max_page_count = 1000000")
    STEPS[name](store)
    assert _all(store) != before


def test_a_full_disk_while_publishing_keeps_the_old_revision(store: Store) -> None:
    live(store, fact(relation="capital"))
    long = fact(LONG)
    verified(store, approved(store, long), owner=OWNER)
    before = _all(store)
    _fill_the_disk(store)
    with pytest.raises(StoreError, match="the disk is full"):
        _publish(store)
    assert _all(store) == before
    assert revisions.current(store).id == 1
    assert (store.revisions_folder / "current").readlink().name == "1"
    store.run("PRAGMA max_page_count = 1000000")
    _publish(store)
    assert revisions.current(store).facts[1] == long
    assert sorted(path.name for path in store.revisions_folder.iterdir()) == ["1", "2", "current"]
