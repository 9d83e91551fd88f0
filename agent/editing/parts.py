"""What one forward pass of polishing looks at: some rows in the edited model, from their subject's last token on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from agent.editing.tails import Split, by_tail, picked, split, tail_logp
from agent.editing.wanted import Row, Wanted, encoded, wanted
from agent.lm.load import LM

Tensor = torch.Tensor
_ROWS = 128


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one forward pass and what they should say. `head`: what stands before the tails, as last read (None: never)."""

    rows: Split
    wanted: Wanted
    head: Any = None

    def read(self, lm: LM) -> Part:
        """With what stands before the tails read again: it feels the updates too, a little."""
        return replace(self, head=self.rows.read_head(lm))

    def moved(self, lm: LM) -> Tensor:
        """(keeps,): weighted divergence of these rows from what was said before."""
        return self.wanted.moved(tail_logp(lm, self.rows, self.head, self.wanted.places))

    def loss(self, lm: LM, kl: float) -> Tensor:
        """What these rows add to the objective, a scalar; `kl`: what a divergence weighs against an NLL."""
        logp = tail_logp(lm, self.rows, self.head, self.wanted.places)
        return self.wanted.nll(logp).sum() + kl * self.wanted.moved(logp).sum()


def parts(lm: LM, rows: Sequence[Row]) -> list[Part]:
    """Each with what the model says now where nothing else is wanted."""
    if not rows:
        return []
    batch = encoded(lm, rows)
    groups = by_tail(lm, batch, _ROWS, -1)
    return [_part(lm, [rows[i] for i in group], split(picked(batch, group))) for group in groups]


def _part(lm: LM, rows: Sequence[Row], cut: Split) -> Part:
    return Part(cut, wanted(lm, rows, lambda places: tail_logp(lm, cut, cut.read_head(lm), places)))
