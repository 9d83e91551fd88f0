"""Rows from a subject's last token on: all that a push there can change, and all that a step needs to run.

What stands before the subject's last token cannot see it (a causal model), so its keys and values in every layer are computed
once and kept; so are the states below the edited layer. A step then runs the layers above on the few columns behind. The peers
run the whole prompt through the whole model each time.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from agent.lm.arch import as_out_in, decoder_layers, down_module
from agent.lm.hooks import capture, edit_input, resumed_at, truncated
from agent.lm.load import LM
from agent.lm.tokens import SubjectRows

Tensor = torch.Tensor
# Rows whose tails are about equally long run together; a row's own tail is at least 1 / _SPREAD of the group's.
_SPREAD = 1.5
# Multiply-adds of a pass that costs less than to start it: rows of so few go together, whatever their lengths.
_SMALL = {"cpu": 1e9, "cuda": 1e12}
# A row with a context before it has about so many tokens.
_ROW_TOKENS = 24
# What the activations of one backward pass may take: this share of the weights, and on a small model this many bytes.
_BUDGET_SHARE, _BUDGET_BYTES = 0.08, 512 << 20


@dataclass(frozen=True, slots=True)
class Split:
    """Rows cut in two before the earliest of their subjects' last tokens.

    `head`, `rest`: input_ids and position_ids (rows, columns) of either part; attention_mask, in `rest` of the whole row. `head` is
    None where nothing stands before. `positions` (rows,): the column of the rest at which a row's subject ends.
    """

    head: dict[str, Tensor] | None
    rest: dict[str, Tensor]
    positions: Tensor

    def __len__(self) -> int:
        return len(self.positions)

    def read_head(self, lm: LM) -> Any:
        """The keys and values of the head in every layer; None where there is no head."""
        if self.head is None:
            return None
        with torch.no_grad():
            return lm.model.base_model(**self.head, use_cache=True).past_key_values

    def pick(self, mask: Tensor) -> Split:
        """The rows where `mask` (rows,) is true."""
        head, rest = (
            {name: tensor[mask] for name, tensor in part.items()} if part else None
            for part in (self.head, self.rest)
        )
        return Split(head, rest or {}, self.positions[mask])


def split(rows: SubjectRows) -> Split:
    start = int(rows.positions.min())
    whole = rows.model_inputs
    head = {name: tensor[:, :start] for name, tensor in whole.items()} if start else None
    rest = {name: tensor if name == "attention_mask" else tensor[:, start:] for name, tensor in whole.items()}
    return Split(head, rest, rows.positions - start)


def tail_logp(lm: LM, rows: Split, head: Any, places: Tensor) -> Tensor:
    """(places, vocab) float32 log-probabilities where `places` (rows, width) of the last columns are true, row by row; `head` from
    `read_head` stays as it is.

    The head of the language model runs for those only: with many words it costs as much as several layers.
    """

    def wanted(states: Tensor) -> Tensor:
        return states[:, -places.shape[1] :][places][None]

    with edit_input(lm.model.get_output_embeddings(), wanted):
        logits: Tensor = lm.model(**_inputs(rows, head), logits_to_keep=places.shape[1]).logits
    return logits.reshape(-1, logits.shape[-1]).float().log_softmax(-1)


def _inputs(rows: Split, head: Any) -> dict[str, Any]:
    return {**rows.rest, "past_key_values": _fresh(head), "use_cache": head is not None}


@dataclass(frozen=True, slots=True)
class Tails:
    """Rows with what a push at the output of `layer` leaves as it is: `states` (rows, tail, d_model), that output in the unedited
    model, and the keys and values of the `head`.
    """

    layer: int
    rows: Split
    states: Tensor
    head: Any

    def __len__(self) -> int:
        return len(self.rows)

    def logp(self, lm: LM, push: Tensor | None, places: Tensor) -> Tensor:
        """`tail_logp` with `push` (rows, d_model) added at the subjects' last tokens; differentiable in it."""

        def pushed() -> Tensor:
            if push is None:
                return self.states
            at = (torch.arange(len(self), device=self.states.device), self.rows.positions)
            return self.states.index_put(at, push.to(self.states.dtype), accumulate=True)

        if self.layer < 0:
            return tail_logp(lm, self.rows, self.head, places)
        with resumed_at(lm, self.layer, pushed):
            return tail_logp(lm, self.rows, self.head, places)

    def pick(self, mask: Tensor) -> Tails:
        """The rows where `mask` (rows,) is true."""
        head = _fresh(self.head)
        if head is not None:
            head.batch_select_indices(mask.nonzero()[:, 0])
            _only_lengths_below(head, self.layer)
        return Tails(
            self.layer, self.rows.pick(mask), self.states[mask] if len(self.states) else self.states, head
        )


