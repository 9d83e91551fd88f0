"""Answers token by token, many at a time, each with its own end: continuous batching over one key-value cache.

    decoder = Decoder(lm)
    decoder.admit(rows)           # reads their prompts in one padded pass, writes the first token of each
    while decoder.rows:
        for row, text in decoder.step(): ...

A row that is finished leaves at once, a new one may be admitted between two steps. Greedy answers are those of
`agent.lm.generate.generate`. One thread at a time: the model is not asked whether others use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from agent.lm import kvcache
from agent.lm.detokenise import Detokeniser, StopStrings
from agent.lm.generate import end_tokens
from agent.lm.load import LM
from agent.lm.sampling import GREEDY, Draw, Sampling, next_tokens
from agent.lm.tokens import pad_left

Finish = Literal["stop", "length"]
Piece = tuple["Row", str]
_NEIGHBOURS = 4


@dataclass(frozen=True, slots=True)
class Wanted:
    """One answer to be written behind the token ids `prompt`.

    `begin`: token ids that the answer begins with; they count as its own. `stops`: strings that end it, and are not part of it.
    `stripped`: without white space before its first word.
    """

    prompt: tuple[int, ...]
    max_new_tokens: int
    sampling: Sampling = GREEDY
    stops: tuple[str, ...] = ()
    begin: tuple[int, ...] = ()
    stripped: bool = False


@dataclass(eq=False, slots=True)
class Row:
    """An answer in the making. `finish` says why it ended; `written` counts its tokens, the end token not among them."""

    wanted: Wanted
    detokeniser: Detokeniser
    filter: StopStrings
    draw: Draw
    written: int = 0
    finish: Finish | None = None
    last: int = 0

    @classmethod
    def of(cls, lm: LM, wanted: Wanted) -> Row:
        """Raises ValueError for an empty prompt, or when nothing may be written."""
        if not wanted.prompt or wanted.max_new_tokens < 1:
            raise ValueError("a row needs a token to begin behind, and one to write")
        detokeniser = Detokeniser(lm.tokenizer, wanted.prompt[-_NEIGHBOURS:])
        return cls(
            wanted, detokeniser, StopStrings(wanted.stops, stripped=wanted.stripped), Draw(wanted.sampling)
        )

    def take(self, token: int, ends: frozenset[int]) -> str:
        """Write one more token; returns the text that may be shown now, all that is left when it is the last."""
        self.last = token
        if token in ends:
            self.finish = "stop"
            return self._rest()
        self.written += 1
        text = self.filter.add(self.detokeniser.add(token))
        if self.filter.stopped:
            self.finish = "stop"
        elif self.written >= self.wanted.max_new_tokens:
            self.finish = "length"
            text += self._rest()
        return text

    def _rest(self) -> str:
        text = self.filter.add(self.detokeniser.rest()) + self.filter.rest()
        if self.filter.stopped:
            self.finish = "stop"
        return text


@dataclass(slots=True)
class Decoder:
    """The rows that are being written, and the model's memory of them. After any exception `clear` it."""

    lm: LM
    rows: list[Row] = field(default_factory=list)
    _cache: Any = None
    _mask: torch.Tensor | None = None
    _ends: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        self._ends = end_tokens(self.lm)

    @property
    def is_open(self) -> bool:
        """Whether rows may be admitted now: always, but for a model whose memory cannot be joined while it writes."""
        return not self.rows or kvcache.is_joinable(self._cache)

    def admit(self, rows: Sequence[Row]) -> list[Piece]:
        """Read the prompts of new rows, write the first token of each behind what it has to begin with: one piece for each row."""
        texts = {row: self._begin(row) for row in rows}
        fresh = [row for row in rows if row.finish is None]
        for row, text in self._join(fresh) if fresh else []:
            texts[row] += text
        return list(texts.items())

    def _join(self, fresh: Sequence[Row]) -> list[Piece]:
        batch = pad_left(self.lm, [[*row.wanted.prompt, *row.wanted.begin] for row in fresh])
        cache, logits = self._pass(batch.model_inputs, None)
        pieces = self._write(fresh, logits)
        if self.rows:
            kvcache.join(self._cache, cache)
            self._mask = torch.cat(_same_length(self._mask, batch.attention_mask), 0)
        else:
            self._cache, self._mask = cache, batch.attention_mask
        self.rows = [*self.rows, *fresh]
        self._let_go()
        return pieces

    def step(self) -> list[Piece]:
        """One more token for every row."""
        assert self._mask is not None
        last = torch.tensor([[row.last] for row in self.rows], device=self.lm.device)
        self._mask = torch.cat([self._mask, torch.ones_like(last)], 1)
        positions = self._mask.sum(-1, keepdim=True) - 1
        inputs = {"input_ids": last, "attention_mask": self._mask, "position_ids": positions}
        self._cache, logits = self._pass(inputs, self._cache)
        pieces = self._write(self.rows, logits)
        self._let_go()
        return pieces

    def drop(self, rows: Sequence[Row]) -> None:
        """Give up some rows: nobody waits for them any more."""
        for row in rows:
            row.finish = row.finish or "stop"
        self._let_go()

    def clear(self) -> None:
        """Forget all rows."""
        self.rows, self._cache, self._mask = [], None, None

    def _begin(self, row: Row) -> str:
        text = ""
        for token in row.wanted.begin:
            if row.finish is None:
                text += row.take(token, frozenset())
        return text

    def _pass(self, inputs: dict[str, torch.Tensor], cache: Any) -> tuple[Any, torch.Tensor]:
        """The model's memory after these columns, and (rows, vocab) logits behind the last."""
        with torch.inference_mode():
            out = self.lm.model(**inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return out.past_key_values, out.logits[:, -1]

    def _write(self, rows: Sequence[Row], logits: torch.Tensor) -> list[Piece]:
        tokens = next_tokens(logits, [row.draw for row in rows])
        return [(row, row.take(token, self._ends)) for row, token in zip(rows, tokens, strict=True)]

    def _let_go(self) -> None:
        """Finished rows leave, and with them the columns that only they had."""
        going_on = [index for index, row in enumerate(self.rows) if row.finish is None]
        if len(going_on) == len(self.rows):
            return
        if not going_on:
            self.clear()
            return
        assert self._mask is not None
        with torch.inference_mode():
            chosen = torch.tensor(going_on, device=self._mask.device)
            kvcache.keep(self._cache, chosen)
            self._mask = self._mask[chosen]
            unused = int(self._mask.any(0).int().argmax())
            if unused and kvcache.is_joinable(self._cache):
                kvcache.cut_left(self._cache, unused)
                self._mask = self._mask[:, unused:]
        self.rows = [self.rows[index] for index in going_on]


def _same_length(*masks: torch.Tensor | None) -> list[torch.Tensor]:
    """(rows, n) masks of any lengths, padded on the left to the longest."""
    known = [mask for mask in masks if mask is not None]
    length = max(mask.shape[1] for mask in known)
    return [torch.nn.functional.pad(mask, (length - mask.shape[1], 0)) for mask in known]


def context_of(lm: LM, default: int = 2048) -> int:
    """How many tokens the model can look back on; `default` for a family that sets itself no limit (ALiBi)."""
    config = lm.model.config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
        found = getattr(config, name, None)
        if isinstance(found, int) and found > 0:
            return found
    return default
