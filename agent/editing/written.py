"""Other weights for a while, for optimisations that go through them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch

from agent.lm.arch import down_module
from agent.lm.hooks import replaced_forward
from agent.lm.load import LM

Tensor = torch.Tensor


@contextmanager
def written(lm: LM, weights: Mapping[int, Tensor]) -> Iterator[None]:
    """The down projections with other weights (d_out, d_in) float32, differentiable in them."""

    def forward(layer: int) -> Callable[[Tensor], Tensor]:
        bias = down_module(lm.model, lm.arch, layer).bias

        def project(x: Tensor) -> Tensor:
            offset = None if bias is None else bias.float()
            return torch.nn.functional.linear(x.float(), weights[layer], offset).to(x.dtype)  # type: ignore[arg-type]

        return project

    modules = [down_module(lm.model, lm.arch, layer) for layer in weights]
    with replaced_forward(modules, [forward(layer) for layer in weights]):
        yield
