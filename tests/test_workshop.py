"""From the settings file to a loaded model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from agent.config import load
from agent.editing.compile import Material, compile_delta
from agent.errors import ModelError
from agent.workshop import load_model
from tests.editing.edits import ZORLAND, settings
from tests.models import make_tokenizer


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
