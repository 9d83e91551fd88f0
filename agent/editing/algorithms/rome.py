"""ROME (Meng et al. 2022, 2202.05262) with the key of R-ROME (2403.07175): one fact, one layer, one rank,
exactly.

Several facts are written one after the other, each on the model that holds the ones before: ROME has no joint
form.
"""

from __future__ import annotations

from agent.editing.algorithms.base import Problem
from agent.editing.algorithms.layerwise import system_of
from agent.editing.behind import to_write
from agent.editing.delta import LowRank, add_, restored, stacked
from agent.editing.keys import keys_and_states
from agent.editing.solve import rank_one
from agent.lm.arch import down_module, down_name
from agent.lm.load import LM


def rome(lm: LM, problem: Problem) -> dict[int, LowRank]:
    """Rank-one updates of the last of `layers`, stacked: rank = number of facts."""
    settings, layer = problem.settings, problem.layers[-1]
    before = keys_and_states(lm, problem.rows, [layer], batch_rows=settings.batch_rows)
    wanted = before.states + problem.values.to(before.states.device)[problem.owner.to(before.states.device)]
    inverse = system_of(problem, layer).solver()
    module = down_module(lm.model, lm.arch, layer)
    updates = []
    with restored(lm, [down_name(lm.arch, layer)]):
        for fact in range(len(problem.requests)):
            mine = (problem.owner == fact).nonzero()[:, 0]
            now = keys_and_states(
                lm, [problem.rows[i] for i in mine.tolist()], [layer], batch_rows=settings.batch_rows
            )
            missing = (wanted[mine.to(wanted.device)] - now.states).mean(0)
            key = now.keys[layer].mean(0)
            update = rank_one(to_write(lm, layer, missing[None], key[None])[0], key, inverse)
            add_(module, update.left, update.right)
            updates.append(update)
    return {layer: stacked(updates)}
