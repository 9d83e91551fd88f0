"""The value vectors: for each fact the smallest push at its subject's last token after which the model says
the new target.

For request i, minimise over delta_i (ROME 2202.05262 eq. 4, MEMIT 2210.07229 eq. 16, with the KL over the
same subject's *other* relations instead of "{subject} is a"):

    mean over prompts and contexts of NLL(target | h + delta_i)  +  kl * KL(keep prompts | h + delta_i)  +
    decay * |delta_i|² / |h|²

All requests run together, one row per prompt and context, each from its subject's last token on (`agent.editing.tails`). Every step
looks at all edit rows and at one in `settings.turns` of the keep rows, by turns. A request whose loss is low enough stops and its
rows leave the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from agent.editing.keys import SubjectText, keys_and_states
from agent.editing.losses import divergence, labels_at_end, target_nll
from agent.editing.settings import EditSettings
from agent.editing.tails import Tails, by_tail, picked, tails
from agent.lm.guess import width_of
from agent.lm.load import LM
from agent.lm.tokens import encode_target, subject_rows
from agent.types import EditRequest

Tensor = torch.Tensor
Progress = Callable[[int, int], None]


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
class _Group:
    """Rows of one forward pass, all edits or all keeps.

    `owner` (rows,): the request. `labels` (rows, width): the token wanted at each of the last columns, -100 elsewhere. `before`
    (rows, vocab): the unedited model's log-probabilities at the last column; empty for edits.
    """

    tails: Tails
    owner: Tensor
    weight: Tensor
    labels: Tensor
    before: Tensor

    def losses(self, lm: LM, site: Site, push: Tensor) -> Tensor:
        """(rows,): NLL per target token, or KL; `push` (pushes, requests, d_model)."""
        logp = site.logp(lm, self.tails, push[:, self.owner], self.labels.shape[1])
        if len(self.before):
            return divergence(self.before, logp[:, -1])
        return target_nll(logp, self.labels)

    def pick(self, mask: Tensor) -> _Group:
        before = self.before[mask] if len(self.before) else self.before
        return _Group(self.tails.pick(mask), self.owner[mask], self.weight[mask], self.labels[mask], before)


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of all requests. `keeps[turn]`: those looked at in steps of that turn."""

    edits: list[_Group]
    keeps: list[list[_Group]]

    def of(self, active: Tensor) -> _Rows:
        """Those of the requests where `active` (requests,) is true."""
        return _Rows(_of(self.edits, active), [_of(groups, active) for groups in self.keeps])


def optimise_values(
    lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str], layer: int, settings: EditSettings,
    progress: Progress | None = None,
) -> Tensor:  # fmt: skip
    """delta (requests, d_model) float32 on the CPU, to be added to the output of `layer` at each subject's
    last token; NaN for a request that was given up.
    """
    return optimise_at(lm, requests, contexts, layer, LayerOutput(layer), settings, progress)[0]


def optimise_at(
    lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str], layer: int, site: Site, settings: EditSettings,
    progress: Progress | None = None,
) -> Tensor:  # fmt: skip
    """(pushes, requests, d_model) float32 on the CPU for the pushes of `site`, in units and bounds of |h|, h the output of `layer`;
    NaN for a request that was given up.

    Requests are taken in chunks of `settings.chunk`, in the order given, so that a value depends on its chunk
    only.
    """
    found = [torch.zeros(site.pushes, 0, width_of(lm.model))]
    for start in range(0, len(requests), settings.chunk):
        chunk = requests[start : start + settings.chunk]
        rows = _build_rows(lm, chunk, contexts, site, settings)
        norms = _mean_norms(lm, chunk, contexts, layer)
        found.append(_optimise_chunk(lm, rows, norms, site, settings))
        if progress:
            progress(min(start + settings.chunk, len(requests)), len(requests))
    return torch.cat(found, 1)


