"""What a value's optimisation looks at: rows of prompts, each from its subject's last token on, in groups of one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Protocol

import torch

from agent.editing.own import OwnAnswers
from agent.editing.settings import EditSettings
from agent.editing.tails import Tails, by_tail, picked, tails
from agent.editing.wanted import Row, Wanted, edit_rows, encoded, keep_rows, wanted
from agent.lm.load import LM
from agent.types import EditRequest

Tensor = torch.Tensor


class Site(Protocol):
    """Where pushes go in: `pushes` vectors for each request. A tail starts at the output of layer `below`."""

    @property
    def pushes(self) -> int: ...

    @property
    def below(self) -> int: ...

    def logp(self, lm: LM, rows: Tails, push: Tensor, places: Tensor) -> Tensor:
        """`Tails.logp` with `push` (pushes, rows, d_model) put in."""
        ...


@dataclass(frozen=True, slots=True)
class LayerOutput:
    """The residual stream behind a layer: ROME's and MEMIT's place."""

    below: int
    pushes: int = 1

    def logp(self, lm: LM, rows: Tails, push: Tensor, places: Tensor) -> Tensor:
        return rows.logp(lm, push[0], places)


@dataclass(frozen=True, slots=True)
class Losses:
    """Of some rows: `total`, what is to be lowered, differentiable; (requests,) each one's mean `nll` and `kl` over these rows."""

    total: Tensor
    nll: Tensor
    kl: Tensor


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one forward pass, and what they should say."""

    tails: Tails
    wanted: Wanted

    def losses(self, lm: LM, site: Site, push: Tensor, kl: float) -> Losses:
        """`push` (pushes, requests, d_model); `kl`: what a divergence weighs against an NLL."""
        owner, keep = self.wanted.owner, self.wanted.keep
        logp = site.logp(lm, self.tails, push[:, owner], self.wanted.places)
        nll, moved = self.wanted.nll(logp), self.wanted.moved(logp)
        nothing = torch.zeros(push.shape[1], device=push.device)
        return Losses(
            nll.sum() + kl * moved.sum(),
            nothing.index_add(0, owner[~keep], nll.detach()),
            nothing.index_add(0, owner[keep], moved.detach()),
        )

    def of(self, active: Tensor) -> Group | None:
        """The rows of requests where `active` (requests,) is true; None without any."""
        mask = active[self.wanted.owner]
        if bool(mask.all()):
            return self
        return Group(self.tails.pick(mask), self.wanted.pick(mask)) if bool(mask.any()) else None


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of all requests: `turns[t]` are the groups that steps of turn t look at: all requests, of each some edit prompts and some keeps."""

    turns: tuple[tuple[Group, ...], ...]

    def of(self, active: Tensor) -> Rows:
        """Those of the requests where `active` (requests,) is true."""
        # A group may stand in every turn: it is picked once.
        left = {id(group): group.of(active) for groups in self.turns for group in groups}
        return Rows(tuple(tuple(kept for g in groups if (kept := left[id(g)])) for groups in self.turns))


def build_rows(
    lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str], site: Site, settings: EditSettings
) -> Rows:
    edits = edit_rows(lm, requests, contexts, settings.turns)
    keeps = keep_rows(requests if settings.kl else (), settings.turns, OwnAnswers(lm, settings.keep_tokens))
    # One turn too large for that is enough: the others are not tried.
    every = zip(edits, keeps, strict=True)
    together = list(
        takewhile(bool, (_together(lm, [*changed, *kept], site, settings) for changed, kept in every))
    )
    if len(together) == len(keeps):
        return Rows(tuple((group,) for group in together if group))
    first = _groups(lm, edits[0], site, settings)
    told = [first if rows == edits[0] else _groups(lm, rows, site, settings) for rows in edits]
    held = (_groups(lm, rows, site, settings) for rows in keeps)
    return Rows(tuple((*changed, *kept) for changed, kept in zip(told, held, strict=True)))


def _together(lm: LM, rows: Sequence[Row], site: Site, settings: EditSettings) -> Group | None:
    """All rows, if one group holds them."""
    batch = encoded(lm, rows)
    if len(list(by_tail(lm, batch, settings.batch_rows, site.below))) > 1:
        return None
    return _group(lm, rows, tails(lm, batch, site.below))


def _groups(lm: LM, rows: Sequence[Row], site: Site, settings: EditSettings) -> list[Group]:
    if not rows:
        return []
    batch = encoded(lm, rows)
    return [
        _group(lm, [rows[i] for i in indices], tails(lm, picked(batch, indices), site.below))
        for indices in by_tail(lm, batch, settings.batch_rows, site.below)
    ]


def _group(lm: LM, rows: Sequence[Row], cut: Tails) -> Group:
    return Group(cut, wanted(lm, rows, lambda places: cut.logp(lm, None, places)))
