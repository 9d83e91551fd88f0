"""Prompts to tensors, left-padded, and where in them a subject ends.

A subject's position comes from character offsets over the whole text, never from tokenising pieces: how a word splits depends on
its neighbours. BOS and other special tokens are whatever the tokenizer adds, once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from agent.errors import EditError
from agent.lm.load import LM

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Left-padded rows: `input_ids` and `attention_mask` (rows, length) int64; positions count from each row's first token."""

    input_ids: Tensor
    attention_mask: Tensor

    @property
    def model_inputs(self) -> dict[str, Any]:
        positions = (self.attention_mask.cumsum(-1) - 1).clamp(min=0)
        return {"input_ids": self.input_ids, "attention_mask": self.attention_mask, "position_ids": positions}


@dataclass(frozen=True, slots=True)
class SubjectRows(Batch):
    """Rows of which each contains a subject; `positions` (rows,) is the column of the subject's last token."""

    positions: Tensor


def pad_left(lm: LM, rows: Sequence[Sequence[int]]) -> Batch:
    """Token rows to one left-padded batch on the model's device."""
    length = max(map(len, rows))
    pad = int(lm.tokenizer.pad_token_id)
    ids = torch.tensor([[pad] * (length - len(row)) + list(row) for row in rows], device=lm.device)
    mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows], device=lm.device)
    return Batch(ids, mask)


def encode(lm: LM, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, with the tokenizer's own special tokens in front where it has them."""
    return list(lm.tokenizer(list(texts))["input_ids"])


def encode_target(lm: LM, target: str) -> list[int]:
    """Token ids of a continuation: it starts with its space, and no special token stands before it."""
    return list(lm.tokenizer(" " + target.strip(), add_special_tokens=False)["input_ids"])


def subject_rows(lm: LM, texts: Sequence[str], subjects: Sequence[str], tails: Sequence[Sequence[int]] | None = None) -> SubjectRows:
    """Texts, each continued by token ids `tails[i]`, with the column where `subjects[i]` (its last occurrence) ends.

    Raises EditError when a text does not contain its subject.
    """
    encoded = lm.tokenizer(list(texts), return_offsets_mapping=True)
    rows, ends = [], []
    for i, (text, subject) in enumerate(zip(texts, subjects, strict=True)):
        rows.append([*encoded["input_ids"][i], *(tails[i] if tails else ())])
        ends.append(_subject_end(text, subject, encoded["offset_mapping"][i]))
    batch = pad_left(lm, rows)
    length = batch.input_ids.shape[1]
    columns = [length - len(row) + end for row, end in zip(rows, ends, strict=True)]
    return SubjectRows(batch.input_ids, batch.attention_mask, torch.tensor(columns, device=lm.device))


def _subject_end(text: str, subject: str, offsets: Sequence[tuple[int, int]]) -> int:
    start = text.rfind(subject) if subject else -1
    if start < 0:
        raise EditError(f"the subject {subject!r} does not occur in the prompt {text!r}; write it there literally")
    last = start + len(subject) - 1
    for index in reversed(range(len(offsets))):
        if offsets[index][0] <= last < offsets[index][1]:
            return index
    raise EditError(f"no token covers the end of the subject {subject!r} in {text!r}; is this a fast tokenizer?")


def by_length(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Indices in batches of about equal length, so that little is padded; the order is a function of the lengths alone."""
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