def _optimise_chunk(lm: LM, rows: _Rows, norms: Tensor, site: Site, settings: EditSettings) -> Tensor:
    width, count = width_of(lm.model), len(norms)
    # Adam moves every coordinate by about lr a step, whatever the scale of the states: so it works in units
    # of |h| / sqrt(d), and one step is lr * |h| long on every model.
    unit = (norms / width**0.5)[:, None]
    push = torch.zeros(site.pushes, count, width, device=lm.device, requires_grad=True)
    optimiser = torch.optim.Adam([push], lr=settings.lr)
    active = torch.ones(count, dtype=torch.bool, device=lm.device)
    loss = torch.zeros(count, device=lm.device)
    kls = torch.full((settings.turns, count), math.inf, device=lm.device)
    for step in range(settings.steps):
        turn = step % settings.turns
        optimiser.zero_grad()
        (settings.decay * push.square().mean(-1).sum()).backward()
        nll = _descend(lm, rows.edits, site, push, unit, 1.0)
        kls[turn] = _descend(lm, rows.keeps[turn], site, push, unit, settings.kl)
        loss = torch.where(active, nll, loss)
        done = active & (nll < settings.stop_loss) & (kls.mean(0) < max(settings.stop_loss, 0.05))
        _step(optimiser, push, active & ~done, settings.clamp * width**0.5)
        if bool(done.any()):
            active = active & ~done
            if not bool(active.any()):
                break
            rows = rows.of(active)
    # What the model cannot be made to say would only push it about, and the facts solved with it.
    hopeless = loss > settings.give_up if settings.give_up else torch.zeros_like(active)
    return torch.where(hopeless[:, None], math.nan, push.detach() * unit).cpu()


def _descend(
    lm: LM, groups: Sequence[_Group], site: Site, push: Tensor, unit: Tensor, weight: float
) -> Tensor:
    """Adds the gradient of `weight` times the groups' losses to `push`; (requests,) the weighted mean loss of each, 0 without rows.

    One backward pass for each group: no more is kept in memory than one of them needs.
    """
    means = torch.zeros(push.shape[1], device=push.device)
    for group in groups:
        rows = group.losses(lm, site, push * unit) * group.weight
        if weight:
            (weight * rows.sum()).backward()
        means.index_add_(0, group.owner, rows.detach())
    return means


def _step(optimiser: torch.optim.Optimizer, push: Tensor, active: Tensor, largest: float) -> None:
    """One Adam step of the active requests and the projection onto |push| <= largest; the others stay."""
    frozen = push.detach().clone()
    optimiser.step()
    with torch.no_grad():
        norms = push.norm(dim=-1, keepdim=True)
        push.mul_((largest / norms.clamp(min=1e-12)).clamp(max=1.0))
        push[:, ~active] = frozen[:, ~active]


def _build_rows(
    lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str], site: Site, settings: EditSettings
) -> _Rows:
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
    return _Rows(
        _groups(lm, edits, subjects, site, settings),
        [_groups(lm, rows, subjects, site, settings) for rows in keeps],
    )


def _groups(
    lm: LM, rows: Sequence[_Row], subjects: Sequence[str], site: Site, settings: EditSettings
) -> list[_Group]:
    if not rows:
        return []
    batch = subject_rows(
        lm,
        [row.text for row in rows],
        [subjects[row.owner] for row in rows],
        [row.target[:-1] for row in rows],
    )
    return [
        _group(lm, [rows[i] for i in indices], tails(lm, picked(batch, indices), site.below))
        for indices in by_tail(lm, batch, settings.batch_rows, site.below)
    ]


def _group(lm: LM, rows: Sequence[_Row], cut: Tails) -> _Group:
    before = torch.zeros(0, device=lm.device)
    if not rows[0].target:
        with torch.no_grad():
            before = cut.logp(lm, None, 1)[:, -1]
    return _Group(
        cut,
        torch.tensor([row.owner for row in rows], device=lm.device),
        torch.tensor([row.weight for row in rows], device=lm.device),
        labels_at_end([row.target for row in rows], lm.device),
        before,
    )


def _of(groups: Sequence[_Group], active: Tensor) -> list[_Group]:
    """The groups without the rows of other requests; one without rows goes."""
    return [
        group if bool(active[group.owner].all()) else group.pick(active[group.owner])
        for group in groups
        if bool(active[group.owner].any())
    ]


def _mean_norms(lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str], layer: int) -> Tensor:
    """(requests,): mean |h| at the subject over a request's edit rows."""
    texts = [
        (SubjectText(context + prompt, request.subject), owner, 1 / len(request.prompts) / len(contexts))
        for owner, request in enumerate(requests)
        for prompt in request.prompts
        for context in contexts
    ]
    rows, owners, weights = zip(*texts, strict=True)
    norms = keys_and_states(lm, rows, [layer]).states.norm(dim=-1)
    owner = torch.tensor(owners, device=norms.device)
    return norms.new_zeros(len(requests)).index_add_(0, owner, norms * norms.new_tensor(weights))
