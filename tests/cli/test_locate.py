"""`factd locate`, with a tiny model that knows twelve facts of the invented catalogue."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import yaml

from agent.cli.heatmap import png, shaded, tables
from agent.editing.located import Located
from tests.cli.conftest import World, write_settings
from tests.models import COUNTRIES, FACTS
from tests.store.samples import tree

ROW = (None, 0.7, -0.001, 0.1)
FOUND = Located("k", "s", 9, 20, 0.9, 0.6, 1, (ROW,) * 4, (ROW,) * 4, (0.9, 0.9, 0.9, 0.0))


@pytest.fixture
def known(bare: World, taught_folder: Path) -> World:
    write_settings(bare.folder, model="no-model", more="editing: {steps: 10, clamp: 4.0}\n")
    return bare


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def terminal(encoding: str = "utf-8") -> Terminal:
    return Terminal(io.BytesIO(), encoding=encoding)


def test_tables_recommendation_files_and_cache(known: World, taught_folder: Path) -> None:
    model = tree(taught_folder)
    first = known.run("locate", taught_folder)
    assert first.code == 0 and first.err == ""
    assert "12 facts" in first.out and "put back" in first.out and "█" not in first.out
    assert not known.state.exists()
    pasted = yaml.safe_load(first.out[first.out.index("editing:") :])
    known.state.mkdir()
    drawn, written = known.folder / "map.png", known.folder / "map.json"
    again = known.run("locate", taught_folder, "--png", drawn, "--json", written)
    assert (again.code, again.out) == (0, first.out)
    assert again.err.splitlines() == [f"wrote {written}", f"wrote {drawn}"]
    document = json.loads(written.read_text())
    assert document["layers"] == pasted["editing"]["layers"] != []
    assert (len(document["states"]), len(document["flips"]), document["facts"]) == (4, 4, 12)
    assert drawn.read_bytes().startswith(b"\x89PNG\r\n") and drawn.stat().st_size > 10_000
    (kept,) = (known.state / "cache").iterdir()
    assert json.loads(kept.read_bytes()) == document
    before = kept.stat().st_mtime_ns
    assert known.run("locate", taught_folder, "--json", "-").json == document
    assert kept.stat().st_mtime_ns >= before
    assert tree(taught_folder) == model
    assert {p.name for p in known.folder.iterdir()} == {
        "factd.yaml", "relations.yaml", "catalogue.yaml", "state", "map.png", "map.json",
    }  # fmt: skip


def test_facts_of_an_edit_file(known: World, taught_folder: Path) -> None:
    edits = [
        {"prompt": f"The {relation} of {{}} is", "subject": subject, "target_new": names[i - 1], "ground_truth": names[i]}
        for i, subject in enumerate(COUNTRIES)
        for relation, names in FACTS.items()
    ]  # fmt: skip
    file = known.folder / "edits.json"
    file.write_text(json.dumps(edits))
    done = known.run("locate", taught_folder, "--edits", file, "--facts", 15, "--json", "-")
    assert done.code == 0 and done.json["facts"] == 15
    file.write_text(json.dumps(edits[:3]))
    few = known.run("locate", taught_folder, "--edits", file)
    assert (few.code, few.out) == (1, "")
    assert "3 of 3" in few.err and "--edits" in few.err and len(few.err.splitlines()) == 1


def test_what_the_settings_say_is_mentioned(known: World, taught_folder: Path) -> None:
    write_settings(known.folder, model="x", more="editing: {steps: 10, clamp: 4.0, layers: [3]}\n")
    assert "the settings say [3]" in known.run("locate", taught_folder).out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--facts", 7],
        ["--png", "nowhere/x.png"],
        ["--json", "nowhere/x.json"],
        ["--png", "."],
        ["--seed", -1],
    ],
)
def test_wrong_options_are_told_before_any_work(known: World, arguments: list[object]) -> None:
    wrong = known.run("locate", "no-model", *arguments)
    assert (wrong.code, wrong.out) == (2, "")
    assert len(wrong.err.splitlines()) == 1


def test_without_matplotlib_the_extra_is_named(known: World) -> None:
    """In a process whose Python finds none."""
    (known.folder / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'matplotlib' else find(name, *a)\n"
    )
    missing = known.spawn("locate", "no-model", "--png", known.folder / "x.png", PYTHONPATH=str(known.folder))
    assert missing.code == 2 and "factd[plots]" in missing.err


def test_shades_on_a_terminal_that_has_them_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert shaded(terminal())
    assert not shaded(io.StringIO())
    assert not shaded(terminal("ascii"))
    monkeypatch.setenv("NO_COLOR", "1")
    assert not shaded(terminal())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not shaded(terminal())


def test_a_cell_is_its_number_and_its_shade() -> None:
    plain, drawn = tables(FOUND, shades=False), tables(FOUND, shades=True)
    assert len(plain) == len(drawn) == 13
    assert plain[2].split() == ["0", "-", "0.70", "0.00", "0.10", "0.90"]
    assert "▓▓▓ 0.70" in drawn[2] and "███ 0.90" in drawn[2]
    assert all(line.isascii() for line in plain)


@pytest.mark.parametrize(("n_layers", "window"), [(1, 1), (4, 1), (40, 8)])
def test_the_picture_is_drawn_at_every_depth(n_layers: int, window: int) -> None:
    rows = (ROW,) * n_layers
    flips = (0.9,) * (n_layers - 1) + (0.0,)
    assert png(Located("k", "s", 9, 20, 0.9, 0.6, window, rows, rows, flips)).startswith(b"\x89PNG")
