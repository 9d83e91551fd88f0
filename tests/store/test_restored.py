"""The database put back from an old copy while the folders of revisions are newer, and the other way round."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from agent.errors import StoreError
from agent.store import artefacts, audit, keeping, ledger, queue, revisions
from agent.store.db import DATABASE, Store, open_store
from tests.store.samples import NOW, approved, candidate, day, fact, live, tree, verified


@pytest.fixture
def old(folder: Path, tmp_path: Path) -> Path:
    """A state with three revisions whose database is that of the time of the first."""
    with open_store(folder, NOW, create_missing=True) as store:
        live(store, fact())
        store.copy_to(tmp_path, NOW).close()
        live(store, fact("Bo Lind", valid_from=day(1)))
        live(store, fact("Cy Marr", valid_from=day(2)))
    for path in folder.glob(f"{DATABASE}*"):
        path.unlink()
    shutil.copy(tmp_path / DATABASE, folder / DATABASE)
    return folder


def folders(store: Store) -> dict[str, str]:
    return {name: sha for name, sha in tree(store.revisions_folder).items() if name != "current"}


def test_the_next_start_says_what_it_found_and_serves_what_the_database_knows(old: Path) -> None:
    with open_store(old, NOW) as store:
        before = folders(store)
        said = revisions.repair(store)
        assert len(said) == 2, said
        assert said[0].startswith("found: revisions 2, 3 are on the disk and not in the database")
        assert "revision 1 is served, and the next revision is number 4" in said[0]
        assert "current is right again: 1" in said[1]
        assert revisions.current(store).id == 1 and revisions.folder(store, 1)
        assert folders(store) == before
        assert ledger.verify_chain(store) is None
        found = audit.audit(store)
        assert [f.where for f in found] == [f"the folder {store.revisions_folder / n}" for n in ("2", "3")]


def test_no_newer_folder_is_ever_overwritten(old: Path) -> None:
    with open_store(old, NOW) as store:
        before = folders(store)
        assert live(store, fact("Di Roy", valid_from=day(3))).id == 4
        assert {name: sha for name, sha in folders(store).items() if name[0] != "4"} == before
        assert revisions.folder(store, 4)
        assert [entry.payload["revision"] for entry in ledger.entries(store)] == [1, 4]


def test_nothing_is_removed_while_database_and_folders_are_of_two_times(old: Path) -> None:
    """That the weights of 1 are to go is what an old database says: later they may have been put back."""
    with open_store(old, NOW) as store:
        revisions.rollback(store, 0, reason="x", who="eva", now=NOW)
        store.run("UPDATE revision SET removed_at = created_at WHERE id = 1")
        revisions.repair(store)
        assert (store.revisions_folder / "1" / artefacts.DELTA).exists()


def test_a_folder_that_came_meanwhile_stops_the_publication(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else may write there while we hold the lock; if somebody does, his folder stays."""
    ids = verified(store, approved(store, fact()))
    monkeypatch.setattr(revisions, "strangers", lambda _store: ())
    (store.revisions_folder / "1").mkdir()
    (store.revisions_folder / "1" / "kept").write_text("x")
    with pytest.raises(StoreError, match="is there already and not in the database"):
        revisions.publish(store, candidate(ids), now=NOW)
    assert (store.revisions_folder / "1" / "kept").read_text() == "x"
    assert queue.get(store, ids[0]).status == "verified"
    assert revisions.current(store).id == 0


def test_weights_that_are_gone_are_told_with_what_brings_them_back(store: Store) -> None:
    live(store, fact())
    (store.revisions_folder / "1" / artefacts.DELTA).unlink()
    assert revisions.repair(store) == (
        "found: revision 1: its weights are missing though nobody removed them; `factd revisions rebuild 1` compiles them again",
    )
    keeping.restore(store, 1, candidate([1]).delta, who="eva", now=NOW)
    assert revisions.repair(store) == ()


def test_a_sound_state_is_mended_in_silence(store: Store) -> None:
    live(store, fact())
    assert revisions.repair(store) == ()
    assert not (store.revisions_folder / "1" / ".unconfirmed").exists()
