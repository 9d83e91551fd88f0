"""What MEMIT and AlphaEdit share: a value is spread over several layers, all facts in one solve per layer, and what a solve fell
short of is asked for again.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from agent.editing.algorithms.base import Problem
from agent.editing.behind import to_write
from agent.editing.delta import LowRank, add_, restored
from agent.editing.keys import KeyReader, KeysAndStates
from agent.editing.solve import share_of
from agent.editing.system import System
from agent.lm.arch import down_module, down_name
from agent.lm.load import LM

Tensor = torch.Tensor
# One layer's linear solve: problem, layer, residuals (facts, d_out), keys (rows, d_in) -> update.
Solve = Callable[[Problem, int, Tensor, Tensor], LowRank]
_LEAST_SHARE, _MOST_GAIN = 0.5, 2.5


def layerwise(lm: LM, problem: Problem, solve: Solve) -> dict[int, LowRank]:
    """Solve, measure how far each fact's states really moved towards its value, and solve again for what was lost.

    The regulariser shrinks every update, one fact's to 0.9 of its value and another's to 0.7, and those are the edits that fail
    although their value is right. So a fact's value is scaled by what its share was short of, `settings.rounds` times. Of a crowd hardly
    more is asked for: it is shrunk on purpose (`agent.editing.solve.share_of`).
    """
    settings, layers = problem.settings, problem.layers
    reader = KeyReader(lm, problem.rows, batch_rows=settings.batch_rows)
    before = reader.read(layers)
    gain = torch.ones(len(problem.requests))
    most = 1 + (_MOST_GAIN - 1) * share_of(len(gain))
    updates: dict[int, LowRank] = {}
    for remaining in reversed(range(settings.rounds)):
        with restored(lm, [down_name(lm.arch, layer) for layer in layers]):
            updates = _one_pass(lm, problem, reader, before, solve, gain)
            if not remaining:  # nothing is asked for again
                break
            reached = reader.read(layers[-1:], changed=layers[-1]).states
        share = _share(reached - before.states, problem)
        gain = (gain / share.clamp(min=_LEAST_SHARE)).clamp(max=most)
    return updates


def system_of(problem: Problem, layer: int) -> System:
    """lambda C + mu K0 K0ᵀ + ridge: what an update of the layer is measured by."""
    settings = problem.settings
    prior = System(problem.factors.prior(layer, settings.covariance))
    return prior.plus(problem.preserve_keys.get(layer), settings.preserve)


def mean_by_fact(rows: Tensor, problem: Problem) -> Tensor:
    """(rows, d) -> (facts, d): a fact's prompts and contexts agree on one residual, so its update has rank
    one.
    """
    facts = len(problem.requests)
    rows = rows.cpu()
    totals = torch.zeros(facts, rows.shape[1]).index_add_(0, problem.owner, rows)
    return totals / torch.bincount(problem.owner, minlength=facts).clamp(min=1)[:, None]


def _one_pass(
    lm: LM, problem: Problem, reader: KeyReader, before: KeysAndStates, solve: Solve, gain: Tensor
) -> dict[int, LowRank]:  # fmt: skip
    """Layers upward: measure what is still missing at the last layer, write an equal share of it into this one.

    Keys and states are measured again with the layers below already changed (Algorithm 1 of MEMIT's paper), from the changed one
    on. The updates are left in the model.
    """
    layers = problem.layers
    device = before.states.device
    wanted = before.states + (gain[:, None] * problem.values)[problem.owner].to(device)
    updates: dict[int, LowRank] = {}
    for index, layer in enumerate(layers):
        now = before
        if index:
            now = reader.read(layers[index:], changed=layers[index - 1])
        missing = (wanted - now.states) / (len(layers) - index)
        residuals = to_write(
            lm, layer, mean_by_fact(missing, problem), mean_by_fact(now.keys[layer], problem)
        )
        update = solve(problem, layer, residuals, now.keys[layer])
        add_(down_module(lm.model, lm.arch, layer), update.left, update.right)
        updates[layer] = update
    return updates


def _share(moved: Tensor, problem: Problem) -> Tensor:
    """(facts,): how far, in units of its value, each fact's rows moved along it on average."""
    values = problem.values[problem.owner]
    along = (moved.cpu() * values).sum(-1) / values.square().sum(-1).clamp(min=1e-12)
    return mean_by_fact(along[:, None], problem)[:, 0]
