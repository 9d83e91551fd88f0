"""`factd calibrate`, with a tiny model that knows the invented facts, and the commands that use what it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from agent.calibrate import Calibration
from agent.cli.calibrate import _show
from agent.config import load
from agent.editing.calibrated import Setting, calibrated, save_calibrated
from agent.lm.load import LM, load_lm
from agent.settings import Settings
from agent.swapped import Tried
from tests.cli.conftest import World, write_settings
from tests.models import COUNTRIES, FACTS
from tests.store.samples import tree

EDITING = "steps: 30, contexts: 0, kl: 1.0, samples: 40, sample_tokens: 12"
WORLD = "".join(
    f"- {{name: {name}, kind: country, facts: {{{', '.join(f'{r}: {o[i]}' for r, o in FACTS.items())}}}}}\n"
    for i, name in enumerate(COUNTRIES)
)


@pytest.fixture
def known(bare: World, taught_folder: Path) -> World:
    (bare.folder / "catalogue.yaml").write_text(WORLD)
    write_settings(bare.folder, model=str(taught_folder), more=f"editing: {{{EDITING}, clamp: 0.01}}\n")
    return bare


@pytest.fixture
def base(taught_folder: Path) -> LM:
    return load_lm(str(taught_folder), device="cpu")


def leave(world: World, lm: LM, **best: object) -> None:
    """A result in the state folder, as if it had been measured."""
    chosen = {"layers": [0, 1], "clamp": 4.0, "covariance": 0.02, "preserve": 0.0, **best}
    document = {"base_sha": lm.sha, "algorithm": "memit", "kept": True, "best": chosen}
    save_calibrated(world.state / "cache", lm, document)


def test_table_lines_to_paste_files_and_state(known: World, taught_folder: Path, base: LM) -> None:
    model = tree(taught_folder)
    known.state.mkdir()
    file = known.folder / "found.json"
    done = known.run("calibrate", taught_folder, "--facts", 4, "--json", file)
    assert (done.code, done.err) == (0, f"wrote {file}\n")
    document = json.loads(file.read_text())
    assert document["facts"] == [4, 4] and document["start"]["clamp"] == 0.01
    assert done.out.count("\n") > len(document["tried"]) > 5
    (kept,) = (known.state / "cache").iterdir()
    assert json.loads(kept.read_bytes()) == document
    found = calibrated(known.state / "cache", base)
    if document["kept"]:
        lines = done.out[done.out.index("editing:") : done.out.index("the settings say clamp")]
        assert yaml.safe_load(lines)["editing"] == document["best"]
        assert found is not None and list(found["layers"]) == document["best"]["layers"]
    else:
        assert found is None and "nothing better" in done.out
    assert tree(taught_folder) == model
    assert {p.name for p in known.folder.iterdir()} == {
        "factd.yaml", "relations.yaml", "catalogue.yaml", "state", "found.json",
    }  # fmt: skip


def result(start: Setting, best: Setting, before: float, after: float) -> Calibration:
    shares = {"efficacy": 0.5, "others": 1.0}
    rows = tuple(Tried(s, shares, v, 1.0) for s, v in ((start, before), (best, after)))
    counts = {"efficacy": 4, "others": 1}
    return Calibration("s", "memit", 0, (4, 3), 9, counts, start, best, rows, *rows)


def test_what_is_said_of_a_result(capsys: pytest.CaptureFixture[str]) -> None:
    start, best = Setting((0, 1), 1.5, 0.1, 1.0), Setting((0, 1), 0.9, 0.1, 1.0)

    def said(found: Calibration, settings: Settings) -> str:
        _show(found, "model", settings)
        return capsys.readouterr().out

    kept = said(result(start, best, 0.5, 0.6), Settings(given=frozenset({"clamp", "steps"})))
    assert "  clamp: 0.9" in kept and "say clamp themselves" in kept and "nothing better" not in kept
    assert "say " not in said(result(start, best, 0.5, 0.6), Settings())
    worse = said(result(start, best, 0.6, 0.5), Settings())
    assert "worse there: nothing better" in worse and "editing:" not in worse
    same = said(result(start, start, 0.6, 0.6), Settings())
    assert "nothing better" in same and "worse" not in same


def test_too_few_facts_are_one_line(known: World, taught_folder: Path) -> None:
    (known.folder / "catalogue.yaml").write_text(WORLD.splitlines()[0])
    few = known.run("calibrate", taught_folder)
    assert (few.code, few.out, len(few.err.splitlines())) == (1, "", 1)
    assert not known.state.exists()


@pytest.mark.parametrize(
    "arguments", [["--facts", 3], ["--json", "nowhere/x.json"], ["--json", "."], ["--seed", -1]]
)
def test_wrong_options_are_told_before_any_work(known: World, arguments: list[object]) -> None:
    wrong = known.run("calibrate", "no-model", *arguments)
    assert (wrong.code, wrong.out) == (2, "")
    assert len(wrong.err.splitlines()) == 1


def test_bench_uses_what_was_calibrated_where_a_state_is_named(
    known: World, taught_folder: Path, base: LM
) -> None:
    edits = known.folder / "edits.json"
    edits.write_text(
        json.dumps([{"prompt": "The capital of {} is", "subject": "Zorland", "target_new": "Sorna"}])
    )
    leave(known, base)

    def used(*more: object) -> dict[str, object]:
        chosen = known.run("bench", taught_folder, edits, "--json", "-", *more).json["settings"]
        return {key: chosen[key] for key in ("layers", "clamp", "covariance", "preserve")}

    found = {"layers": [0, 1], "clamp": 0.01, "covariance": 0.02, "preserve": 0.0}
    assert used() == found  # the settings say clamp
    assert used("--set", "covariance=0.5", "--set", "layers=[1]") == {
        **found,
        "covariance": 0.5,
        "layers": [1],
    }
    assert used("--algorithm", "rome")["covariance"] == 0.1
    assert {p.name.partition("-")[0] for p in (known.state / "cache").iterdir()} == {"calibrated"}


def test_doctor_tells_of_it(known: World, base: LM) -> None:
    with known.store():
        pass
    leave(known, base)
    assert "calibrated layers, covariance, preserve" in known.run("doctor").out
    assert load(known.settings, environ={}).given == {
        "clamp", "steps", "contexts", "kl", "samples", "sample_tokens",
    }  # fmt: skip
