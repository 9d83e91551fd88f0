"""The state folder is its owner's alone, whatever the umask was, and `factd doctor` tells where it is not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from agent import private
from agent.editing.cache import save_values
from agent.editing.delta import empty_delta
from agent.editing.located import write_whole
from agent.editing.statfile import save_tensors
from agent.lm.load import LM
from agent.store import artefacts, keeping, revisions
from agent.store.db import open_store
from agent.store.lock import worker_lock
from tests.cli.conftest import World
from tests.store import samples


@pytest.fixture(params=[0o000, 0o022, 0o277], ids=["umask 000", "umask 022", "umask 277"])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    try:
        yield
    finally:
        os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    """Of the folder and of all below it but links."""
    found = [folder, *(path for path in folder.rglob("*") if not path.is_symlink())]
    return {str(path.relative_to(folder.parent)): oct(path.lstat().st_mode & 0o777) for path in found}


def fill(state: Path) -> None:
    """Everything that is ever written there."""
    with open_store(state, samples.NOW, create_missing=True) as store, worker_lock(state):
        first = samples.live(store, samples.fact("Nova"))
        samples.live(store, samples.fact("Oduya", subject="Quenia"), keep=(1,))
        keeping.pin(store, first.id, reason="x", who="eva", now=samples.NOW)
        artefacts.put(
            revisions.folder(store, 2), "more.json", b"{}", samples.hashlib.sha256(b"{}").hexdigest()
        )
    save_values(state / "cache", {"aaaa": torch.zeros(2)})
    save_tensors(state / "cache" / "kept" / "x.safetensors", {"0": torch.zeros(2)}, {})
    write_whole(state / "cache" / "located.json", b"{}", mode=private.FILE)


def test_all_of_it_is_the_owners_alone(tmp_path: Path, umask: None) -> None:
    state = tmp_path / "state"
    fill(state)
    found = modes(state)
    assert len(found) > 12 and "state/factd.db" in found and "state/revisions/2/delta.safetensors" in found
    wrong = {n: m for n, m in found.items() if m != ("0o700" if (tmp_path / n).is_dir() else "0o600")}
    assert wrong == {}


def test_while_it_is_written_too(tmp_path: Path) -> None:
    """SQLite's own files beside the database."""
    before = os.umask(0)
    try:
        with open_store(tmp_path / "state", samples.NOW, create_missing=True) as store:
            samples.propose(store)
            found = modes(store.folder)
    finally:
        os.umask(before)
    assert {"state/factd.db-wal", "state/factd.db-shm"} <= found.keys()
    assert {mode for name, mode in found.items() if "factd.db" in name} == {"0o600"}


def test_a_folder_that_was_there_stays_as_its_owner_made_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o750)
    state.chmod(0o750)
    open_store(state, samples.NOW, create_missing=True).close()
    assert modes(state)["state"] == "0o750" and modes(state)["state/factd.db"] == "0o600"


def test_doctor_tells_what_is_open_to_others(world: World) -> None:
    def told() -> list[dict[str, str]]:
        return [c for c in world.run("doctor", "--json").json["checks"] if c["name"] == "permissions"]

    assert [check["status"] for check in told()] == ["ok"]
    world.state.chmod(0o755)
    (world.state / "factd.db").chmod(0o644)
    (check,) = told()
    assert check["status"] == "warn" and check["found"].startswith("2 files and folders open to others")
    assert "chmod -R go=" in check["advice"]
    # Where nobody may enter, what is inside is safe.
    world.state.chmod(0o700)
    assert [check["status"] for check in told()] == ["ok"]


def test_without_the_guard_it_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "FILE", 0o644)
    before = os.umask(0o022)
    try:
        private.make_file(tmp_path / "x")
    finally:
        os.umask(before)
    assert oct((tmp_path / "x").stat().st_mode & 0o777) == "0o644"
    assert list(private.open_to_others(tmp_path / "x")) == [tmp_path / "x"]


def test_a_delta_is_written_alike(tmp_path: Path, tiny: Callable[..., LM]) -> None:
    """The compiler hands over a function that writes."""
    content = empty_delta("x" * 64).to_bytes()
    with artefacts.written(tmp_path / "revisions", lambda path: path.write_bytes(content), {}) as draft:
        assert set(modes(draft.folder).values()) == {"0o700", "0o600"}
