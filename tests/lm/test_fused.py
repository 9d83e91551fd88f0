"""Activations in one step instead of eight."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from agent.lm.fused import fuse
from agent.lm.load import LM, load_lm


@pytest.mark.parametrize(("family", "layers"), [("gpt2", 4), ("gptj", 4), ("llama", 0)])
def test_a_fused_model_says_the_same(family: str, layers: int, tiny: Callable[..., LM]) -> None:
    lm = tiny(family)
    ids = torch.arange(3, 15)[None]
    with torch.no_grad():
        before = lm.model(ids).logits
        assert fuse(lm.model) == layers
        after = lm.model(ids).logits
    assert torch.allclose(before, after, atol=1e-5)
    assert fuse(lm.model) == 0


def test_a_loaded_model_is_fused_and_its_files_say_nothing_of_it(
    tiny: Callable[..., LM], tmp_path: Path
) -> None:
    plain = tiny("gpt2")
    plain.model.save_pretrained(tmp_path)
    plain.tokenizer.save_pretrained(tmp_path)
    lm = load_lm(str(tmp_path), dtype="float32", device="cpu")
    assert sum(isinstance(module, nn.GELU) for module in lm.model.modules()) == lm.n_layers
    assert lm.model.config.activation_function == "gelu_new"
    assert lm.model.state_dict().keys() == plain.model.state_dict().keys()
