"""MEMIT (Meng et al. 2022, 2210.07229): spread each value over several layers, all facts in one solve per
layer.
"""

from __future__ import annotations

import torch

from agent.editing.algorithms.base import Problem
from agent.editing.delta import LowRank, add_, restored
from agent.editing.keys import keys_and_states
from agent.editing.solve import regulariser, spread
from agent.lm.arch import down_module, down_name
from agent.lm.load import LM

Tensor = torch.Tensor


def memit(lm: LM, problem: Problem) -> dict[int, LowRank]:
    """Layers upward: measure what is still missing at the last layer, write an equal share of it into this
    one.

    Keys and states are measured again with the layers below already changed (Algorithm 1 of the paper).
    """
    settings, layers = problem.settings, problem.layers
    before = keys_and_states(lm, problem.rows, layers, batch_rows=settings.batch_rows)
    wanted = before.states + problem.values.to(before.states.device)[problem.owner.to(before.states.device)]
    preserve = None
    if problem.preserve and settings.preserve > 0:
        preserve = keys_and_states(lm, problem.preserve, layers, batch_rows=settings.batch_rows).keys
    updates: dict[int, LowRank] = {}
    with restored(lm, [down_name(lm.arch, layer) for layer in layers]):
        for index, layer in enumerate(layers):
            now = (
                keys_and_states(lm, problem.rows, layers[index:], batch_rows=settings.batch_rows)
                if index
                else before
            )
            missing = (wanted - now.states) / (len(layers) - index)
            system = regulariser(
                problem.covariance[layer],
                settings.covariance,
                preserve[layer] if preserve else None,
                settings.preserve,
            )
            update = spread(_mean_by_fact(missing, problem), now.keys[layer], problem.owner, system)
            add_(down_module(lm.model, lm.arch, layer), update.left, update.right)
            updates[layer] = update
    return updates


def _mean_by_fact(rows: Tensor, problem: Problem) -> Tensor:
    """(rows, d) -> (facts, d): a fact's prompts and contexts agree on one residual, so its update has rank
    one.
    """
    facts = len(problem.requests)
    rows = rows.cpu()
    totals = torch.zeros(facts, rows.shape[1]).index_add_(0, problem.owner, rows)
    return totals / torch.bincount(problem.owner, minlength=facts).clamp(min=1)[:, None]
