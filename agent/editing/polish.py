"""The values once more, inside the weights: what a joint solve loses is found by looking at the whole.

A value vector is optimised as if its fact were alone and the solve exact. In the joint delta dW = L Rᵀ every fact's update also
moves the others a little. Here the right factors (which keys a fact answers to) stay as the algorithm chose them, and the left
factors (what it writes there) take a few Adam steps on the edited model itself, minimising

    mean over facts of NLL(target)  +  kl * mean over subjects of KL(keep prompts)  +  kl * mean over protected prompts of KL
    +  polish_covariance * sum over layers of tr(dW C dWᵀ) / tr(W C Wᵀ)

with both divergences against the base, by turns where `settings.turns` says so; the rate falls linearly to nothing. The last term is
MEMIT's own: how much of what a layer says of ordinary text changes. Without it many facts are written ever larger, and their prompts
learned by heart. The rank stays one per fact and layer, and keys that the covariance and the preserve keys keep a fact from touching stay untouched. A step runs the
rows from their subject's last token on; what stands before feels the updates little and is read again every few steps. (Ours:
MEMIT's directions with ROME's objective, on all facts at once.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from agent.editing.algorithms.base import Problem
from agent.editing.delta import LowRank
from agent.editing.keys import SubjectText
from agent.editing.settings import EditSettings
from agent.editing.subjects import merged
from agent.editing.tails import Split, by_tail, picked, split, tail_logp
from agent.editing.wanted import Row, Wanted, edit_rows, encoded, keep_rows, wanted
from agent.editing.written import written
from agent.lm.arch import as_out_in, down_module
from agent.lm.load import LM
from agent.types import EditRequest

Tensor = torch.Tensor
Progress = Callable[[int, int], None]
_ROWS = 128
# After how many looks at a part what stands before its tails is read again.
_FRESH = 4
# How many facts a step looks at, about.
_FACTS = 200
# How many prompts about other subjects a step looks at, for each fact and at most: one edit disturbs few.
_PROTECTED_BY_FACT, _PROTECTED = 8, 128


@dataclass(frozen=True, slots=True)
class _Part:
    """The rows of one forward pass, what they should say, and what that counts in the objective. `head`: what stands before the tails,
    as last read (None: never).
    """

    rows: Split
    wanted: Wanted
    share: float
    head: Any = None

    def read(self, lm: LM) -> _Part:
        """With what stands before the tails read again: it feels the updates too, a little."""
        return replace(self, head=self.rows.read_head(lm))

    def loss(self, lm: LM, kl: float) -> Tensor:
        """What these rows add to the objective, a scalar; `kl`: what a divergence weighs against an NLL."""
        logp = tail_logp(lm, self.rows, self.head, self.wanted.width)
        return (self.wanted.nll(logp).sum() + kl * self.wanted.moved(logp).sum()) * self.share


def polish(
    lm: LM, problem: Problem, contexts: Sequence[str], updates: Mapping[int, LowRank], progress: Progress | None = None
) -> dict[int, LowRank]:  # fmt: skip
    """`updates` of the base in `lm`, by layer, after every edit was looked at `settings.polish` times; the model is left as it is.

    Column i of a left factor (d_out, facts) belongs to `problem.requests[i]`. A step looks at no more than a few hundred facts: of
    many it takes a slice.
    """
    settings = problem.settings
    parts = _Parts(lm, merged(problem.requests), contexts, problem.preserve, settings)
    steps = settings.polish * parts.slices
    lefts = {layer: _Left(lm, layer, update) for layer, update in updates.items()}
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
        others = parts.protected(lm, step)
        with written(lm, edited):
            for part in [*parts.of_requests(lm, step), *(part.read(lm) for part in others)]:
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


class _Parts:
    """What each step looks at: the edits (of many facts a slice), by turns their keeps, and of the protected prompts some others every
    time.
    """

    def __init__(
        self, lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str], protected: Sequence[SubjectText],
        settings: EditSettings,
    ) -> None:  # fmt: skip
        self.slices = max(1, round(len(requests) / _FACTS))
        self._turns, self._kl = settings.turns, settings.kl
        groups = [requests[start :: self.slices] for start in range(self.slices)]
        self._edits = [_parts(lm, edit_rows(lm, group, contexts), 1 / len(group)) for group in groups]
        self._keeps = [self._held(lm, [request for request in group if request.keep]) for group in groups]
        self._protected = protected if settings.kl else ()
        self._some = min(_PROTECTED, _PROTECTED_BY_FACT * len(requests))

    def _held(self, lm: LM, requests: Sequence[EditRequest]) -> list[list[_Part]]:
        """The keep prompts of some requests, by turns."""
        rows = keep_rows(requests if self._kl else (), self._turns)
        return [_parts(lm, turn, 1 / max(len(requests), 1)) for turn in rows]

    def of_requests(self, lm: LM, step: int) -> list[_Part]:
        """Inside `written`: edits and keeps of this step, read again when their time has come."""
        look, group = divmod(step, self.slices)
        turn = look % self._turns
        if self.slices > 1:  # much has changed when one comes again, and all of them are too much to keep
            return [part.read(lm) for part in self._edits[group] + self._keeps[group][turn]]
        if look % _FRESH == 0:
            self._edits[group] = [part.read(lm) for part in self._edits[group]]
        if look // self._turns % _FRESH == 0:
            self._keeps[group][turn] = [part.read(lm) for part in self._keeps[group][turn]]
        return self._edits[group] + self._keeps[group][turn]

    def protected(self, lm: LM, step: int) -> list[_Part]:
        """Outside `written`, where the base answers: the next few. The same few in every step would be held, and the rest not."""
        start = step * self._some % max(len(self._protected), 1)
        texts = self._protected[start : start + self._some]
        return _parts(lm, [Row(text, (), 0, 1.0) for text in texts], 1 / max(len(texts), 1))


def _parts(lm: LM, rows: Sequence[Row], share: float) -> list[_Part]:
    if not rows:
        return []
    batch = encoded(lm, rows)
    groups = by_tail(lm, batch, _ROWS, -1)
    return [_part(lm, [rows[i] for i in group], split(picked(batch, group)), share) for group in groups]


def _part(lm: LM, rows: Sequence[Row], cut: Split, share: float) -> _Part:
    return _Part(cut, wanted(lm, rows, lambda: tail_logp(lm, cut, cut.read_head(lm), 1)[:, -1]), share)
