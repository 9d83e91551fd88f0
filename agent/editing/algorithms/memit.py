"""MEMIT (Meng et al. 2022, 2210.07229): all facts in one regularised least-squares solve per layer."""

from __future__ import annotations

import torch

from agent.editing.algorithms.base import Problem
from agent.editing.algorithms.layerwise import layerwise, system_of
from agent.editing.delta import LowRank
from agent.editing.solve import spread
from agent.lm.load import LM

Tensor = torch.Tensor


def memit(lm: LM, problem: Problem) -> dict[int, LowRank]:
    """dW = R Kᵀ (lambda C + mu K0 K0ᵀ + K Kᵀ)⁻¹ in every layer (eq. 14, with preserve keys K0)."""
    return layerwise(lm, problem, _solve)


def _solve(problem: Problem, layer: int, residuals: Tensor, keys: Tensor) -> LowRank:
    """The layer's matrices live only as long as its solve: of a large model those of one layer fit, of all they would not."""
    return spread(residuals, keys, problem.owner, system_of(problem, layer))
