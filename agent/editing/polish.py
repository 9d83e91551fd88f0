"""The values once more, inside the weights: what a joint solve loses is found by looking at the whole.

A value vector is optimised as if its fact were alone and the solve exact. In the joint delta dW = L Rᵀ every fact's update also
moves the others a little. Here the right factors (which keys a fact answers to) stay as the algorithm chose them, and the left
factors (what it writes there) take a few Adam steps on the edited model itself, minimising

    mean over facts of [NLL(target) + kl * KL(keep prompts)]  +  kl * mean over protected prompts of KL

with both divergences against the base, by turns where `settings.turns` says so; the rate falls linearly to nothing. The rank stays one per fact and layer, and keys that the covariance and the preserve keys
keep a fact from touching stay untouched. (Ours: MEMIT's directions with ROME's objective, on all facts at once.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from agent.editing.delta import LowRank
from agent.editing.losses import divergence, labels_at_end, last_logp, target_nll
from agent.editing.settings import EditSettings
from agent.lm.arch import down_module
from agent.lm.load import LM
from agent.lm.tokens import Batch, encode_prompts, encode_target, pad_left
from agent.types import EditRequest

Tensor = torch.Tensor
Progress = Callable[[int, int], None]
_ROWS = 128


@dataclass(frozen=True, slots=True)
class _Row:
    """A text with its share in the loss. `target`: token ids that should follow; empty where the base's answer should stay."""

    text: str
    target: tuple[int, ...]
    weight: float


@dataclass(frozen=True, slots=True)
class _Part:
    """The rows of one forward pass, all edits or all keeps.

    `labels` (rows, width): the token wanted at each of the last columns, -100 elsewhere. `weight` (rows,). `before` (rows, vocab):
    the base's log-probabilities at the last column; empty for edits.
    """

    batch: Batch
    labels: Tensor
    weight: Tensor
    before: Tensor


def polish(
    lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str], updates: Mapping[int, LowRank],
    protected: Sequence[str], settings: EditSettings, progress: Progress | None = None,
) -> dict[int, LowRank]:  # fmt: skip
    """`updates` of the base in `lm`, by layer, after `settings.polish` steps; the model is left as it is.

    Column i of a left factor (d_out, facts) belongs to `requests[i]`. `protected`: prompts about other subjects.
    """
    device = lm.device
    edits, keeps = _edits(lm, requests, contexts), _keeps(requests, protected, settings.kl * settings.turns)
    always = _parts(lm, edits)
    turns = [always + _parts(lm, keeps[turn :: settings.turns]) for turn in range(settings.turns)]
    rights = {layer: update.right.to(device) for layer, update in updates.items()}
    starts = {layer: update.left.to(device) for layer, update in updates.items()}
    # Adam moves every entry by about its rate: in units of the column's size, so that a step is `polish_lr` of it.
    units = {
        layer: start.norm(dim=0, keepdim=True) / start.shape[0] ** 0.5 for layer, start in starts.items()
    }
    moves = {layer: torch.zeros_like(start, requires_grad=True) for layer, start in starts.items()}
    leaves = list(moves.values())
    optimiser = torch.optim.Adam(leaves, lr=settings.polish_lr)
    for step in range(settings.polish):
        # Towards nothing: the last steps would otherwise leave what they happened to look at last.
        optimiser.param_groups[0]["lr"] = settings.polish_lr * (1 - step / settings.polish)
        optimiser.zero_grad()
        for part in turns[step % settings.turns]:
            lefts = {layer: starts[layer] + moves[layer] * units[layer] for layer in starts}
            with _written(lm, lefts, rights):
                _loss(lm, part).backward(inputs=leaves)
        optimiser.step()
        if progress:
            progress(step + 1, settings.polish)
    return {
        layer: LowRank((starts[layer] + moves[layer].detach() * units[layer]).cpu(), updates[layer].right)
        for layer in starts
    }


@contextmanager
def _written(lm: LM, lefts: Mapping[int, Tensor], rights: Mapping[int, Tensor]) -> Iterator[None]:
    """The updates as differentiable additions to what the down projections give out."""

    def hook(layer: int) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]:
        def add(_module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            return output + ((args[0].float() @ rights[layer]) @ lefts[layer].T).to(output.dtype)

        return add

    with ExitStack() as stack:
        for layer in lefts:
            handle = down_module(lm.model, lm.arch, layer).register_forward_hook(hook(layer))
            stack.callback(handle.remove)
        yield


def _edits(lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str]) -> list[_Row]:
    rows = []
    for request in requests:
        target = tuple(encode_target(lm, request.target_new))
        texts = [context + prompt for prompt in request.prompts for context in contexts]
        rows += [_Row(text, target, 1 / len(texts) / len(requests)) for text in texts]
    return sorted(rows, key=_length)


def _keeps(requests: Sequence[EditRequest], protected: Sequence[str], kl: float) -> list[_Row]:
    if kl == 0:
        return []
    rows = [
        _Row(text, (), kl / len(request.keep) / len(requests))
        for request in requests
        for text in request.keep
    ]
    return sorted([*rows, *(_Row(text, (), kl / len(protected)) for text in protected)], key=_length)


def _length(row: _Row) -> tuple[int, str]:
    """Rows of one length stand together, so that little is padded."""
    return len(row.text), row.text


def _parts(lm: LM, rows: Sequence[_Row]) -> list[_Part]:
    return [_part(lm, rows[start : start + _ROWS]) for start in range(0, len(rows), _ROWS)]


def _part(lm: LM, rows: Sequence[_Row]) -> _Part:
    texts = encode_prompts(lm, [row.text for row in rows])
    batch = pad_left(lm, [[*ids, *row.target[:-1]] for ids, row in zip(texts, rows, strict=True)])
    before = torch.zeros(0, device=lm.device)
    if not rows[0].target:
        with torch.no_grad():
            before = last_logp(lm, batch, 1)[:, -1]
    weight = torch.tensor([row.weight for row in rows], device=lm.device)
    return _Part(batch, labels_at_end([row.target for row in rows], lm.device), weight, before)


def _loss(lm: LM, part: _Part) -> Tensor:
    """This part's share of the objective, a scalar."""
    logp = last_logp(lm, part.batch, part.labels.shape[1])
    rows = divergence(part.before, logp[:, -1]) if len(part.before) else target_nll(logp, part.labels)
    return (rows * part.weight).sum()