def tails(lm: LM, rows: SubjectRows, layer: int) -> Tails:
    """The tails of some rows and what stands before them, from one pass of the unedited model. Layer -1: the embeddings; there no
    push can be put in.
    """
    cut = split(rows)
    head = cut.read_head(lm)
    if layer < 0:
        return Tails(layer, cut, torch.zeros(0), head)
    top = decoder_layers(lm.model, lm.arch)[layer]
    with torch.no_grad(), truncated(lm, layer), capture(top, "output") as seen:
        lm.model.base_model(**_inputs(cut, head))
    _only_lengths_below(head, layer)
    return Tails(layer, cut, seen[0], head)


def by_tail(lm: LM, rows: SubjectRows, most_rows: int, layer: int) -> Iterator[list[int]]:
    """Indices of rows in groups of about equal tails, or of few tokens, for passes through the layers above `layer` (-1: all of them).

    A group's activations fit the budget, so that memory does not grow with the number of facts.
    """
    ends = (rows.input_ids.shape[1] - rows.positions).tolist()
    order = sorted(range(len(ends)), key=lambda i: (ends[i], i))
    most, few = _tokens_at_once(lm, layer), _tokens_of_little(lm, layer)
    group: list[int] = []
    for index in order:
        tokens = (len(group) + 1) * ends[index]
        full = len(group) >= most_rows or tokens > most
        if group and (full or (ends[index] > _SPREAD * ends[group[0]] and tokens > few)):
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def picked(rows: SubjectRows, indices: Sequence[int]) -> SubjectRows:
    """Some of the rows, without the columns that are padding in all of them."""
    mask = rows.attention_mask[list(indices)]
    start = int(mask.any(0).int().argmax())
    return SubjectRows(
        rows.input_ids[list(indices)][:, start:], mask[:, start:], rows.positions[list(indices)] - start
    )


def budget(lm: LM) -> float:
    """Bytes that an optimisation may take for its rows, and again for a step's activations."""
    return max(
        _BUDGET_BYTES, _BUDGET_SHARE * sum(w.numel() * w.element_size() for w in lm.model.parameters())
    )


def kept_by_row(lm: LM, held: int) -> float:
    """Bytes that a row keeps between two steps, about: keys and values of its head in every layer, states of its tail, logits of `held` tokens."""
    config = lm.model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    size = next(lm.model.parameters()).element_size()
    by_token = 2 * lm.n_layers * heads * width + int(config.hidden_size)
    return float(_ROW_TOKENS * by_token * size + 4 * held * _vocabulary(lm))


def _tokens_at_once(lm: LM, layer: int) -> int:
    """How many tokens may take part in one backward pass through the layers above `layer`.

    What autograd keeps of a token is about eight vectors of d_model and four of d_in in every layer, and its logits three times.
    """
    d_out, d_in = as_out_in(down_module(lm.model, lm.arch, max(layer, 0))).shape
    size = next(lm.model.parameters()).element_size()
    token = (lm.n_layers - layer - 1) * (8 * d_out + 4 * d_in) * size + 3 * 4 * _vocabulary(lm)
    return max(1, int(budget(lm) / token))


def _tokens_of_little(lm: LM, layer: int) -> float:
    """How many tokens the layers above `layer` run in less time than it takes to start them."""
    above = sum(w.numel() for top in decoder_layers(lm.model, lm.arch)[layer + 1 :] for w in top.parameters())
    return _SMALL.get(lm.device.type, 0.0) / max(above, 1)


def _vocabulary(lm: LM) -> int:
    return len(lm.model.get_output_embeddings().weight)


def _fresh(cache: Any) -> Any:
    """A cache that may be added to while the first one stays: its tensors are shared, for they are never written in place."""
    if cache is None:
        return None
    mine = copy.copy(cache)
    mine.layers = [copy.copy(layer) for layer in cache.layers]
    return mine


def _only_lengths_below(cache: Any, layer: int) -> None:
    """Lets go of the numbers of layers up to `layer`, which no step runs: only their length is asked for."""
    for kept in cache.layers[: layer + 1] if cache is not None else ():
        # Views that store one number for all of them.
        kept.keys = kept.keys.new_zeros(1, 1, 1, 1).expand(kept.keys.shape)
        kept.values = kept.values.new_zeros(1, 1, 1, 1).expand(kept.values.shape)
