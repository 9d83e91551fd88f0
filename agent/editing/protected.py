"""Prompts about other subjects, a few in every step of polishing: half of them of those that the solve moved most.

An update disturbs few of them much and most not at all. Looked at by mere turns, those few would come as rarely as all others. Which
they are is measured: by how far the update moves their keys first, and of the nearest by what the model says.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import torch

from agent.editing.delta import LowRank
from agent.editing.keys import SubjectText
from agent.editing.own import OwnAnswers
from agent.editing.parts import parts
from agent.editing.wanted import held_rows
from agent.editing.written import written
from agent.lm.load import LM

Tensor = torch.Tensor
# How many a step looks at, for each fact and at most: one edit disturbs few.
_AT_ONCE_BY_FACT, _AT_ONCE = 8, 128
# How many count as moved most, for each fact and at most, and how many times as many are asked to find them.
_MOST_BY_FACT, _MOST, _ASKED = 4, 400, 3


def moved(updates: Mapping[int, LowRank], keys: Mapping[int, Tensor]) -> Tensor:
    """(keys,) float32: |sum over layers of dW k|, what the updates add to the residual stream at each preserve key; empty without keys.

    `keys`: (keys, d_in) by layer.
    """
    added = [
        keys[layer].cpu().float() @ update.right @ update.left.T
        for layer, update in updates.items()
        if layer in keys
    ]
    return torch.stack(added).sum(0).norm(dim=-1) if added else torch.zeros(0)


def diverged(lm: LM, texts: Sequence[SubjectText], weights: Mapping[int, Tensor], own: OwnAnswers) -> Tensor:
    """(texts,) float32: KL of the answer from the base in `lm` to the base with the down projections' `weights` (by layer)."""
    found = torch.zeros(len(texts))
    rows = held_rows(texts, own)
    # A few at a time: each keeps a whole distribution over the vocabulary.
    for start in range(0, len(rows), _AT_ONCE):
        for part in parts(lm, rows[start : start + _AT_ONCE]):
            with torch.no_grad(), written(lm, weights):
                found[part.wanted.owner.cpu()] = part.read(lm).moved(lm).cpu()
    return found


def ranked(
    lm: LM,
    texts: Sequence[SubjectText],
    far: Tensor,
    weights: Mapping[int, Tensor],
    facts: int,
    own: OwnAnswers,
) -> list[SubjectText]:
    """`texts` by what `weights` make of their answers, those changed most first; asked are only those with the largest `far` (texts,)."""
    nearest = [texts[i] for i in far.argsort(descending=True, stable=True).tolist()]
    asked = _ASKED * _most(facts)
    order = diverged(lm, nearest[:asked], weights, own).argsort(descending=True, stable=True).tolist()
    return [nearest[i] for i in order] + nearest[asked:]


def _most(facts: int) -> int:
    return min(_MOST, _MOST_BY_FACT * facts)


class Protected:
    """`texts`, those that were moved most first. All are looked at in the end, if there are steps enough."""

    def __init__(self, texts: Sequence[SubjectText], facts: int, seed: int) -> None:
        self._at_once = min(_AT_ONCE, _AT_ONCE_BY_FACT * facts)
        most = _most(facts)
        # Neighbours in this order tell of the same subject.
        self._most, self._rest = list(texts[:most]), list(texts[most:])
        for part in (self._most, self._rest):
            random.Random(seed).shuffle(part)

    def at(self, step: int) -> list[SubjectText]:
        """What this step looks at, each once."""
        half = self._at_once // 2 if self._rest else self._at_once
        most = _window(self._most, step, half)
        return [*most, *_window(self._rest, step, self._at_once - len(most))]


def _window(texts: Sequence[SubjectText], step: int, size: int) -> list[SubjectText]:
    size = min(size, len(texts))
    return [texts[(step * size + i) % len(texts)] for i in range(size)]
