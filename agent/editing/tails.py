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
from agent.lm.hooks import capture, resumed_at, truncated
from agent.lm.load import LM
from agent.lm.tokens import SubjectRows

Tensor = torch.Tensor
# Rows whose tails are about equally long run together; a row's own tail is at least 1 / _SPREAD of the group's.
_SPREAD = 1.5
# What the activations of one backward pass may take: this share of the weights, and on a small model this many bytes.
_BUDGET_SHARE, _BUDGET_BYTES = 0.08, 512 << 20


@dataclass(frozen=True, slots=True)
class Tails:
    """Rows cut before the earliest of their subjects' last tokens.

    `inputs`: input_ids and position_ids (rows, tail), attention_mask (rows, prefix + tail). `positions` (rows,): the column of
    the tail at which a row's subject ends. `states` (rows, tail, d_model): the output of layer `layer` in the unedited model.
    `prefix`: the keys and values of the columns before, None where there are none.
    """

    layer: int
    inputs: dict[str, Tensor]
    positions: Tensor
    states: Tensor
    prefix: Any

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def at_subject(self) -> Tensor:
        """(rows, d_model): the states at the subjects' last tokens."""
        return self.states[torch.arange(len(self)), self.positions]

    def logp(self, lm: LM, push: Tensor | None, width: int) -> Tensor:
        """(rows, width, vocab) float32 log-probabilities at the last `width` columns, with `push` (rows, d_model) added at the
        subjects' last tokens; differentiable in it.
        """

        def pushed() -> Tensor:
            if push is None:
                return self.states
            rows = torch.arange(len(self), device=self.states.device)
            return self.states.index_put((rows, self.positions), push.to(self.states.dtype), accumulate=True)

        with resumed_at(lm, self.layer, pushed):
            logits: Tensor = lm.model(**self._arguments(), logits_to_keep=width).logits
        return logits.float().log_softmax(-1)

    def pick(self, mask: Tensor) -> Tails:
        """The rows where `mask` (rows,) is true."""
        inputs = {name: tensor[mask] for name, tensor in self.inputs.items()}
        prefix = _fresh(self.prefix)
        if prefix is not None:
            prefix.batch_select_indices(mask.nonzero()[:, 0])
            prefix = _only_lengths_below(prefix, self.layer)
        return Tails(self.layer, inputs, self.positions[mask], self.states[mask], prefix)

    def _arguments(self) -> dict[str, Any]:
        return {**self.inputs, "past_key_values": _fresh(self.prefix), "use_cache": self.prefix is not None}


def tails(lm: LM, rows: SubjectRows, layer: int) -> Tails:
    """The tails of some rows and what stands before them, from one pass of the unedited model."""
    start = int(rows.positions.min())
    whole = rows.model_inputs
    head = {name: tensor[:, :start] for name, tensor in whole.items()}
    rest = {
        name: tensor if name == "attention_mask" else tensor[:, start:] for name, tensor in whole.items()
    }
    with torch.no_grad():
        prefix = lm.model(**head, use_cache=True, logits_to_keep=1).past_key_values if start else None
        found = Tails(layer, rest, rows.positions - start, torch.zeros(0), prefix)
        top = decoder_layers(lm.model, lm.arch)[layer]
        with truncated(lm, layer), capture(top, "output") as seen:
            lm.model(**found._arguments(), logits_to_keep=1)
    return Tails(layer, rest, found.positions, seen[0], _only_lengths_below(prefix, layer))


def by_tail(lm: LM, rows: SubjectRows, most_rows: int, layer: int) -> Iterator[list[int]]:
    """Indices of rows in groups of about equal tails.

    A group's activations fit the budget, so that memory does not grow with the number of facts.
    """
    ends = (rows.input_ids.shape[1] - rows.positions).tolist()
    order = sorted(range(len(ends)), key=lambda i: (ends[i], i))
    tokens = _tokens_at_once(lm, layer)
    group: list[int] = []
    for index in order:
        full = len(group) >= most_rows or (len(group) + 1) * ends[index] > tokens
        if group and (full or ends[index] > _SPREAD * ends[group[0]]):
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


def _tokens_at_once(lm: LM, layer: int) -> int:
    """How many tokens may take part in one backward pass through the layers above `layer`.

    What autograd keeps of a token is about eight vectors of d_model and four of d_in in every layer, and its logits three times.
    """
    weights = list(lm.model.parameters())
    d_out, d_in = as_out_in(down_module(lm.model, lm.arch, layer)).shape
    above = lm.n_layers - layer - 1
    token = above * (8 * d_out + 4 * d_in) * weights[0].element_size() + 3 * 4 * int(lm.model.config.vocab_size)
    budget = max(_BUDGET_BYTES, _BUDGET_SHARE * sum(w.numel() * w.element_size() for w in weights))
    return max(1, int(budget / token))


def _fresh(cache: Any) -> Any:
    """A cache that may be added to while the first one stays: its tensors are shared, for they are never written in place."""
    if cache is None:
        return None
    mine = copy.copy(cache)
    mine.layers = [copy.copy(layer) for layer in cache.layers]
    return mine


def _only_lengths_below(cache: Any, layer: int) -> Any:
    """The cache without the numbers of layers up to `layer`, which no step runs: only their length is asked for."""
    if cache is not None:
        for kept in cache.layers[: layer + 1]:
            # A view that stores one number for all of them.
            kept.keys = kept.keys.new_zeros(1, 1, 1, 1).expand(kept.keys.shape)
            kept.values = kept.values.new_zeros(1, 1, 1, 1).expand(kept.values.shape)
    return cache
