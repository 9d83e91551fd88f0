"""EMMET (Gupta et al. 2024, 2403.14236): ROME's equality for a batch of facts at one layer, in closed form."""

from __future__ import annotations

from agent.editing.algorithms.base import Problem
from agent.editing.algorithms.layerwise import mean_by_fact, system_of
from agent.editing.behind import to_write
from agent.editing.delta import LowRank
from agent.editing.keys import keys_and_states
from agent.editing.solve import equality
from agent.lm.load import LM


def emmet(lm: LM, problem: Problem) -> dict[int, LowRank]:
    """dW = R (Kᵀ S⁻¹ K + ridge)⁻¹ Kᵀ S⁻¹ at the last of `layers`: of all updates that give every fact's mean key its residual, the
    one that disturbs S = lambda C + mu K0 K0ᵀ least (eq. 11). One fact: ROME.
    """
    settings, layer = problem.settings, problem.layers[-1]
    keys = keys_and_states(lm, problem.rows, [layer], batch_rows=settings.batch_rows).keys[layer]
    key = mean_by_fact(keys, problem)
    residuals = to_write(lm, layer, problem.values, key)
    return {layer: equality(residuals, key, system_of(problem, layer))}
