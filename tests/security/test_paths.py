"""No name that somebody else chose becomes a path: every name of the list in every place that takes one, and not a file is made,
read or gone outside."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.errors import FactdError
from agent.export import place
from agent.export.place import checked_name, placed
from agent.lm.load import folder_of
from agent.sources.files import to_path
from agent.types import SourceSpec
from tests.cli.conftest import World
from tests.security.lists import ROOT, cases, ids
from tests.store.samples import tree

PATHS = cases("paths")
# An id is a number or refused at once, by one function: a sample, with everything that looks like a number.
IDS = [case for n, case in enumerate(PATHS) if case.get("number") or n % 5 == 0]


def as_model(world: World, text: str) -> str:
    """A hub id. The hub is never asked: nothing of this list is one."""
    try:
        return str(folder_of(text))
    except FactdError:
        return ""


def as_served_name(world: World, text: str) -> str:
    try:
        return checked_name(text, "--name") if not text.isdecimal() else ""
    except FactdError:
        return ""


def _command(*before: str) -> Callable[[World, str], str]:
    def way(world: World, text: str) -> str:
        done = world.run(*before, text.replace("\0", ""))
        return f"{before}: {done.out[:200]}" if done.code == 0 else ""

    way.__name__ = f"as_argument_of_{'_'.join(before)}"
    return way


WAYS: tuple[Callable[[World, str], str], ...] = (
    as_model,
    as_served_name,
    _command("revisions", "show"),
    _command("rollback", "--reason", "x"),
    _command("queue", "show"),
    _command("queue", "approve"),
)


def got_through(world: World, case: dict[str, Any], way: Callable[[World, str], str]) -> str:
    return way(world, case["text"])


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever asks the hub has gone too far."""
    import huggingface_hub

    def asked(name: str, **_: object) -> str:
        from huggingface_hub.utils import validate_repo_id

        validate_repo_id(name)
        return f"the hub was asked for {name!r}"

    monkeypatch.setattr(huggingface_hub, "snapshot_download", asked)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_no_name_becomes_a_path(
    world: World, way: Callable[[World, str], str], offline: None, record_property: Callable[[str, int], None]
) -> None:
    """All names in one state: what is there before is there after, and nothing else."""
    before = tree(world.folder)
    chosen = PATHS if way in (as_model, as_served_name) else IDS
    record_property("tried", len(chosen))
    through = {case["name"]: found for case in chosen if (found := got_through(world, case, way))}
    assert through == {}
    after = tree(world.folder)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert {name for name in changed if "factd.db" not in name} <= {"state/lock"}


@pytest.mark.parametrize("case", PATHS, ids=ids(PATHS))
def test_a_file_source_names_no_other_host(case: dict[str, Any]) -> None:
    """A path in the settings is the owner's; a host in it is somebody else's machine."""
    with pytest.raises(FactdError):
        to_path(f"file://host{case['text']}/x")


def test_an_export_never_takes_the_place_of_anything(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    before = tree(tmp_path)
    for name in ("file", "folder", "link", "dangling", "file/below", "folder/../file"):
        with pytest.raises(FactdError), placed(tmp_path / name) as partial:
            (partial / "x").write_text("theirs")
    assert tree(tmp_path) == before


def test_what_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(FactdError), placed(tmp_path / "new") as partial:
        (partial / "x").write_text("theirs")
        (tmp_path / "new").symlink_to(tmp_path)
    assert (tmp_path / "new").is_symlink()


def test_nothing_unpacks_an_archive() -> None:
    """No member's name can leave a folder where none is ever written by its name."""
    forbidden = {"tarfile", "extractall", "extract", "unpack_archive"}
    for path in (ROOT / "agent").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = (
                {alias.name for alias in node.names}
                if isinstance(node, ast.Import | ast.ImportFrom)
                else set()
            )
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = ast.unparse(node.func.value)
                names |= (
                    {node.func.attr} if owner in ("archive", "shutil") or "zip" in owner.lower() else set()
                )
            assert not names & forbidden, path


def test_without_the_guard_they_get_through(monkeypatch: pytest.MonkeyPatch, bare: World) -> None:
    import re

    monkeypatch.setattr(place, "_NAME", re.compile(r"(?s).*"))
    assert sum(bool(got_through(bare, case, as_served_name)) for case in PATHS) >= len(PATHS) - 1


def test_the_sources_of_the_settings_are_named_by_the_owner_alone() -> None:
    assert to_path("file:///a/b") == Path("/a/b") and SourceSpec("x", "/a/b").url == "/a/b"
