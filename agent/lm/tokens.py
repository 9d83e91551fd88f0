"""Prompts to tensors, left-padded, and where in them a subject ends.

Two kinds of text are told apart. Raw text (a corpus, own samples, text for perplexity) is encoded as it is: `encode`. A prompt is
something to be answered, and for a chat model it goes through the chat template: `encode_prompts`, `subject_rows`, `upto_subject`, and
`encode_target` for its answer. Without a template all of them treat a prompt as raw text.

A subject's position comes from character offsets over the whole text, never from tokenising pieces: how a
word splits depends on its neighbours. BOS and other special tokens are there once: the tokenizer's, or the template's.
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
    """Left-padded rows: `input_ids`, `attention_mask` (rows, length) int64. Positions count from a row's own
    start.
    """

    input_ids: Tensor
    attention_mask: Tensor

    @property
    def model_inputs(self) -> dict[str, Any]:
        positions = (self.attention_mask.cumsum(-1) - 1).clamp(min=0)
        return {"input_ids": self.input_ids, "attention_mask": self.attention_mask, "position_ids": positions}

    def plus(self, ids: Tensor) -> Batch:
        """The rows with more tokens behind them: `ids` (rows, n) int64."""
        ids = ids.to(self.input_ids.device)
        mask = torch.ones_like(ids)
        return Batch(torch.cat([self.input_ids, ids], 1), torch.cat([self.attention_mask, mask], 1))


@dataclass(frozen=True, slots=True)
class SubjectRows(Batch):
    """Rows that each contain a subject; `positions` (rows,) is the column of the subject's last token."""

    positions: Tensor


def pad_left(lm: LM, rows: Sequence[Sequence[int]]) -> Batch:
    """Token rows to one left-padded batch on the model's device."""
    length = max(map(len, rows))
    pad = pad_id(lm)
    ids = torch.tensor([[pad] * (length - len(row)) + list(row) for row in rows], device=lm.device)
    mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows], device=lm.device)
    return Batch(ids, mask)


def pad_id(lm: LM) -> int:
    """What fills a row up. The mask hides it, so a tokenizer with neither pad nor end token may use any."""
    return int(lm.tokenizer.pad_token_id or 0)


def encode(lm: LM, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each raw text, with the tokenizer's own special tokens in front where it has them."""
    return list(lm.tokenizer(list(texts))["input_ids"]) if texts else []


def encode_prompts(lm: LM, prompts: Sequence[str]) -> list[list[int]]:
    """Token ids of each prompt, up to where its answer begins: through the chat template where the model has one."""
    return list(_tokenised(lm, prompts)["input_ids"]) if prompts else []


def encode_target(lm: LM, target: str) -> list[int]:
    """Token ids of a prompt's answer, as they are behind the prompt: it starts with its space in plain text, and with whatever the
    template writes there in a chat. No special token stands before it.
    """
    return encode_targets(lm, [target])[0]


def encode_targets(lm: LM, targets: Sequence[str]) -> list[list[int]]:
    """`encode_target` of each, in one call of the tokenizer: a call costs more than to read a name."""
    names = list(dict.fromkeys(target.strip() for target in targets))
    before, lead = ("a", " ") if lm.chat is None else (lm.chat.after, lm.chat.lead)
    found = dict(zip(names, continuations(lm, before, [lead + name for name in names]), strict=True))
    return [list(found[target.strip()]) for target in targets]


def subject_rows(
    lm: LM, texts: Sequence[str], subjects: Sequence[str], tails: Sequence[Sequence[int]] | None = None
) -> SubjectRows:
    """Texts, each continued by token ids `tails[i]`, with the column where `subjects[i]` ends.

    Raises EditError when a text does not contain its subject.
    """
    encoded, ends = _located(lm, texts, subjects)
    rows = [[*ids, *(tails[i] if tails else ())] for i, ids in enumerate(encoded)]
    batch = pad_left(lm, rows)
    length = batch.input_ids.shape[1]
    columns = [length - len(row) + end for row, end in zip(rows, ends, strict=True)]
    return SubjectRows(batch.input_ids, batch.attention_mask, torch.tensor(columns, device=lm.device))


def upto_subject(lm: LM, texts: Sequence[str], subjects: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, cut after its subject's last token. Tokens are cut, not characters: how the
    subject's last word splits depends on what follows it. Raises EditError as `subject_rows` does.
    """
    encoded, ends = _located(lm, texts, subjects)
    return [ids[: end + 1] for ids, end in zip(encoded, ends, strict=True)]


def subject_end(text: str, subject: str) -> int:
    """Index of the character behind the subject's last occurrence in `text`: whole words before parts of
    words ("Niger" is not meant in "Nigeria"). Raises EditError when it does not occur.
    """
    part = -1
    start = text.rfind(subject) if subject else -1
    while start >= 0:
        end = start + len(subject)
        if not text[:start][-1:].isalnum() and not text[end : end + 1].isalnum():
            return end
        part = max(part, end)
        start = text.rfind(subject, 0, end - 1)
    if part < 0:
        raise EditError(
            f"the subject {subject!r} does not occur in the prompt {text!r}; write it there literally"
        )
    return part


def _located(lm: LM, texts: Sequence[str], subjects: Sequence[str]) -> tuple[list[list[int]], list[int]]:
    """Token ids of each text, and the index of its subject's last token."""
    if not texts:
        return [], []
    shift = 0
    if lm.chat is not None:
        texts, shift = [text.strip() for text in texts], len(lm.chat.before)
    characters = [
        shift + subject_end(text, subject) - 1 for text, subject in zip(texts, subjects, strict=True)
    ]
    encoded = _tokenised(lm, texts, return_offsets_mapping=True)
    ends = [
        _token_at(offsets, character, text)
        for offsets, character, text in zip(encoded["offset_mapping"], characters, texts, strict=True)
    ]
    return list(encoded["input_ids"]), ends


def _tokenised(lm: LM, prompts: Sequence[str], **options: Any) -> Any:
    """What the tokenizer makes of prompts. A rendered one holds its special tokens as text: none is added."""
    if lm.chat is None:
        return lm.tokenizer(list(prompts), **options)
    rendered = [lm.chat.rendered(prompt) for prompt in prompts]
    return lm.tokenizer(rendered, add_special_tokens=False, **options)


def continuation(lm: LM, before: str, text: str) -> list[int]:
    """Token ids of `text` where it follows `before`."""
    return continuations(lm, before, [text])[0]


def continuations(lm: LM, before: str, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text where it follows `before`. Some tokenizers put a space of their own before a text (Llama 2), so it is
    tokenised there, and alone only where the two share a token.
    """
    asked = [before, *(before + text for text in texts), *texts]
    head, *rest = lm.tokenizer(asked, add_special_tokens=False)["input_ids"]
    return [
        list(whole[len(head) :] if whole[: len(head)] == head else alone)
        for whole, alone in zip(rest[: len(texts)], rest[len(texts) :], strict=True)
    ]


def _token_at(offsets: Sequence[tuple[int, int]], character: int, text: str) -> int:
    """Index of the last token that covers a character: an accented letter may be several tokens."""
    for index in reversed(range(len(offsets))):
        if offsets[index][0] <= character < offsets[index][1]:
            return index
    raise EditError(f"no token covers character {character} of {text!r}; is this a fast tokenizer?")


def by_length(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Indices in batches of about equal length, so that little is padded; a function of the lengths alone."""
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
