"""`factd stats`: prepared ahead, and found by the first edit."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest

from agent.store.lock import worker_lock
from tests.cli.conftest import World, write_settings
from tests.models import sentences
from tests.store.samples import tree

_SETTINGS = """
editing: {layers: [0, 1], contexts: 0, steps: 4, sample_tokens: 12, statistics_tokens: 300}
verify: {efficacy: 0.0, paraphrase: 0.0, same_subject: 0.0, others: 0.0, ppl_ratio: 1000.0, every_fact: false,
         drift: 1000.0, entropy: 0.0, norm: 1000.0}
policy: {cool_off_h: 0, max_age_days: null, allow_unknown_subjects: true}
"""


@pytest.fixture
def ready(bare: World, taught_folder: Path) -> World:
    write_settings(bare.folder, model=str(taught_folder), more=_SETTINGS)
    return bare


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.safetensors"))


def test_it_measures_and_says_what(ready: World, taught_folder: Path, tmp_path: Path) -> None:
    model = tree(taught_folder)
    told = ready.run("stats", taught_folder, "--out", tmp_path / "there" / "stats")
    assert told.code == 0, told.err
    first, heading, *rows, file = told.out.splitlines()
    assert first.startswith("300 tokens in ") and first.endswith(" a second")
    assert heading.split() == ["layer", "dimensions", "effective", "rank"]
    assert [row.split()[:2] for row in rows] == [["0", "144"], ["1", "144"]]
    assert all(0 < float(row.split()[2]) < 144 for row in rows)
    assert [Path(file).name] == kept(tmp_path / "there" / "stats")
    assert "2.1 tokens for each of 144 dimensions" in told.err
    again = ready.run("stats", taught_folder, "--out", tmp_path / "there" / "stats")
    assert again.out.splitlines()[0] == "300 tokens, measured before"
    assert again.out.splitlines()[1:] == told.out.splitlines()[1:]
    assert tree(taught_folder) == model
    assert not ready.state.exists()


def test_options_go_before_the_settings(ready: World, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("\n".join(sentences()))
    told = ready.run("stats", "--layers", "0,2-3", "--tokens", 77, "--corpus", tmp_path / "texts", "--json")
    assert told.code == 0, told.err
    assert told.json["tokens"] == 77
    assert [row["layer"] for row in told.json["layers"]] == [0, 2, 3]
    assert Path(told.json["file"]).parent == ready.state / "cache"
    assert told.json["key"] in told.json["file"]


def test_the_corpus_of_the_settings_is_beside_them(ready: World, taught_folder: Path) -> None:
    (ready.folder / "texts").mkdir()
    (ready.folder / "texts" / "a.txt").write_bytes(b"\xff\xfe")
    with_corpus = _SETTINGS.replace("layers: [0, 1]", "layers: [0, 1], corpus: texts")
    write_settings(ready.folder, model=str(taught_folder), more=with_corpus)
    told = ready.run("stats")
    assert (told.code, told.out) == (1, "")
    assert f"{ready.folder / 'texts' / 'a.txt'}: not UTF-8 text: byte 0xff" in told.err
    assert len(told.err.splitlines()) == 1
    (ready.folder / "texts" / "a.txt").unlink()
    assert "no *.txt, *.md, *.jsonl there" in ready.run("stats").err


def test_files_of_memit_are_looked_at(ready: World, taught_folder: Path) -> None:
    for layer in (0, 1):
        path = ready.folder / f"model.layers.{layer}.mlp.down_proj_float32_mom2_500.npz"
        numpy.savez(path, **{"mom2.count": 900, "mom2.mom2": 900 * numpy.eye(144, dtype=numpy.float32)})  # type: ignore[arg-type]
    with_files = _SETTINGS.replace("layers: [0, 1]", "layers: [0, 1], statistics: '*_500.npz'")
    write_settings(ready.folder, model=str(taught_folder), more=with_files)
    told = ready.run("stats")
    assert told.code == 0, told.err
    assert told.out.splitlines()[0] == "900 tokens, measured before"
    assert "do not say on which weights" in told.err
    missing = ready.run("stats", "--layers", "2")
    assert (missing.code, missing.out) == (1, "")
    assert "no file for layer 2" in missing.err


def test_the_first_edit_finds_them(ready: World) -> None:
    with ready.store():
        pass
    file = Path(ready.run("stats", "--json").json["file"])
    measured = (file.stat().st_ino, file.stat().st_mtime_ns)
    added = ready.run(
        "queue", "add", "--subject", "Zorland", "--relation", "capital", "--object", "Sorna", "--json"
    )
    assert ready.run("queue", "approve", added.json["queued"][0]["id"]).code == 0
    applied = ready.run("apply")
    assert applied.code == 0, applied.err
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == measured
    assert [name for name in kept(ready.state / "cache") if name.startswith("statistics")] == [file.name]


def test_the_state_is_for_one_worker_at_a_time(ready: World) -> None:
    ready.state.mkdir()
    with worker_lock(ready.state):
        assert ready.run("stats").code == 6


def test_a_layer_or_model_that_is_not_there(ready: World, tmp_path: Path) -> None:
    for arguments, said in (
        (["--layers", "9"], "layer 9 does not exist"),
        ([tmp_path / "none"], "no folder here"),
    ):
        told = ready.run("stats", *arguments)
        assert (told.code, told.out) == (1, "")
        assert said in told.err
