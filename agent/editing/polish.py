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
from agent.editing.keys import SubjectText, key_places
from agent.editing.parts import Part, parts
from agent.editing.protected import Protected, moved, ranked
from agent.editing.settings import EditSettings
from agent.editing.subjects import merged
from agent.editing.wanted import Row, edit_rows, keep_rows
from agent.editing.written import written
from agent.lm.arch import as_out_in, down_module
from agent.lm.load import LM
from agent.types import EditRequest

Tensor = torch.Tensor
Progress = Callable[[int, int], None]
# After about how many steps what stands before the tails is read again.
_FRESH = 6
# How many facts a step looks at, about.
_FACTS = 200


def polish(
    lm: LM, problem: Problem, contexts: Sequence[str], updates: Mapping[int, LowRank], progress: Progress | None = None
) -> dict[int, LowRank]:  # fmt: skip
    """`updates` of the base in `lm`, by layer, after every edit was looked at `settings.polish` times; the model is left as it is.

    Column i of a left factor (d_out, facts) belongs to `problem.requests[i]`. A step looks at no more than a few hundred facts: of
    many it takes a slice.
    """
    settings = problem.settings
    looks = _Looks(lm, merged(problem.requests), contexts, settings)
    steps = settings.polish * looks.slices
    lefts = {layer: _Left(lm, layer, update) for layer, update in updates.items()}
    protected = _protected(lm, problem, updates, {layer: left.weight() for layer, left in lefts.items()})
    if settings.polish_covariance:
        for layer, left in lefts.items():
            left.weigh(problem.factors.covariance[layer])
    leaves = [left.move for left in lefts.values()]
    optimiser = torch.optim.Adam(leaves, lr=settings.polish_lr)
    for step in range(steps):
        # Towards nothing: the last steps would otherwise leave what they happened to look at last.
        optimiser.param_groups[0]["lr"] = settings.polish_lr * (1 - step / steps)
        optimiser.zero_grad()
        weights = {layer: left.weight() for layer, left in lefts.items()}
        # All parts leave their gradients at the weights; from there one step leads back to the factors, however many facts there are.
        edited = {layer: weight.detach().requires_grad_() for layer, weight in weights.items()}
        # Made where the base answers.
        others = _held(lm, protected.at(step))
        with written(lm, edited):
            for part in [*looks.at(lm, step), *(part.read(lm) for part in others)]:
                part.loss(lm, settings.kl).backward(inputs=list(edited.values()))
        if settings.polish_covariance:
            changed = torch.stack([left.disturbance() for left in lefts.values()]).sum()
            (settings.polish_covariance * changed).backward()
        torch.autograd.backward(list(weights.values()), [weight.grad for weight in edited.values()])
        optimiser.step()
        if progress:
            progress(step + 1, steps)
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


class _Looks:
    """What each step looks at of the requests, of many a slice: edit prompts and keep prompts, by turns."""

    def __init__(
        self, lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str], settings: EditSettings
    ) -> None:
        self.slices = max(1, round(len(requests) / _FACTS))
        self._turns = settings.turns
        groups = [requests[start :: self.slices] for start in range(self.slices)]
        self._parts = [self._of(lm, group, contexts, settings.kl) for group in groups]

    def _of(
        self, lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str], kl: float
    ) -> list[list[Part]]:
        """By turn."""
        holding = [request for request in requests if request.keep and kl]
        told = (parts(lm, rows, 1 / len(requests)) for rows in edit_rows(lm, requests, contexts, self._turns))
        held = (parts(lm, rows, 1 / max(len(holding), 1)) for rows in keep_rows(holding, self._turns))
        return [[*edits, *keeps] for edits, keeps in zip(told, held, strict=True)]

    def at(self, lm: LM, step: int) -> list[Part]:
        """Inside `written`: the parts of this step, read again when their time has come."""
        look, group = divmod(step, self.slices)
        again, turn = divmod(look, self._turns)
        if self.slices > 1:  # much has changed when one comes again, and all of them are too much to keep
            return [part.read(lm) for part in self._parts[group][turn]]
        if again % max(1, _FRESH // self._turns) == 0:
            self._parts[group][turn] = [part.read(lm) for part in self._parts[group][turn]]
        return self._parts[group][turn]


def _protected(
    lm: LM, problem: Problem, updates: Mapping[int, LowRank], weights: Mapping[int, Tensor]
) -> Protected:
    """The prompts about other subjects, by what the solve made of them; none where nothing is to be held."""
    texts, facts = problem.preserve, len(problem.requests)
    if not texts or not problem.settings.kl:
        return Protected((), facts, 0)
    far = moved(updates, problem.preserve_keys)[key_places(texts)]
    return Protected(ranked(lm, texts, far, weights, facts), facts, problem.settings.seed)


def _held(lm: LM, texts: Sequence[SubjectText]) -> list[Part]:
    """Whose answers are to stay as they are."""
    return parts(lm, [Row(text, (), 0, 1.0) for text in texts], 1 / max(len(texts), 1))
