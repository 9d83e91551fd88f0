"""What rows of prompts should say: a fact's new target, or what the unedited model says there.

Every optimisation of a push or of a written value weighs the same rows:

    mean over a fact's prompts and contexts of NLL(target)  +  kl * mean over its keep prompts of KL(before | now)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from agent.editing.keys import SubjectText
from agent.editing.losses import divergence, labels_at_end, target_nll
from agent.lm.load import LM
from agent.lm.tokens import SubjectRows, encode_target, subject_rows
from agent.types import EditRequest

Tensor = torch.Tensor
# How many of a fact's prompts a step looks at, at least: of fewer it would learn one by heart.
_PROMPTS = 2


@dataclass(frozen=True, slots=True)
class Row:
    """A text, what should follow it (token ids; empty where the model's own answer should stay), whose request it is, its share in
    that request's mean.
    """

    text: SubjectText
    target: tuple[int, ...]
    owner: int
    weight: float


def edit_rows(
    lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str], turns: int
) -> list[list[Row]]:
    """Prompts in every context, for each turn: of many prompts a few, so that all turns together have looked at every one."""
    parts: list[list[Row]] = [[] for _ in range(turns)]
    for owner, request in enumerate(requests):
        target = tuple(encode_target(lm, request.target_new))
        for turn, rows in enumerate(parts):
            texts = [c + prompt for prompt in _in_turn(request.prompts, turn, turns) for c in contexts]
            rows += [Row(SubjectText(text, request.subject), target, owner, 1 / len(texts)) for text in texts]
    return parts


def _in_turn(prompts: Sequence[str], turn: int, turns: int) -> Sequence[str]:
    size = max(_PROMPTS, -(-len(prompts) // turns))
    if len(prompts) <= size:
        return prompts
    return [prompts[(turn * size + i) % len(prompts)] for i in range(size)]


def keep_rows(requests: Sequence[EditRequest], turns: int) -> list[list[Row]]:
    """The keep prompts in `turns` parts, one for each turn; all turns together weigh `turns` times one request's mean."""
    parts: list[list[Row]] = [[] for _ in range(turns)]
    for owner, request in enumerate(requests):
        for number, prompt in enumerate(request.keep):
            row = Row(SubjectText(prompt, request.subject), (), owner, turns / len(request.keep))
            parts[number % turns].append(row)
    return parts


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
    `keep` (rows,) bool: nothing is wanted, the answer should stay; `before` (keeps, vocab): what these rows' last column said in the
    unedited model.
    """

    owner: Tensor
    weight: Tensor
    labels: Tensor
    keep: Tensor
    before: Tensor

    @property
    def width(self) -> int:
        """How many of the last columns are looked at."""
        return self.labels.shape[1]

    def nll(self, logp: Tensor) -> Tensor:
        """(edits,): weighted NLL, from log-probabilities (rows, width, vocab)."""
        edit = ~self.keep
        return target_nll(logp[edit], self.labels[edit]) * self.weight[edit]

    def moved(self, logp: Tensor) -> Tensor:
        """(keeps,): weighted divergence from what was said before."""
        return divergence(self.before, logp[self.keep, -1]) * self.weight[self.keep]

    def pick(self, mask: Tensor) -> Wanted:
        """Of the rows where `mask` (rows,) is true."""
        return Wanted(
            self.owner[mask], self.weight[mask], self.labels[mask], self.keep[mask], self.before[mask[self.keep]]
        )  # fmt: skip


def wanted(lm: LM, rows: Sequence[Row], said: Callable[[], Tensor]) -> Wanted:
    """`said()`: the unedited model's log-probabilities at the last column (rows, vocab); not asked where every row has a target."""
    keep = torch.tensor([not row.target for row in rows], device=lm.device)
    before = torch.zeros(0, 1, device=lm.device)
    if bool(keep.any()):
        with torch.no_grad():
            before = said()[keep]
    owner = torch.tensor([row.owner for row in rows], device=lm.device)
    weight = torch.tensor([row.weight for row in rows], device=lm.device)
    return Wanted(owner, weight, labels_at_end([row.target for row in rows], lm.device), keep, before)
