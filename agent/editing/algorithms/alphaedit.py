"""AlphaEdit (Fang et al. 2024, 2410.02355): MEMIT's solve inside the null space of what the layer stores.

Written from the paper. Its threshold on singular values (2e-2) and its ridge (10) belong to one model's scale; here both are
relative: the null space is what holds at most `settings.null_share` of the covariance's trace, and the ridge is
`settings.covariance` times the mean squared key in it.
"""

from __future__ import annotations

import torch

from agent.editing.algorithms.base import Problem
from agent.editing.algorithms.layerwise import layerwise
from agent.editing.delta import LowRank
from agent.editing.solve import spread_within
from agent.lm.load import LM

Tensor = torch.Tensor


def alphaedit(lm: LM, problem: Problem) -> dict[int, LowRank]:
    """dW = R Kᵀ P (P (K Kᵀ + mu K0 K0ᵀ) P + L2 I)⁻¹, P the projector onto the null space (eq. 8; K0 in the place of past keys).

    Raises EditError when the covariance leaves no null space.
    """
    return layerwise(lm, problem, _solve)


def _solve(problem: Problem, layer: int, residuals: Tensor, keys: Tensor) -> LowRank:
    settings = problem.settings
    return spread_within(
        residuals,
        keys,
        problem.owner,
        basis=problem.factors.null_space(layer, settings.null_share),
        ridge=settings.covariance,
        preserve_keys=problem.preserve_keys.get(layer),
        preserve=settings.preserve,
    )
