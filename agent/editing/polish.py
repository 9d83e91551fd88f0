"""The values once more, inside the weights: what a joint solve loses is found by looking at the whole.

A value vector is optimised as if its fact were alone and the solve exact. In the joint delta dW = L Rᵀ every fact's update also
moves the others a little. Here the right factors (which keys a fact answers to) stay as the algorithm chose them, and the left
factors (what it writes there) take a few Adam steps on the edited model itself, minimising

    mean over facts of NLL(target)  +  kl * mean over subjects of KL(keep prompts)  +  kl * mean over protected prompts of KL
    +  polish_covariance * sum over layers of tr(dW C dWᵀ) / tr(W C Wᵀ)

with both divergences against the base, prompts by turns where `settings.turns` says so and of the protected ones oftener what the solve
moved (`agent.editing.protected`); the rate falls linearly to nothing. The last term is
MEMIT's own: how much of what a layer says of ordinary text changes. Without it many facts are written ever larger, and their prompts
learned by heart. The rank stays one per fact and layer, and keys that the covariance and the preserve keys keep a fact from touching stay untouched. A step runs the
rows from their subject's last token on; what stands before feels the updates little and is read again every few steps. (Ours:
MEMIT's directions with ROME's objective, on all facts at once.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from agent.editing.algorithms.base import Problem
from agent.editing.delta import LowRank
from agent.editing.looks import Looks
from agent.editing.written import written
from agent.lm.arch import as_out_in, down_module
from agent.lm.load import LM

Tensor = torch.Tensor
Progress = Callable[[int, int], None]


def polish(
    lm: LM, problem: Problem, contexts: Sequence[str], updates: Mapping[int, LowRank], progress: Progress | None = None
) -> dict[int, LowRank]:  # fmt: skip
    """`updates` of the base in `lm`, by layer, after `steps_for` steps on all of its edits; the model is left as it is.

    Column i of a left factor (d_out, facts) belongs to `problem.requests[i]`. A step looks at no more than a few hundred facts: of
    many it takes a slice.
    """
    settings = problem.settings
    lefts = {layer: _Left(lm, layer, update) for layer, update in updates.items()}
    solved = {layer: left.weight().detach() for layer, left in lefts.items()}
    looks = Looks(lm, problem, contexts, updates, solved)
    if settings.polish_covariance:
        for layer, left in lefts.items():
            left.weigh(problem.factors.covariance[layer])
    leaves = [left.move for left in lefts.values()]
    optimiser = torch.optim.Adam(leaves, lr=settings.polish_lr)
    for step in range(looks.steps):
        # Towards nothing: the last steps would otherwise leave what they happened to look at last.
        optimiser.param_groups[0]["lr"] = settings.polish_lr * (1 - step / looks.steps)
        optimiser.zero_grad()
        weights = {layer: left.weight() for layer, left in lefts.items()}
        # All parts leave their gradients at the weights; from there one step leads back to the factors, however many facts there are.
        edited = {layer: weight.detach().requires_grad_() for layer, weight in weights.items()}
        others = looks.at_others(step)
        with written(lm, edited):
            for part in [*looks.at_requests(step), *(part.read(lm) for part in others)]:
                part.loss(lm, settings.kl).backward(inputs=list(edited.values()))
        if settings.polish_covariance:
            changed = torch.stack([left.disturbance() for left in lefts.values()]).sum()
            (settings.polish_covariance * changed).backward()
        torch.autograd.backward(list(weights.values()), [weight.grad for weight in edited.values()])
        optimiser.step()
        if progress:
            progress(step + 1, looks.steps)
    return {
        layer: LowRank(left.current().detach().cpu(), updates[layer].right) for layer, left in lefts.items()
    }


class _Left:
    """A left factor on its way. Adam moves every entry by about its rate: in units of the column's size, so that a step is
    `polish_lr` of it.
    """

    def __init__(self, lm: LM, layer: int, update: LowRank) -> None:
        self._base = as_out_in(down_module(lm.model, lm.arch, layer))
        self._right = update.right.to(lm.device)
        self._start = update.left.to(lm.device)
        self._unit = self._start.norm(dim=0, keepdim=True) / self._start.shape[0] ** 0.5
        self._gram = self._start.new_zeros(0, 0)
        self.move = torch.zeros_like(self._start, requires_grad=True)

    def current(self) -> Tensor:
        """(d_out, facts) float32."""
        return self._start + self.move * self._unit

    def weight(self) -> Tensor:
        """(d_out, d_in) float32: the base's weight with the update in it."""
        return torch.addmm(self._base.float(), self.current(), self._right.T)

    def weigh(self, covariance: Tensor) -> None:
        """Take the second moment C (d_in, d_in) of the layer's keys for `disturbance`."""
        covariance, base = covariance.to(self._right), self._base.float()
        # tr(dW C dWᵀ) = tr(L (Rᵀ C R) Lᵀ): with few facts that is much less work in every step.
        self._gram = self._right.T @ covariance @ self._right / (base @ covariance * base).sum()

    def disturbance(self) -> Tensor:
        """tr(dW C dWᵀ) / tr(W C Wᵀ), a differentiable scalar: the mean squared change of what the layer writes, relative to that."""
        left = self.current()
        return (left @ self._gram * left).sum()
