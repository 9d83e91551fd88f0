"""PMET (Li et al. 2023, 2308.08742; written from the paper): MEMIT's solve for what the MLPs alone should add, spread by square roots.

Its values come from `agent.editing.pmet_values`: pushes on the *output of the down projection* of the last layer, not on its residual
stream. So what is missing is counted there too, V - W K of the last layer: what lower layers write reaches it only through its key. Each
layer writes 1 / sqrt(layers left) of that, and so all together more than the values. They need it: a value is only the MLP's part of what
makes the model say the target, and written just once, as MEMIT counts, it often does not suffice (tests/editing/test_pmet.py).
"""

from __future__ import annotations

import torch

from agent.editing.algorithms.base import Problem
from agent.editing.algorithms.layerwise import mean_by_fact, system_of
from agent.editing.delta import LowRank, add_, restored
from agent.editing.keys import KeyReader
from agent.editing.solve import spread
from agent.lm.arch import as_out_in, down_module, down_name
from agent.lm.load import LM

Tensor = torch.Tensor


def pmet(lm: LM, problem: Problem) -> dict[int, LowRank]:
    """dW_l = R_l K_lᵀ (lambda C + mu K0 K0ᵀ + K_l K_lᵀ)⁻¹ with R_l = (V - W K) / sqrt(layers left), V and W K of the last layer.

    Layers upward, keys measured again with the layers below already changed. `settings.rounds` is not read: there is no state to reach.
    """
    settings, layers = problem.settings, problem.layers
    reader = KeyReader(lm, problem.rows, batch_rows=settings.batch_rows)
    start = reader.read(layers).keys
    # A copy: the last layer is written in place at the end.
    weight = as_out_in(down_module(lm.model, lm.arch, layers[-1])).detach().float().clone()
    keys, updates = start, dict[int, LowRank]()
    with restored(lm, [down_name(lm.arch, layer) for layer in layers]):
        for index, layer in enumerate(layers):
            if index:
                keys = reader.read(layers[index:], changed=layers[index - 1]).keys
            written = (keys[layers[-1]] - start[layers[-1]]) @ weight.T
            missing = mean_by_fact(problem.values[problem.owner] - written.cpu(), problem)
            system = system_of(problem, layer)
            residuals = missing / (len(layers) - index) ** 0.5
            updates[layer] = spread(residuals, keys[layer], problem.owner, system)
            add_(down_module(lm.model, lm.arch, layer), updates[layer].left, updates[layer].right)
    return updates
