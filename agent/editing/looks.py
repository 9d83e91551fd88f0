"""What each step of polishing looks at: the facts, of many a slice, what is kept of their subjects by turns, and some other subjects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from agent.editing.algorithms.base import Problem
from agent.editing.delta import LowRank
from agent.editing.keys import key_places
from agent.editing.own import OwnAnswers
from agent.editing.parts import Part, parts
from agent.editing.protected import Protected, moved, ranked
from agent.editing.subjects import merged
from agent.editing.wanted import edit_rows, held_rows, keep_rows, weighed
from agent.lm.load import LM
from agent.types import EditRequest

Tensor = torch.Tensor
# After about how many steps what stands before the tails is read again.
_FRESH = 6
# How many facts a step looks at, about.
_FACTS = 200
# For how many steps the base is asked for the answers of other subjects at a time: to ask for a few costs as much as for many.
_AHEAD = 12
# Of how many facts polishing needs all its steps, and the least share of them that it takes.
_MANY, _LEAST = 150, 1 / 3


def steps_for(polish: int, facts: int) -> int:
    """How often all facts are looked at: `polish` times if they are many. What a joint solve loses grows with their number, and of few
    facts what can be won is won soon (docs/benchmarks.md).
    """
    return math.ceil(polish * min(1.0, max(_LEAST, math.sqrt(facts / _MANY))))


class Looks:
    """Of a problem that was solved: `updates` are what the solve found, `solved` (d_out, d_in) by layer the weights with them.

    `slices`: how many steps look at all facts once. `steps`: how many there are.
    """

    def __init__(
        self, lm: LM, problem: Problem, contexts: Sequence[str], updates: Mapping[int, LowRank],
        solved: Mapping[int, Tensor],
    ) -> None:  # fmt: skip
        self._lm, self._settings = lm, problem.settings
        self._own = OwnAnswers(lm, problem.settings.keep_tokens)
        requests = merged(problem.requests)
        self.slices = max(1, round(len(requests) / _FACTS))
        self._parts = [self._of(requests[start :: self.slices], contexts) for start in range(self.slices)]
        self.steps = steps_for(self._settings.polish, len(requests)) * self.slices
        self._protected = self._others(problem, updates, solved)

    def at_requests(self, step: int) -> list[Part]:
        """Inside `written`: the parts of this step, read again when their time has come."""
        look, group = divmod(step, self.slices)
        again, turn = divmod(look, self._settings.turns)
        if self.slices > 1:  # much has changed when one comes again, and all of them are too much to keep
            return [part.read(self._lm) for part in self._parts[group][turn]]
        if again % max(1, _FRESH // self._settings.turns) == 0:
            self._parts[group][turn] = [part.read(self._lm) for part in self._parts[group][turn]]
        return self._parts[group][turn]

    def at_others(self, step: int) -> list[Part]:
        """Outside of `written`, for it is the base whose answers are to stay; not read yet."""
        if step % _AHEAD == 0:
            coming = (self._protected.at(ahead) for ahead in range(step, self.steps)[:_AHEAD])
            self._own.to([text.text for texts in coming for text in texts])
        rows = held_rows(self._protected.at(step), self._own)
        return parts(self._lm, weighed(rows, 1 / max(len(rows), 1)))

    def _of(self, requests: Sequence[EditRequest], contexts: Sequence[str]) -> list[list[Part]]:
        """By turn."""
        lm, turns = self._lm, self._settings.turns
        holding = [request for request in requests if request.keep and self._settings.kl]
        told = (weighed(rows, 1 / len(requests)) for rows in edit_rows(lm, requests, contexts, turns))
        kept = keep_rows(holding, turns, self._own)
        held = (weighed(rows, 1 / max(len(holding), 1)) for rows in kept)
        return [parts(lm, [*edits, *keeps]) for edits, keeps in zip(told, held, strict=True)]

    def _others(
        self, problem: Problem, updates: Mapping[int, LowRank], solved: Mapping[int, Tensor]
    ) -> Protected:
        """By what the solve made of them; none where nothing is to be held."""
        texts, facts = problem.preserve, len(problem.requests)
        if not texts or not self._settings.kl:
            return Protected((), facts, 0)
        far = moved(updates, problem.preserve_keys)[key_places(texts)]
        return Protected(ranked(self._lm, texts, far, solved, facts, self._own), facts, self._settings.seed)
