"""From the settings file to a loaded model."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from agent.catalogue import load_catalogue
from agent.config import load
from agent.editing.calibrated import save_calibrated
from agent.editing.compile import Material, compile_delta
from agent.editing.settings import EditSettings
from agent.errors import ModelError
from agent.lm.load import load_lm
from agent.settings import Settings
from agent.store.db import open_store
from agent.workshop import Workshop, editing_for, load_model, settled
from tests.editing.edits import ZORLAND, settings
from tests.models import make_tokenizer
from tests.store import samples


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """A checkpoint of a family that transformers knows and the table does not."""
    tokenizer = make_tokenizer()
    config = AutoConfig.for_model(
        "mpt", d_model=32, n_layers=4, n_heads=4, max_seq_len=128, vocab_size=len(tokenizer), eos_token_id=0
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path


def test_the_line_that_the_error_proposes_makes_the_model_editable(strange: Path, one_thread: None) -> None:
    file = strange / "factd.yaml"
    file.write_text("model:\n  path: ./model\n  device: cpu\n")
    with pytest.raises(ModelError, match="'mpt' is not known") as caught:
        load_model(load(file, environ={}))
    line = re.findall(r"`(arch: .*?)`", str(caught.value))[0]
    file.write_text(f"model:\n  path: ./model\n  device: cpu\n  {line}\n")
    lm = load_model(load(file, environ={}))
    assert (lm.arch.layers, lm.arch.down) == ("transformer.blocks", "ffn.down_proj")
    wanted = settings(steps=4, contexts=0, samples=10)
    delta = compile_delta(lm, [ZORLAND], wanted, Material()).delta
    assert all(torch.isfinite(u.dense()).all() and u.dense().norm() > 0 for u in delta.updates.values())


def test_a_wrong_line_is_an_error_that_proposes_the_right_one(strange: Path) -> None:
    file = strange / "factd.yaml"
    arch = "{family: mpt, layers: transformer.h, down: ffn.down_proj}"
    file.write_text(f"model:\n  path: ./model\n  device: cpu\n  arch: {arch}\n")
    with pytest.raises(ModelError, match=r"no module transformer\.h.*layers: transformer\.blocks"):
        load_model(load(file, environ={}))


def test_calibrated_settings_fill_what_nobody_gave(tmp_path: Path, taught_folder: Path) -> None:
    lm = load_lm(str(taught_folder), device="cpu")
    best = {"layers": [0, 1], "clamp": 0.9, "covariance": 0.3, "preserve": 0.05}
    save_calibrated(tmp_path, lm, {"base_sha": lm.sha, "algorithm": "memit", "kept": True, "best": best})
    nothing = Settings()
    assert editing_for(nothing, lm, None).layers == (0,)
    found = editing_for(nothing, lm, tmp_path)
    assert found == EditSettings(layers=(0, 1), clamp=0.9, covariance=0.3, preserve=0.05)
    assert found.sha != editing_for(nothing, lm, None).sha
    rome = replace(nothing, editing=EditSettings(algorithm="rome"))
    assert editing_for(rome, lm, tmp_path) == EditSettings(algorithm="rome", layers=(0,))
    own = replace(nothing, editing=EditSettings(clamp=2.0), given=frozenset({"clamp", "layers"}))
    assert editing_for(own, lm, tmp_path) == EditSettings(
        layers=(0,), clamp=2.0, covariance=0.3, preserve=0.05
    )
    (tmp_path / f"calibrated-memit-{lm.sha[:24]}.json").write_text("{")
    assert editing_for(nothing, lm, tmp_path) == editing_for(nothing, lm, None)


def test_a_run_keeps_its_settings_whatever_is_calibrated_meanwhile(
    tmp_path: Path, taught_folder: Path
) -> None:
    lm = load_lm(str(taught_folder), device="cpu")
    with open_store(tmp_path, samples.NOW, create_missing=True) as store:
        shop = Workshop(Settings(), store, {}, load_catalogue([]))
        before = settled(shop, lm)
        assert before.settings.editing == editing_for(shop.settings, lm, shop.cache)
        best = {"layers": [1], "clamp": 0.9, "covariance": 0.3, "preserve": 0.05}
        document = {"base_sha": lm.sha, "algorithm": "memit", "kept": True, "best": best}
        save_calibrated(shop.cache, lm, document)
        assert editing_for(before.settings, lm, shop.cache) == before.settings.editing
        assert settled(shop, lm).settings.editing.layers == (1,)


def test_the_reader_is_made_once_for_all_rounds(tmp_path: Path) -> None:
    """A second of work each time: a daemon must not pay for it in every round."""
    with open_store(tmp_path / "state", samples.NOW, create_missing=True) as store:
        shop = Workshop(Settings(), store, {}, load_catalogue([]))
        reader = shop.reader()
        assert replace(shop, clock=lambda: samples.NOW).reader() is reader
        other = replace(shop, catalogue=load_catalogue([]))
        assert other.reader() is not reader
        assert other.reader() is other.reader()
