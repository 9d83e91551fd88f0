"""MEMIT (Meng et al. 2022, 2210.07229): all facts in one regularised least-squares solve per layer."""

from __future__ import annotations

from functools import partial

from agent.editing.algorithms.base import Problem
from agent.editing.algorithms.layerwise import layerwise, preserved_keys
from agent.editing.delta import LowRank
from agent.editing.solve import regulariser, spread
from agent.lm.load import LM


def memit(lm: LM, problem: Problem) -> dict[int, LowRank]:
    """dW = R Kᵀ (lambda C + mu K0 K0ᵀ + K Kᵀ)⁻¹ in every layer (eq. 14, with preserve keys K0)."""
    settings, preserve = problem.settings, preserved_keys(lm, problem)
    systems = {
        layer: regulariser(
            problem.covariance[layer], settings.covariance, preserve.get(layer), settings.preserve
        )
        for layer in problem.layers
    }
    return layerwise(
        lm, problem, {layer: partial(spread, system=system) for layer, system in systems.items()}
    )
