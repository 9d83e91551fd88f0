"""The values once more, inside the weights: what a joint solve loses is found by looking at the whole.

A value vector is optimised as if its fact were alone and the solve exact. In the joint delta dW = L Rᵀ every fact's update also
moves the others a little. Here the right factors (which keys a fact answers to) stay as the algorithm chose them, and the left
factors (what it writes there) take a few Adam steps on the edited model itself, minimising

    mean over facts of [NLL(target) + kl * KL(keep prompts)]  +  kl * mean over protected prompts of KL

with both divergences against the base, by turns where `settings.turns` says so; the rate falls linearly to nothing. The rank stays
one per fact and layer, and keys that the covariance and the preserve keys keep a fact from touching stay untouched. A step runs the
rows from their subject's last token on; what stands before feels the updates little and is read again every few steps. (Ours:
MEMIT's directions with ROME's objective, on all facts at once.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from agent.editing.delta import LowRank
from agent.editing.keys import SubjectText
from agent.editing.losses import divergence, labels_at_end, target_nll
from agent.editing.settings import EditSettings
from agent.editing.tails import Split, by_tail, picked, split, tail_logp
from agent.editing.written import written
from agent.lm.arch import as_out_in, down_module
from agent.lm.load import LM
from agent.lm.tokens import encode_target, subject_rows
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
class _Row:
    """A text with its share in the loss. `target`: token ids that should follow; empty where the base's answer should stay."""

    text: SubjectText
    target: tuple[int, ...]
    weight: float


@dataclass(frozen=True, slots=True)
class _Part:
    """The rows of one forward pass, all edits or all keeps.

    `labels` (rows, width): the token wanted at each of the last columns, -100 elsewhere. `weight` (rows,). `before` (rows, vocab):
    the base's log-probabilities at the last column; empty for edits. `head`: what stands before the tails, as last read (None: never).
    """

    rows: Split
    head: Any
    labels: Tensor
    weight: Tensor
    before: Tensor

    def read(self, lm: LM) -> _Part:
        """With what stands before the tails read again: it feels the updates too, a little."""
        return replace(self, head=self.rows.read_head(lm))


def polish(
    lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str], updates: Mapping[int, LowRank],
    protected: Sequence[SubjectText], settings: EditSettings, progress: Progress | None = None,
) -> dict[int, LowRank]:  # fmt: skip
    """`updates` of the base in `lm`, by layer, after every edit was looked at `settings.polish` times; the model is left as it is.

    Column i of a left factor (d_out, facts) belongs to `requests[i]`. `protected`: prompts about other subjects. A step looks at no
    more than a few hundred facts: of many it takes a slice.
    """
    parts = _Parts(lm, requests, contexts, protected, settings)
    steps = settings.polish * parts.slices
    lefts = {layer: _Left(lm, layer, update) for layer, update in updates.items()}
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
                _loss(lm, part).backward(inputs=list(edited.values()))
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
        self.move = torch.zeros_like(self._start, requires_grad=True)

    def current(self) -> Tensor:
        """(d_out, facts) float32."""
        return self._start + self.move * self._unit

    def weight(self) -> Tensor:
        """(d_out, d_in) float32: the base's weight with the update in it."""
        return torch.addmm(self._base.float(), self.current(), self._right.T)


class _Parts:
    """What each step looks at: the edits (of many facts a slice), by turns their keeps, and of the protected prompts some others every
    time.
    """

    def __init__(
        self, lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str], protected: Sequence[SubjectText],
        settings: EditSettings,
    ) -> None:  # fmt: skip
        self.slices, self._turns = max(1, round(len(requests) / _FACTS)), settings.turns
        groups = [requests[start :: self.slices] for start in range(self.slices)]
        self._edits = [_parts(lm, _edits(lm, group, contexts)) for group in groups]
        keeps = [_keeps(group, settings.kl * self._turns) for group in groups]
        self._keeps = [
            [_parts(lm, rows[turn :: self._turns]) for turn in range(self._turns)] for rows in keeps
        ]
        self._protected = protected if settings.kl else ()
        self._some = min(_PROTECTED, _PROTECTED_BY_FACT * len(requests))
        self._kl = settings.kl

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
        return _parts(lm, sorted((_Row(text, (), self._kl / len(texts)) for text in texts), key=_length))


def _edits(lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str]) -> list[_Row]:
    rows = []
    for request in requests:
        target = tuple(encode_target(lm, request.target_new))
        texts = [context + prompt for prompt in request.prompts for context in contexts]
        weight = 1 / len(texts) / len(requests)
        rows += [_Row(SubjectText(text, request.subject), target, weight) for text in texts]
    return sorted(rows, key=_length)


def _keeps(requests: Sequence[EditRequest], kl: float) -> list[_Row]:
    if kl == 0:
        return []
    rows = [
        _Row(SubjectText(text, request.subject), (), kl / len(request.keep) / len(requests))
        for request in requests
        for text in request.keep
    ]
    return sorted(rows, key=_length)


def _length(row: _Row) -> tuple[int, str]:
    """Rows of one length stand together, so that their turns are alike."""
    return len(row.text.text), row.text.text


def _parts(lm: LM, rows: Sequence[_Row]) -> list[_Part]:
    if not rows:
        return []
    batch = subject_rows(
        lm,
        [row.text.text for row in rows],
        [row.text.subject for row in rows],
        [row.target[:-1] for row in rows],
    )
    return [
        _part(lm, [rows[i] for i in indices], split(picked(batch, indices)))
        for indices in by_tail(lm, batch, _ROWS, -1)
    ]


def _part(lm: LM, rows: Sequence[_Row], cut: Split) -> _Part:
    before = torch.zeros(0, device=lm.device)
    if not rows[0].target:
        with torch.no_grad():
            before = tail_logp(lm, cut, cut.read_head(lm), 1)[:, -1]
    weight = torch.tensor([row.weight for row in rows], device=lm.device)
    return _Part(cut, None, labels_at_end([row.target for row in rows], lm.device), weight, before)


def _loss(lm: LM, part: _Part) -> Tensor:
    """This part's share of the objective, a scalar."""
    logp = tail_logp(lm, part.rows, part.head, part.labels.shape[1])
    rows = divergence(part.before, logp[:, -1]) if len(part.before) else target_nll(logp, part.labels)
    return (rows * part.weight).sum()
