"""What rows of prompts should say: a fact's new target, or what the unedited model says there.

Every optimisation of a push or of a written value weighs the same rows:

    mean over a fact's prompts and contexts of NLL(target)  +  kl * mean over its keep prompts of KL(before | now)

KL is that of a whole answer: the sum over the tokens of the unedited model's own (`agent.editing.own`) of the next token's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from agent.editing.keys import SubjectText
from agent.editing.losses import divergence, labelled, labels_at_end, target_nll
from agent.editing.own import OwnAnswers
from agent.lm.load import LM
from agent.lm.tokens import SubjectRows, encode_targets, subject_rows
from agent.types import EditRequest

Tensor = torch.Tensor
# How many of a fact's prompts a step looks at, at least: of fewer it would learn one by heart.
_PROMPTS = 2


@dataclass(frozen=True, slots=True)
class Row:
    """A text, the token ids that should follow it, whose request it is, its share in that request's mean. `held`: they are what the
    unedited model says, and how likely it finds them, and all others, should stay.
    """

    text: SubjectText
    target: tuple[int, ...]
    owner: int
    weight: float
    held: bool = False


def edit_rows(
    lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str], turns: int
) -> list[list[Row]]:
    """Prompts in every context, for each turn: of many prompts a few, so that all turns together have looked at every one."""
    parts: list[list[Row]] = [[] for _ in range(turns)]
    targets = encode_targets(lm, [request.target_new for request in requests])
    for owner, (request, ids) in enumerate(zip(requests, targets, strict=True)):
        target = tuple(ids)
        for turn, rows in enumerate(parts):
            texts = [c + prompt for prompt in _in_turn(request.prompts, turn, turns) for c in contexts]
            rows += [Row(SubjectText(text, request.subject), target, owner, 1 / len(texts)) for text in texts]
    return parts


def _in_turn(prompts: Sequence[str], turn: int, turns: int) -> Sequence[str]:
    size = max(_PROMPTS, -(-len(prompts) // turns))
    if len(prompts) <= size:
        return prompts
    return [prompts[(turn * size + i) % len(prompts)] for i in range(size)]


def keep_rows(requests: Sequence[EditRequest], turns: int, own: OwnAnswers) -> list[list[Row]]:
    """The keep prompts in `turns` parts, one for each turn; all turns together weigh `turns` times one request's mean."""
    parts: list[list[Row]] = [[] for _ in range(turns)]
    own.to([prompt for request in requests for prompt in request.keep])  # all at once
    for owner, request in enumerate(requests):
        weight = turns / max(len(request.keep), 1)
        for number, (prompt, said) in enumerate(zip(request.keep, own.to(request.keep), strict=True)):
            text = SubjectText(prompt, request.subject)
            parts[number % turns].append(Row(text, said, owner, weight, held=True))
    return parts


def held_rows(texts: Sequence[SubjectText], own: OwnAnswers) -> list[Row]:
    """A row for each text, whose answer should stay: its own request, of weight one."""
    answers = own.to([text.text for text in texts])
    return [
        Row(text, said, owner, 1.0, held=True)
        for owner, (text, said) in enumerate(zip(texts, answers, strict=True))
    ]


def weighed(rows: Sequence[Row], share: float) -> list[Row]:
    """The rows, each of `share` times its weight."""
    return [replace(row, weight=row.weight * share) for row in rows]


def encoded(lm: LM, rows: Sequence[Row]) -> SubjectRows:
    """The rows with their targets behind them, but for the last token, which is only predicted. Raises EditError for a text without
    its subject.
    """
    texts, subjects = [row.text.text for row in rows], [row.text.subject for row in rows]
    return subject_rows(lm, texts, subjects, [row.target[:-1] for row in rows])


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the rows of one forward pass should say.

    `owner` (rows,): the request. `weight` (rows,). `labels` (rows, width): the token wanted at each of the last columns, -100 elsewhere.
    `keep` (rows,) bool: the answer should stay; `before` (held tokens, vocab): the unedited model's log-probabilities there.
    """

    owner: Tensor
    weight: Tensor
    labels: Tensor
    keep: Tensor
    before: Tensor

    @property
    def places(self) -> Tensor:
        """(rows, width) bool: where among the last columns a token is wanted. Of other places nobody needs to know anything."""
        return labelled(self.labels)

    def nll(self, logp: Tensor) -> Tensor:
        """(edits,): weighted NLL, from log-probabilities (wanted tokens, vocab) at `places`, row by row."""
        edit = ~self.keep
        return target_nll(logp[edit[self._rows]], self.labels[edit]) * self.weight[edit]

    def moved(self, logp: Tensor) -> Tensor:
        """(keeps,): weighted divergence of each answer from what was said before, from log-probabilities as in `nll`."""
        rows = self._rows
        held = self.keep[rows]
        by_token = divergence(self.before, logp[held])
        return (torch.zeros_like(self.weight).index_add(0, rows[held], by_token) * self.weight)[self.keep]

    @property
    def _rows(self) -> Tensor:
        """(wanted tokens,): the row of each."""
        return self.places.nonzero()[:, 0]

    def pick(self, mask: Tensor) -> Wanted:
        """Of the rows where `mask` (rows,) is true."""
        rows = self._rows
        before = self.before[mask[rows[self.keep[rows]]]]
        return Wanted(self.owner[mask], self.weight[mask], self.labels[mask], self.keep[mask], before)


def wanted(lm: LM, rows: Sequence[Row], said: Callable[[Tensor], Tensor]) -> Wanted:
    """`said(places)`: the unedited model's log-probabilities (places, vocab) where `places` (rows, width) of the last columns are true, row
    by row; asked for held answers only.
    """
    labels = labels_at_end([row.target for row in rows], lm.device)
    keep = torch.tensor([row.held for row in rows], device=lm.device)
    before = torch.zeros(0, 1, device=lm.device)
    if bool(keep.any()):
        with torch.no_grad():
            before = said(labelled(labels) & keep[:, None])
    owner = torch.tensor([row.owner for row in rows], device=lm.device)
    weight = torch.tensor([row.weight for row in rows], device=lm.device)
    return Wanted(owner, weight, labels, keep, before)
