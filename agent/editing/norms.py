"""How large an update is: the most that it can stretch an input, relative to the most that the weight itself does.

These are spectral norms. A Frobenius norm grows with the root of the number of facts, for each of them is a direction of its own, and says
nothing about any of them; the largest stretch stays about where one fact has it, until one of them is written far too loud.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from agent.editing.delta import Delta, LowRank
from agent.lm.load import LM

Tensor = torch.Tensor

# Forty steps are right to a hundredth where the two largest singular values lie within a hundredth of each other, and better elsewhere.
_STEPS = 40


def relative_norms(lm: LM, delta: Delta) -> dict[str, float]:
    """|dW| / |W| by parameter name, spectral norms. NaN where the update is not finite. The model must not hold the delta."""
    return {
        name: update_norm(update) / weight_norm(lm.model.get_parameter(name))
        for name, update in delta.updates.items()
    }


def update_norm(update: LowRank) -> float:
    """|left right.T|, without making it."""
    left, right = update.left, update.right
    return _largest(lambda x: left @ (right.T @ x), lambda y: right @ (left.T @ y), _start(right))


def weight_norm(weight: Tensor) -> float:
    """|W| of a matrix of any dtype, on its own device."""
    matrix = weight.detach().float()
    return _largest(lambda x: matrix @ x, lambda y: matrix.T @ y, _start(matrix.T))


def _start(rows: Tensor) -> Tensor:
    """A fixed vector of as many entries as there are rows, where these lie."""
    return torch.randn(len(rows), generator=torch.Generator().manual_seed(0)).to(rows)


def _largest(times: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor], vector: Tensor) -> float:
    """The largest singular value, by power iteration from `vector`."""
    size = 0.0
    for _ in range(_STEPS):
        vector = vector / vector.norm()
        out = times(vector)
        size, vector = float(out.norm()), back(out)
        if not size:
            break
    return size
