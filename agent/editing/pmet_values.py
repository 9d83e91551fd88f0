"""PMET's value vectors (Li et al. 2023, 2308.08742; written from the paper): what the MLP should add is not what the layer should.

For request i, minimise over two pushes at the subject's last token, one on the attention's output a and one on the MLP's output m:

    mean over prompts and contexts of NLL(target | a + alpha_i, m + delta_i)  +  kl * KL(keep prompts | the same)
    +  decay * (|alpha_i|² + |delta_i|²) / |h|²

and keep delta alone: attention carries what holds for many facts, and is not to be written for one. Where attention and MLP follow each
other, alpha also passes through the layer's MLP; where they run side by side (GPT-J, NeoX, Falcon) both pushes see one gradient, and delta
is just half of what they push together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from agent.editing.settings import EditSettings
from agent.editing.subjects import by_subject
from agent.editing.tails import Tails
from agent.editing.values import optimise_at
from agent.lm.arch import down_module
from agent.lm.attention import attention_module
from agent.lm.hooks import edit_output
from agent.lm.load import LM
from agent.types import EditRequest

Tensor = torch.Tensor
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class AttentionAndMlp:
    """Both outputs inside one layer: tails start at its input."""

    layer: int
    pushes: int = 2

    @property
    def below(self) -> int:
        return self.layer - 1

    def logp(self, lm: LM, rows: Tails, push: Tensor, places: Tensor) -> Tensor:
        modules = attention_module(lm, self.layer), down_module(lm.model, lm.arch, self.layer)
        with edit_output(modules[0], _adding(rows, push[0])), edit_output(modules[1], _adding(rows, push[1])):
            return rows.logp(lm, None, places)


def optimise_mlp_values(
    lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str], layer: int, settings: EditSettings,
    progress: Progress | None = None,
) -> Tensor:  # fmt: skip
    """delta (requests, d_model) float32 on the CPU, to be added to the output of the down projection of `layer` at each subject's last
    token: one for all requests of a subject; NaN for a request that was given up.

    Chunks as in `optimise_values`. Raises EditError when a prompt lacks its subject, ModelError when the family's attention is unknown.
    """
    site = AttentionAndMlp(layer)
    return optimise_at(lm, requests, by_subject(requests), contexts, layer, site, settings, progress)[1]


def _adding(rows: Tails, push: Tensor) -> Callable[[Tensor], Tensor]:
    """`push` (rows, d_model) added to a module's output at each row's subject; an MLP may flatten its rows (OPT)."""
    count = len(rows)
    every = torch.arange(count, device=push.device)

    def change(output: Tensor) -> Tensor:
        by_row = output.reshape(count, -1, output.shape[-1])
        at = (every, rows.rows.positions)
        return by_row.index_put(at, push.to(output.dtype), accumulate=True).reshape(output.shape)

    return change
