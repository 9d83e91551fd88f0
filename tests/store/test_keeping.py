"""Pins, cleaning up and putting back: what may go, what must stay, and what a killed process leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import StaleState, StoreError, UnknownId, UsageError
from agent.faults import FAULT_VARIABLE
from agent.store import artefacts, keeping, ledger, published, revisions
from agent.store.db import Store, open_store
from tests.forks import ROOT
from tests.store.samples import NOW, approved, candidate, day, fact, live, verified

WEIGHTS = artefacts.DELTA


def several(store: Store, count: int) -> None:
    """Revisions 1 to `count`, a day apart, each with one fact more."""
    for number in range(1, count + 1):
        (new,) = verified(store, approved(store, fact(f"Name {number}", subject=f"Land {number}")))
        revisions.publish(store, candidate(range(1, new + 1)), now=day(number))


def there(store: Store) -> list[int]:
    """The revisions whose weights are on the disk."""
    return sorted(int(path.parent.name) for path in store.revisions_folder.glob(f"[0-9]*/{WEIGHTS}"))


def ids(found: tuple[published.Keeping, ...]) -> list[int]:
    return [item.id for item in found]


def test_the_newest_the_served_and_the_pinned_stay(store: Store) -> None:
    several(store, 6)
    assert ids(keeping.removable(store, newest=5, now=day(9))) == [1]
    assert ids(keeping.removable(store, newest=9, now=day(9))) == []
    assert ids(keeping.removable(store, newest=0, now=day(9))) == [1, 2, 3, 4, 5]
    keeping.pin(store, 2, reason="shown to the board", who="eva", now=day(7))
    revisions.rollback(store, 4, reason="x", who="eva", now=day(7))
    assert ids(keeping.removable(store, newest=1, now=day(9))) == [1, 3, 5]
    assert ids(keeping.removable(store, newest=1, now=day(9), older_than_days=5)) == [1, 3]
    freed = keeping.remove(store, [1, 3, 5], who="eva", now=day(9))
    assert freed == sum(len(f"delta of {tuple(range(1, n + 1))}") for n in (1, 3, 5))
    assert there(store) == [2, 4, 6]
    assert ids(keeping.removable(store, newest=1, now=day(9))) == []
    keeping.unpin(store, 2, who="eva", now=day(9))
    assert ids(keeping.removable(store, newest=1, now=day(9))) == [2]
    told = [(entry.kind, entry.payload["revision"]) for entry in ledger.entries(store)]
    assert told[-5:] == [("pointed", 4), ("removed", 1), ("removed", 3), ("removed", 5), ("unpinned", 2)]
    assert ledger.verify_chain(store) is None


def test_rows_and_small_files_stay(store: Store) -> None:
    several(store, 2)
    before = revisions.revisions(store)
    keeping.remove(store, [1], who="eva", now=day(3))
    assert revisions.revisions(store) == before
    assert published.record(store, 1, "facts.json") is not None
    found = published.keeping(store, 1)
    assert (found.removed_at, found.files) == (day(3), published.keeping(store, 1).files)
    assert sorted(p.name for p in (store.revisions_folder / "1").iterdir()) == ["facts.json", "report.json"]


@pytest.mark.parametrize("use", ["folder", "rollback", "pin", "remove"])
def test_who_wants_removed_weights_is_told_how_to_get_them(store: Store, use: str) -> None:
    several(store, 2)
    keeping.remove(store, [1], who="eva", now=day(3))
    uses = {
        "folder": lambda: revisions.folder(store, 1),
        "rollback": lambda: revisions.rollback(store, 1, reason="x", who="eva", now=NOW),
        "pin": lambda: keeping.pin(store, 1, reason="x", who="eva", now=NOW),
        "remove": lambda: keeping.remove(store, [1], who="eva", now=NOW),
    }
    head = ledger.head(store)
    with pytest.raises(StoreError, match=r"removed on 2026-03-04 .*`factd revisions rebuild 1`"):
        uses[use]()
    assert revisions.current(store).id == 2
    assert ledger.head(store) == head


def test_nothing_goes_that_must_stay(store: Store) -> None:
    several(store, 3)
    keeping.pin(store, 2, reason="x", who="eva", now=NOW)
    for wrong, words in ((3, "is served"), (2, "is pinned"), (9, "there is none"), (0, "there is none")):
        with pytest.raises((StaleState, UnknownId), match=words):
            keeping.remove(store, [1, wrong], who="eva", now=NOW)
    assert there(store) == [1, 2, 3]


def test_a_pin_needs_a_reason_and_an_end_a_pin(store: Store) -> None:
    several(store, 1)
    with pytest.raises(UsageError, match="--reason"):
        keeping.pin(store, 1, reason=" ", who="eva", now=NOW)
    with pytest.raises(StaleState, match="not pinned"):
        keeping.unpin(store, 1, who="eva", now=NOW)
    for unknown in (0, 7):
        with pytest.raises(UnknownId):
            keeping.pin(store, unknown, reason="x", who="eva", now=NOW)
    keeping.pin(store, 1, reason="first", who="eva", now=NOW)
    keeping.pin(store, 1, reason="second", who="eva", now=day(1))
    assert published.keeping(store, 1).pin_reason == "second"
    assert [entry.kind for entry in ledger.entries(store)] == ["published", "pinned", "pinned"]


def test_weights_come_back_only_as_they_were(store: Store) -> None:
    several(store, 2)
    keeping.remove(store, [1], who="eva", now=day(3))
    with pytest.raises(StoreError, match="not those that were published"):
        keeping.restore(store, 1, b"others", who="eva", now=day(4))
    with pytest.raises(StoreError, match="is not what was published"):
        keeping.restore(store, 1, lambda path: path.write_bytes(b"others"), who="eva", now=day(4))
    assert there(store) == [2]
    assert not list(store.revisions_folder.glob(".building*"))
    keeping.restore(store, 1, candidate([1]).delta, who="eva", now=day(4))
    assert revisions.folder(store, 1) == store.revisions_folder / "1"
    assert revisions.rollback(store, 1, reason="x", who="eva", now=day(5)).id == 1
    assert [entry.kind for entry in ledger.entries(store)][-3:] == ["removed", "restored", "pointed"]


def test_compiling_the_same_again_brings_removed_weights_back(store: Store) -> None:
    live(store, fact())
    revisions.rollback(store, 0, reason="x", who="eva", now=NOW)
    again = revisions.rollback(store, 1, reason="y", who="eva", now=NOW)
    second = revisions.publish(store, replace(candidate([1]), delta_sha="other", delta=b"other"), now=NOW)
    keeping.remove(store, [again.id], who="eva", now=NOW)
    assert revisions.publish(store, candidate([1]), now=day(1)).id == again.id != second.id
    assert revisions.folder(store, again.id)
    assert [entry.kind for entry in ledger.entries(store)][-3:] == ["removed", "restored", "pointed"]


def killed(folder: Path, point: str, action: str) -> None:
    code = (
        "import pathlib, sys; from agent.store import keeping; from agent.store.db import open_store;"
        "from tests.store.samples import NOW, candidate;"
        f"store = open_store(pathlib.Path(sys.argv[1]), NOW); {action}"
    )
    environment = {**os.environ, FAULT_VARIABLE: point, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code, str(folder)], env=environment, cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL


REMOVE = "keeping.remove(store, [1, 2], who='eva', now=NOW)"
RESTORE = "keeping.restore(store, 1, candidate([1]).delta, who='eva', now=NOW)"


@pytest.mark.parametrize(
    ("point", "left", "then"),
    [
        ("gc:before-commit", [1, 2, 3], [1, 2, 3]),
        ("gc:after-commit", [1, 2, 3], [3]),
        ("gc:after-unlink", [2, 3], [3]),
    ],
)
def test_the_next_start_ends_what_a_killed_removal_began(
    folder: Path, point: str, left: list[int], then: list[int]
) -> None:
    with open_store(folder, NOW, create_missing=True) as store:
        several(store, 3)
    killed(folder, point, REMOVE)
    with open_store(folder, NOW) as store:
        assert there(store) == left
        revisions.repair(store)
        assert there(store) == then
        marked = [found.id for found in published.keepings(store).values() if found.removed_at is None]
        assert marked == then, "what the database says is what is there"
        assert ledger.verify_chain(store) is None


@pytest.mark.parametrize(
    ("point", "then"),
    [("restore:after-rename", [2]), ("restore:before-commit", [2]), ("restore:after-commit", [1, 2])],
)
def test_the_next_start_knows_what_a_killed_restoration_did(
    folder: Path, point: str, then: list[int]
) -> None:
    with open_store(folder, NOW, create_missing=True) as store:
        several(store, 2)
        keeping.remove(store, [1], who="eva", now=NOW)
    killed(folder, point, RESTORE)
    with open_store(folder, NOW) as store:
        revisions.repair(store)
        assert there(store) == then
        if then == [2]:
            keeping.restore(store, 1, candidate([1]).delta, who="eva", now=NOW)
        assert revisions.folder(store, 1)


def test_a_file_that_may_not_be_removed_stops_nobody(store: Store) -> None:
    several(store, 2)
    keeping.remove(store, [1], who="eva", now=NOW)
    stuck = store.revisions_folder / "1" / WEIGHTS
    stuck.mkdir()  # what even root cannot unlink
    revisions.repair(store)
    assert stuck.exists()
