"""Layers that nobody chose: published ones, else those that were located, else the usual span."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from agent.editing.layers import default_layers
from agent.editing.located import save_located
from agent.lm.arch import arch_of
from agent.lm.load import LM
from tests.editing.test_located import found


@pytest.mark.parametrize(
    ("layers", "wanted"), [(1, (0,)), (2, (0,)), (4, (0,)), (8, (1,)), (12, (1, 2)), (32, (4, 5, 6, 7, 8))]
)
def test_the_usual_span_is_early_and_exists(
    tiny: Callable[..., LM], layers: int, wanted: tuple[int, ...]
) -> None:
    assert default_layers(tiny("llama", num_hidden_layers=layers)) == wanted


def test_what_was_located_goes_before_the_usual_span(tiny: Callable[..., LM], tmp_path: Path) -> None:
    lm = tiny("llama")
    save_located(tmp_path, lm, found(lm))
    assert default_layers(lm, cache=tmp_path) == found(lm).layers != default_layers(lm)


def test_what_was_published_goes_before_both(tmp_path: Path) -> None:
    with torch.device("meta"):
        config = AutoConfig.for_model("gpt2", n_embd=1600, n_layer=48, n_head=25)
        model = AutoModelForCausalLM.from_config(config)
    xl = LM(model, None, arch_of(model), sha="x" * 64, path="")
    row = (None, 0.7, 0.0, 0.1)
    save_located(tmp_path, xl, found(xl, states=(row,) * 48, mlp=(row,) * 48, flips=(0.9,) * 48))
    assert default_layers(xl, "memit", tmp_path) == (13, 14, 15, 16, 17)
    assert default_layers(xl, "rome", tmp_path) == (17,)
