"""What a value's optimisation looks at: rows of prompts, each from its subject's last token on, in groups of one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Protocol

import torch

from agent.editing.losses import divergence, labels_at_end, target_nll
from agent.editing.settings import EditSettings
from agent.editing.tails import Tails, by_tail, picked, tails
from agent.lm.arch import decoder_layers
from agent.lm.load import LM
from agent.lm.tokens import SubjectRows, encode_target, subject_rows
from agent.types import EditRequest

Tensor = torch.Tensor
# Multiply-adds of a pass that costs less than to start it: rows of so few go together, whatever their lengths.
_SMALL = {"cpu": 1e9, "cuda": 1e12}


class Site(Protocol):
    """Where pushes go in: `pushes` vectors for each request. A tail starts at the output of layer `below`."""

    @property
    def pushes(self) -> int: ...

    @property
    def below(self) -> int: ...

    def logp(self, lm: LM, rows: Tails, push: Tensor, width: int) -> Tensor:
        """`Tails.logp` with `push` (pushes, rows, d_model) put in."""
        ...


@dataclass(frozen=True, slots=True)
class LayerOutput:
    """The residual stream behind a layer: ROME's and MEMIT's place."""

    below: int
    pushes: int = 1

    def logp(self, lm: LM, rows: Tails, push: Tensor, width: int) -> Tensor:
        return rows.logp(lm, push[0], width)


@dataclass(frozen=True, slots=True)
class _Row:
    """A text, what should follow it (token ids; empty where the model's own answer should stay), whose request it is, its share in
    that request's mean.
    """

    text: str
    target: tuple[int, ...]
    owner: int
    weight: float


@dataclass(frozen=True, slots=True)
class Losses:
    """Of some rows: `total`, what is to be lowered, differentiable; (requests,) each one's mean `nll` and `kl` over these rows."""

    total: Tensor
    nll: Tensor
    kl: Tensor


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one forward pass.

    `owner` (rows,): the request. `labels` (rows, width): the token wanted at each of the last columns, -100 elsewhere. `keep` (rows,)
    bool: nothing is wanted, the answer should stay; `before` (keeps, vocab): what these rows' last column said in the unedited model.
    """

    tails: Tails
    owner: Tensor
    weight: Tensor
    labels: Tensor
    keep: Tensor
    before: Tensor

    def losses(self, lm: LM, site: Site, push: Tensor, kl: float) -> Losses:
        """`push` (pushes, requests, d_model); `kl`: what a divergence weighs against an NLL."""
        logp = site.logp(lm, self.tails, push[:, self.owner], self.labels.shape[1])
        edit = ~self.keep
        nll = target_nll(logp[edit], self.labels[edit]) * self.weight[edit]
        moved = divergence(self.before, logp[self.keep, -1]) * self.weight[self.keep]
        nothing = torch.zeros(push.shape[1], device=push.device)
        return Losses(
            nll.sum() + kl * moved.sum(),
            nothing.index_add(0, self.owner[edit], nll.detach()),
            nothing.index_add(0, self.owner[self.keep], moved.detach()),
        )

    def of(self, active: Tensor) -> Group | None:
        """The rows of requests where `active` (requests,) is true; None without any."""
        mask = active[self.owner]
        if bool(mask.all()):
            return self
        if not bool(mask.any()):
            return None
        return Group(
            self.tails.pick(mask), self.owner[mask], self.weight[mask], self.labels[mask], self.keep[mask],
            self.before[mask[self.keep]],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of all requests: `turns[t]` are the groups that steps of turn t look at, all edits and a part of the keeps."""

    turns: tuple[tuple[Group, ...], ...]

    def of(self, active: Tensor) -> Rows:
        """Those of the requests where `active` (requests,) is true."""
        # A group may stand in every turn: it is picked once.
        left = {id(group): group.of(active) for groups in self.turns for group in groups}
        return Rows(tuple(tuple(kept for g in groups if (kept := left[id(g)])) for groups in self.turns))


def build_rows(
    lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str], site: Site, settings: EditSettings
) -> Rows:
    edits: list[_Row] = []
    keeps: list[list[_Row]] = [[] for _ in range(settings.turns)]
    for owner, request in enumerate(requests):
        target = tuple(encode_target(lm, request.target_new))
        texts = [context + prompt for prompt in request.prompts for context in contexts]
        edits += [_Row(text, target, owner, 1 / len(texts)) for text in texts]
        for number, prompt in enumerate(request.keep if settings.kl else ()):
            share = settings.turns / len(request.keep)
            keeps[number % settings.turns].append(_Row(prompt, (), owner, share))
    subjects = [request.subject for request in requests]
    # One turn too large for that is enough: the others are not tried.
    together = list(takewhile(bool, (_small(lm, [*edits, *rows], subjects, site) for rows in keeps)))
    if len(together) == len(keeps):
        return Rows(tuple((group,) for group in together if group))
    always = _groups(lm, edits, subjects, site, settings)
    return Rows(tuple((*always, *_groups(lm, rows, subjects, site, settings)) for rows in keeps))


def _small(lm: LM, rows: Sequence[_Row], subjects: Sequence[str], site: Site) -> Group | None:
    """All rows in one group, if they are few."""
    batch = _encoded(lm, rows, subjects)
    above = sum(
        w.numel() for layer in decoder_layers(lm.model, lm.arch)[site.below + 1 :] for w in layer.parameters()
    )
    columns = batch.input_ids.shape[1] - int(batch.positions.min())
    if len(rows) * columns * above > _SMALL.get(lm.device.type, 0.0):
        return None
    return _group(lm, rows, tails(lm, batch, site.below))


def _groups(
    lm: LM, rows: Sequence[_Row], subjects: Sequence[str], site: Site, settings: EditSettings
) -> list[Group]:
    if not rows:
        return []
    batch = _encoded(lm, rows, subjects)
    return [
        _group(lm, [rows[i] for i in indices], tails(lm, picked(batch, indices), site.below))
        for indices in by_tail(lm, batch, settings.batch_rows, site.below)
    ]


def _encoded(lm: LM, rows: Sequence[_Row], subjects: Sequence[str]) -> SubjectRows:
    texts = [row.text for row in rows]
    return subject_rows(lm, texts, [subjects[row.owner] for row in rows], [row.target[:-1] for row in rows])


def _group(lm: LM, rows: Sequence[_Row], cut: Tails) -> Group:
    keep = torch.tensor([not row.target for row in rows], device=lm.device)
    labels = labels_at_end([row.target for row in rows], lm.device)
    before = torch.zeros(0, 1, device=lm.device)
    if bool(keep.any()):
        with torch.no_grad():
            before = cut.logp(lm, None, 1)[keep, -1]
    owner = torch.tensor([row.owner for row in rows], device=lm.device)
    weight = torch.tensor([row.weight for row in rows], device=lm.device)
    return Group(cut, owner, weight, labels, keep, before)
