"""Through the norm that stands behind some families' MLPs the stream gets what was asked for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from agent.editing.behind import to_write
from agent.lm.arch import as_out_in, decoder_layers, down_module
from agent.lm.load import LM


@pytest.mark.parametrize("family", ["gemma2", "gemma3", "gemma3_text", "olmo2", "olmo3"])
def test_a_small_residual_arrives_behind_the_norm(family: str, tiny: Callable[..., LM]) -> None:
    """All of it but what lies along the norm's own input, which no norm lets through."""
    lm = tiny(family)
    generator = torch.Generator().manual_seed(5)
    weight = as_out_in(down_module(lm.model, lm.arch, 1))
    norm = decoder_layers(lm.model, lm.arch)[1].get_submodule(lm.arch.norm)
    keys = torch.randn(3, weight.shape[1], generator=generator)
    written = keys @ weight.T
    with torch.no_grad():
        before = norm(written)
        residuals = 0.01 * torch.randn(before.shape, generator=generator)
        # The directions that the norm's output can move in, to first order: those of unchanged length before the gain.
        gain = norm(written) / torch.nn.functional.normalize(written, dim=-1) / written.shape[-1] ** 0.5
        along = torch.nn.functional.normalize(before / gain, dim=-1)
        inner = residuals / gain
        residuals = (inner - (inner * along).sum(-1, keepdim=True) * along) * gain
        moved = norm(written + to_write(lm, 1, residuals, keys)) - before
    assert torch.allclose(moved, residuals, atol=0.05 * float(residuals.norm(dim=-1).max()))


def test_without_a_norm_a_residual_is_written_as_it_is(tiny: Callable[..., LM]) -> None:
    residuals = torch.randn(2, 32)
    assert torch.equal(to_write(tiny("llama"), 1, residuals, torch.randn(2, 64)), residuals)
