"""MEMIT (Meng et al. 2022, 2210.07229): all facts in one regularised least-squares solve per layer."""

from __future__ import annotations

from functools import partial

import torch

from agent.editing.algorithms.base import Problem
from agent.editing.algorithms.layerwise import layerwise, preserved_keys
from agent.editing.delta import LowRank
from agent.editing.solve import spread
from agent.editing.system import System
from agent.lm.load import LM

Tensor = torch.Tensor


def memit(lm: LM, problem: Problem) -> dict[int, LowRank]:
    """dW = R Kᵀ (lambda C + mu K0 K0ᵀ + K Kᵀ)⁻¹ in every layer (eq. 14, with preserve keys K0)."""
    preserve = preserved_keys(lm, problem)
    solves = {layer: partial(_solve, problem, layer, preserve.get(layer)) for layer in problem.layers}
    return layerwise(lm, problem, solves)


def _solve(
    problem: Problem, layer: int, preserve: Tensor | None, residuals: Tensor, keys: Tensor, owner: Tensor
) -> LowRank:
    """The layer's matrices live only as long as its solve: of a large model those of one layer fit, of all they would not."""
    settings = problem.settings
    system = System(problem.factors.prior(layer, settings.covariance)).plus(preserve, settings.preserve)
    return spread(residuals, keys, owner, system)
