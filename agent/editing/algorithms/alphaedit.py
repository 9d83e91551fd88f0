"""AlphaEdit (Fang et al. 2024, 2410.02355): MEMIT's solve inside the null space of what the layer stores.

Written from the paper. Its threshold on singular values (2e-2) and its ridge (10) belong to one model's scale; here both are
relative: the null space is what holds at most `settings.null_share` of the covariance's trace, and the ridge is
`settings.covariance` times the mean squared key in it.
"""

from __future__ import annotations

from functools import partial

from agent.editing.algorithms.base import Problem
from agent.editing.algorithms.layerwise import layerwise, preserved_keys
from agent.editing.delta import LowRank
from agent.editing.solve import null_space, spread_within
from agent.lm.load import LM


def alphaedit(lm: LM, problem: Problem) -> dict[int, LowRank]:
    """dW = R Kᵀ P (P (K Kᵀ + mu K0 K0ᵀ) P + L2 I)⁻¹, P the projector onto the null space (eq. 8; K0 in the place of past keys).

    Raises EditError when the covariance leaves no null space.
    """
    settings, preserve = problem.settings, preserved_keys(lm, problem)
    solves = {
        layer: partial(
            spread_within,
            basis=null_space(problem.covariance[layer], settings.null_share),
            ridge=settings.covariance,
            preserve_keys=preserve.get(layer),
            preserve=settings.preserve,
        )
        for layer in problem.layers
    }
    return layerwise(lm, problem, solves)
