"""Every family's attention: what is added to its output arrives in the residual stream."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from agent.errors import ModelError
from agent.lm.arch import decoder_layers
from agent.lm.attention import attention_module
from agent.lm.guess import width_of
from agent.lm.hooks import capture, edit_output
from agent.lm.load import LM
from agent.lm.tokens import encode, pad_left
from tests.models import FAMILIES, snapshot, unchanged


@pytest.mark.parametrize("family", FAMILIES)
def test_a_push_on_the_attention_moves_the_layer_there_and_only_there(
    family: str, tiny: Callable[..., LM]
) -> None:
    lm = tiny(family)
    before = snapshot(lm)
    batch = pad_left(lm, encode(lm, ["The capital of Zorland is"]))
    module = attention_module(lm, 1)

    def change(output: torch.Tensor) -> torch.Tensor:
        assert output.shape == (*batch.input_ids.shape, width_of(lm.model))
        changed = output.clone()
        changed[:, 3] += torch.linspace(-1, 1, output.shape[-1])
        return changed

    seen = []
    with torch.no_grad(), capture(decoder_layers(lm.model, lm.arch)[1], "output") as outputs:
        lm.model(**batch.model_inputs, use_cache=False)
        with edit_output(module, change):
            lm.model(**batch.model_inputs, use_cache=False)
        seen = [output[0] for output in outputs]
    moved = (seen[1] - seen[0]).norm(dim=-1)
    assert float(moved[3]) > 0.1
    assert float(moved[:3].abs().max()) == 0 and float(moved[4:].abs().max()) == 0
    assert unchanged(lm, before)


def test_an_attention_nobody_described_is_named(
    tiny: Callable[..., LM], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = tiny("llama")
    monkeypatch.setattr(lm.model.config, "model_type", "gpt2")
    with pytest.raises(ModelError, match=r"no attention at model\.layers\[1\]\.attn .* such as memit"):
        attention_module(lm, 1)
    with pytest.raises(ModelError, match="layer 9 does not exist: the model has layers 0 to 3"):
        attention_module(lm, 9)
