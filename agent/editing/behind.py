"""A norm between the MLP and the residual stream (Gemma 2 and 3, OLMo 2 and 3) rescales whatever an edit writes.

Residuals are counted in the stream; the down projection has to write what becomes of them behind the norm. With the norm's gain g and
the scale sigma that it divides its input s by, norm(s + r) - norm(s) is g r / sigma to first order, and both are read off the module itself.
"""

from __future__ import annotations

import torch
from torch import nn

from agent.lm.arch import as_out_in, decoder_layers, down_module
from agent.lm.load import LM

Tensor = torch.Tensor


def to_write(lm: LM, layer: int, residuals: Tensor, keys: Tensor) -> Tensor:
    """(facts, d_model): what the down projection should add, so that the stream behind `layer` gets `residuals` (facts, d_model) more.

    `keys` (facts, d_in): each fact's mean key. Without a norm these are the residuals.
    """
    if not lm.arch.norm:
        return residuals
    module = down_module(lm.model, lm.arch, layer)
    norm = decoder_layers(lm.model, lm.arch)[layer].get_submodule(lm.arch.norm)
    weight = as_out_in(module)
    with torch.no_grad():
        written = nn.functional.linear(keys.to(weight), weight, module.bias).float()  # type: ignore[arg-type]
        gain, scale = _gain_and_scale(norm, written)
    return (residuals.to(written) * scale / gain).to(residuals)


def _gain_and_scale(norm: nn.Module, s: Tensor) -> tuple[Tensor, Tensor]:
    """g (d,) and sigma (rows, 1) with norm(s) = offset + g (s - mean) / sigma."""
    dtype = next(norm.parameters()).dtype
    # Of mean 0 and mean square 1: what comes out of it is the gain.
    signs = torch.ones(1, s.shape[-1], device=s.device, dtype=dtype)
    signs[:, 1::2] = -1
    plus, minus, nothing = (norm(x).float() for x in (signs, -signs, torch.zeros_like(signs)))
    gain = (plus - minus) * signs.float() / 2
    z = (norm(s.to(dtype)).float() - nothing) / gain
    return gain[0], (s * z).sum(-1, keepdim=True) / z.square().sum(-1, keepdim=True)
