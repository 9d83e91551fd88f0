"""`factd export`, with a tiny model and a revision of two facts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.editing.delta import Delta
from agent.store.db import open_store
from tests.cli.conftest import World, write_settings
from tests.export.conftest import published
from tests.store import samples

_LENIENT = "verify: {paraphrase: 0.0, same_subject: 0.0, others: 0.0, drift: 100.0, entropy: 0.0, norm: 100.0, ppl_ratio: 100.0}\n"


@pytest.fixture
def revised(bare: World, taught_folders: dict[str, Path], capital_deltas: dict[str, Delta]) -> World:
    write_settings(bare.folder, model=str(taught_folders["llama"]), more=_LENIENT)
    with open_store(bare.state, samples.NOW, create_missing=True) as store:
        published(store, capital_deltas["llama"])
    return bare


def test_each_form(revised: World, tmp_path: Path) -> None:
    made = revised.run("export", "hf", tmp_path / "hf", "--dtype", "bfloat16")
    assert made.code == 0, made.err
    assert "revision 1 as a checkpoint" in made.out and "verified" in made.out
    assert [line.split() for line in made.out.splitlines() if line.startswith("efficacy")] == [
        ["efficacy", "0.0%", "100.0%", "100.0%"]
    ]
    assert "not in it, since the weights refused them: 1 fact;" in made.err
    adapter = revised.run("export", "peft", tmp_path / "peft", "--rank-for-vllm", "--json")
    assert (adapter.code, adapter.json["details"]["rank"], adapter.json["verified"]) == (0, 8, True)
    assert adapter.json["version"] == 1 and adapter.json["form"] == "peft"
    text = revised.run("export", "overlay", tmp_path / "facts", "--beside", "--revision", "1")
    assert text.code == 0 and "1 fact" in text.out
    assert len((tmp_path / "facts" / "facts.jsonl").read_text().splitlines()) == 1


def test_a_refused_artefact_is_exit_4(revised: World, tmp_path: Path) -> None:
    made = revised.run("export", "peft", tmp_path / "peft", "--max-rank", 1)
    assert made.code == 4
    assert "of the update left out (rank 2)" in made.out and "verification: refused" in made.out
    assert "is kept" in made.err
    assert json.loads((tmp_path / "peft" / "factd.json").read_text())["verified"] is False
    unasked = revised.run("export", "peft", tmp_path / "other", "--max-rank", 1, "--no-verify")
    assert unasked.code == 0
    assert json.loads((tmp_path / "other" / "factd.json").read_text())["verified"] is None


def test_what_is_refused(revised: World, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    for form in ("hf", "peft", "overlay"):
        refused = revised.run("export", form, there)
        assert refused.code == 1 and "exists" in refused.err
    refused = revised.run("export", "peft", tmp_path / "new", "--revision", 0)
    assert refused.code == 2 and "the base has no delta" in refused.err
    refused = revised.run("export", "hf", tmp_path / "new", "--revision", 9)
    assert refused.code == 1 and "revision 9" in refused.err
    refused = revised.run("export", "gguf", tmp_path / "new", "--llama-cpp", tmp_path)
    assert refused.code == 1 and "convert_hf_to_gguf.py" in refused.err
    assert not (tmp_path / "new").exists()


def test_without_a_revision_the_base_must_be_named(bare: World, tmp_path: Path) -> None:
    refused = bare.run("export", "overlay", tmp_path / "new")
    assert refused.code == 2 and "--revision" in refused.err
    assert bare.run("export", "overlay", tmp_path / "new", "--revision", "0").code == 0
