"""MEMIT (Meng et al. 2022, 2210.07229): spread each value over several layers, all facts in one solve per
layer.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from agent.editing.algorithms.base import Problem
from agent.editing.delta import LowRank, add_, restored
from agent.editing.keys import KeysAndStates, keys_and_states
from agent.editing.solve import regulariser, spread
from agent.lm.arch import down_module, down_name
from agent.lm.load import LM

Tensor = torch.Tensor
_LEAST_SHARE, _MOST_GAIN = 0.5, 2.5


def memit(lm: LM, problem: Problem) -> dict[int, LowRank]:
    """Solve, measure how far each fact's states really moved towards its value, and solve again for what was lost.

    The regulariser shrinks every update, one fact's to 0.9 of its value and another's to 0.7, and those are the edits that fail
    although their value is right. So a fact's value is scaled by what its share was short of, `settings.rounds` times.
    """
    settings, layers = problem.settings, problem.layers
    before = keys_and_states(lm, problem.rows, layers, batch_rows=settings.batch_rows)
    systems = _systems(lm, problem)
    gain = torch.ones(len(problem.requests))
    updates: dict[int, LowRank] = {}
    for _ in range(settings.rounds):
        with restored(lm, [down_name(lm.arch, layer) for layer in layers]):
            updates = _one_pass(lm, problem, before, systems, gain)
            reached = keys_and_states(lm, problem.rows, layers[-1:], batch_rows=settings.batch_rows).states
        share = _share(reached - before.states, problem)
        gain = (gain / share.clamp(min=_LEAST_SHARE)).clamp(max=_MOST_GAIN)
    return updates


def _one_pass(
    lm: LM, problem: Problem, before: KeysAndStates, systems: Mapping[int, Tensor], gain: Tensor
) -> dict[int, LowRank]:
    """Layers upward: measure what is still missing at the last layer, write an equal share of it into this one.

    Keys and states are measured again with the layers below already changed (Algorithm 1 of the paper). The updates are left
    in the model.
    """
    layers = problem.layers
    device = before.states.device
    wanted = before.states + (gain[:, None] * problem.values)[problem.owner].to(device)
    updates: dict[int, LowRank] = {}
    for index, layer in enumerate(layers):
        now = before
        if index:
            now = keys_and_states(lm, problem.rows, layers[index:], batch_rows=problem.settings.batch_rows)
        missing = (wanted - now.states) / (len(layers) - index)
        update = spread(_mean_by_fact(missing, problem), now.keys[layer], problem.owner, systems[layer])
        add_(down_module(lm.model, lm.arch, layer), update.left, update.right)
        updates[layer] = update
    return updates


def _systems(lm: LM, problem: Problem) -> dict[int, Tensor]:
    """The part of each layer's system that the facts do not enter."""
    settings = problem.settings
    preserve: Mapping[int, Tensor] = {}
    if problem.preserve and settings.preserve > 0:
        preserve = keys_and_states(lm, problem.preserve, problem.layers, batch_rows=settings.batch_rows).keys
    return {
        layer: regulariser(
            problem.covariance[layer], settings.covariance, preserve.get(layer), settings.preserve
        )
        for layer in problem.layers
    }


def _share(moved: Tensor, problem: Problem) -> Tensor:
    """(facts,): how far, in units of its value, each fact's rows moved along it on average."""
    values = problem.values[problem.owner]
    along = (moved.cpu() * values).sum(-1) / values.square().sum(-1).clamp(min=1e-12)
    return _mean_by_fact(along[:, None], problem)[:, 0]


def _mean_by_fact(rows: Tensor, problem: Problem) -> Tensor:
    """(rows, d) -> (facts, d): a fact's prompts and contexts agree on one residual, so its update has rank
    one.
    """
    facts = len(problem.requests)
    rows = rows.cpu()
    totals = torch.zeros(facts, rows.shape[1]).index_add_(0, problem.owner, rows)
    return totals / torch.bincount(problem.owner, minlength=facts).clamp(min=1)[:, None]
