"""The key statistics of all edited layers: C = E[k kᵀ], uncentred, of the down projections' inputs (ROME,
2202.05262, section 3.1), in one pass that ends at the last of these layers and makes no logits.

How much is read follows from what C is for. Updates are measured in its inverse, and C of rank less than
d_in has none: at least ten tokens a dimension. Whenever the tokens have doubled, keys that no sum has seen
are looked at in the norm kᵀ (C + ridge)⁻¹ k that ROME's and MEMIT's solves divide by. What it moved by since
half as many tokens is about what it would still move by with any number more (the error goes with 1/n); at a
tenth, that is less than anybody knows lambda by. A Frobenius distance would not do: it sees the few largest
directions, and those hardly enter the inverse.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from agent.editing.corpus import Row, Rows, folder_texts, own_rows, text_rows, upto
from agent.editing.moments import Moments, leverage
from agent.editing.npz import read_npz
from agent.editing.settings import EditSettings
from agent.editing.statfile import KeyStatistics, load_statistics, save_statistics
from agent.editing.sums import Checkpoint, Sums
from agent.errors import EditError
from agent.lm.arch import as_out_in, down_module
from agent.lm.hooks import capture_all, replaced_forward, truncated
from agent.lm.load import LM
from agent.lm.tokens import Batch, pad_left

Tensor = torch.Tensor
Progress = Callable[[int, int], None]
# Tokens a dimension: the first look, the least, the most.
_FIRST, _LEAST, _MOST = 5, 10, 40
_STEADY = 0.1
_HELD = 256
# Tokens of one forward pass, padding included: enough for a fast product, little enough for the memory.
_BATCH_TOKENS = 4096
# Of the numbers: raise it with every change that moves them.
_VERSION = 2


@dataclass(frozen=True, slots=True)
class Amount:
    """How many tokens to read: `least`, then on to `most` until the statistics are steady. None: all."""

    least: int
    most: int | None

    @property
    def open(self) -> bool:
        """Whether there is anything to decide on the way."""
        return self.most is not None and self.least < self.most


def statistics_for(
    lm: LM,
    layers: Sequence[int],
    settings: EditSettings,
    *,
    texts: Sequence[str] = (),
    folder: Path | None = None,
    progress: Progress | None = None,
) -> KeyStatistics:
    """The statistics that these settings ask for: of `settings.statistics` (files that are there), else measured on
    `texts`, on `settings.corpus`, or on the model's own samples.

    `folder` keeps what was measured, and what was summed when the run was killed. `progress(tokens, tokens
    wanted so far)`. Raises InputError for files and texts that cannot be read, EditError when `folder`
    cannot be written or the keys are not finite, ModelError for a layer that is not there.
    """
    if settings.statistics is not None:
        return read_npz(lm, layers, settings.statistics)
    d_in = max(as_out_in(down_module(lm.model, lm.arch, layer)).shape[1] for layer in layers)
    amount, chunk = _amount(settings, d_in), _FIRST * d_in
    if texts:
        rows = text_rows(lm, texts, chunk=chunk, most=amount.most)
    elif settings.corpus is not None:
        pieces = folder_texts(settings.corpus, settings.seed)
        rows = text_rows(lm, pieces, chunk=chunk, most=amount.most)
    else:
        count = 0 if settings.statistics_tokens else settings.samples
        rows = own_rows(lm, count, settings.sample_tokens, settings.seed, chunk=chunk)
        amount = replace(amount, most=None) if count else amount
    return key_statistics(lm, rows, layers, amount, folder=folder, progress=progress)


def _amount(settings: EditSettings, d_in: int) -> Amount:
    if settings.statistics_tokens:
        return Amount(settings.statistics_tokens, settings.statistics_tokens)
    return Amount(_LEAST * d_in, _MOST * d_in)


def key_statistics(
    lm: LM,
    rows: Rows,
    layers: Sequence[int],
    amount: Amount,
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
    save_every_s: float = 60.0,
) -> KeyStatistics:
    """C of every layer over the rows' tokens, padding left out; kept in `folder`, if there is one, under its key.

    A run that was killed goes on from its last checkpoint and ends in the same bits. Raises EditError.
    """
    layers = sorted(layers)
    key = _key(lm, rows, layers, amount)
    path = folder / f"statistics-{key}.safetensors" if folder else None
    if path is not None and (stored := load_statistics(path, key)) is not None:
        return stored
    checkpoint = Checkpoint(folder / f"sums-{key}.safetensors" if folder else None, save_every_s)
    sums = checkpoint.restore(_nothing_yet(lm, layers))
    _read(lm, rows, sums, amount, checkpoint, progress)
    found = _result(lm, key, sums)
    if path is not None:
        found = save_statistics(path, found)
    checkpoint.remove()
    return found


def _key(lm: LM, rows: Rows, layers: Sequence[int], amount: Amount) -> str:
    dtype = str(next(lm.model.parameters()).dtype)
    read = [amount.least, amount.most]
    named = json.dumps([_VERSION, lm.sha, rows.identity, read, list(layers), dtype, lm.device.type])
    return hashlib.sha256(named.encode()).hexdigest()[:32]


def _nothing_yet(lm: LM, layers: Sequence[int]) -> Sums:
    modules = {layer: down_module(lm.model, lm.arch, layer) for layer in layers}
    weights = {layer: as_out_in(module) for layer, module in modules.items()}
    return Sums({layer: Moments.zeros(w.shape[1], w.device) for layer, w in weights.items()})


def _read(
    lm: LM, rows: Rows, sums: Sums, amount: Amount, checkpoint: Checkpoint, progress: Progress | None
) -> None:
    """Chunk by chunk into `sums`, until it is enough or there is no more."""
    for chunk in rows.chunks(sums.chunk):
        begun = sums.chunk_began_at
        fitting = list(upto(chunk, None if amount.most is None else amount.most - begun))
        stride = _stride(fitting) if amount.open and sums.chunk == 0 else 0
        for indices in list(packed([len(row) for row in fitting], _BATCH_TOKENS))[sums.batch :]:
            keys = _keys(lm, pad_left(lm, [fitting[i] for i in indices]), list(sums.moments))
            sums.add(keys, stride)
            checkpoint.save_if_due(sums)
            if progress:
                progress(sums.tokens, _wanted(sums, amount, begun + sum(map(len, fitting))))
        sums.end_chunk()
        if amount.open and _steady(sums, amount):
            break
        if amount.most is not None and sums.tokens >= amount.most:
            break
    sums.close()


def _stride(rows: Sequence[Row]) -> int:
    """Every so many tokens of the first chunk are held out, to be looked at; at most an eighth of them."""
    return max(8, sum(map(len, rows)) // _HELD)


def _wanted(sums: Sums, amount: Amount, certain: int) -> int:
    """How many tokens will be read, as far as one knows."""
    if amount.most is None:
        return certain
    return min(amount.most, max(amount.least, certain, sums.next_look)) if amount.open else amount.most


def packed(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Indices in batches of about equal length, each of at most so many tokens with its padding (or one row)."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if batch and (len(batch) + 1) * lengths[index] > tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _keys(lm: LM, batch: Batch, layers: Sequence[int]) -> dict[int, Tensor]:
    """(tokens, d_in) by layer, the batch's real tokens only.

    The model's body alone is run: no logits; layers above the last one wanted do nothing, and its down
    projection, whose output nobody needs, neither.
    """
    downs = [down_module(lm.model, lm.arch, layer) for layer in layers]
    d_out = as_out_in(downs[-1]).shape[0]

    def nothing(keys: Tensor) -> Tensor:
        return keys.new_zeros(*keys.shape[:-1], d_out)

    with torch.inference_mode(), truncated(lm, layers[-1]), ExitStack() as stack:
        inputs = capture_all(downs, "input", stack)
        stack.enter_context(replaced_forward(downs[-1:], [nothing]))
        lm.model.base_model(**batch.model_inputs, use_cache=False)
    real = batch.attention_mask.bool().flatten()
    flat = [seen[0].flatten(0, -2) for seen in inputs]
    if not bool(real.all()):
        flat = [keys[real.to(keys.device)] for keys in flat]
    return dict(zip(layers, flat, strict=True))


def _steady(sums: Sums, amount: Amount) -> bool:
    """Whether the unseen keys' inverse norm moved by no more than `_STEADY` since the tokens were half as many.

    The mean relative change over the keys, of the layer where it is largest.
    """
    due = sums.next_look or _FIRST * max(moments.d_in for moments in sums.moments.values())
    if sums.tokens < due:
        return False
    summed = sums.tokens - sums.held_tokens
    norms = {
        layer: _where_it_fits(moments, summed, torch.cat(sums.held[layer]))
        for layer, moments in sums.moments.items()
    }
    if sums.norms:
        sums.change = max(float(((n - sums.norms[at]) / n).abs().mean()) for at, n in norms.items())
    sums.norms, sums.next_look = norms, int(1.9 * sums.tokens)
    return sums.change is not None and sums.change <= _STEADY and sums.tokens >= amount.least


def _where_it_fits(moments: Moments, tokens: int, held: Tensor) -> Tensor:
    """`leverage` where the sums stand, else on the CPU: two copies of C may be more than an accelerator has left."""
    try:
        return leverage(moments.mean(tokens, torch.float64), held)
    except torch.OutOfMemoryError:
        cpu = Moments([strip.cpu() for strip in moments.strips])
        return leverage(cpu.mean(tokens, torch.float64), held)


def _result(lm: LM, key: str, sums: Sums) -> KeyStatistics:
    """Raises EditError when there was no token, or a key that is not finite."""
    if not sums.tokens:
        raise EditError("the key statistics saw no token; raise editing.samples or give editing.corpus")
    matrices = {}
    for layer in list(sums.moments):
        # Let go of as it is read: of a large model sums and means together may not fit.
        matrices[layer] = sums.moments.pop(layer).mean(sums.tokens, torch.float32).cpu()
        if not bool(matrices[layer].isfinite().all()):
            raise EditError(
                f"layer {layer}: keys that are not finite in {next(lm.model.parameters()).dtype}; "
                "set model.dtype to bfloat16 or float32"
            )
    return KeyStatistics(key, sums.tokens, matrices, sums.change, None, _warning(matrices, sums))


def _warning(matrices: dict[int, Tensor], sums: Sums) -> str:
    d_in = max(len(matrix) for matrix in matrices.values())
    if sums.tokens < _LEAST * d_in:
        return f"{sums.tokens / d_in:.1f} tokens for each of {d_in} dimensions; {_LEAST} make C's rank sure"
    if sums.change is not None and sums.change > _STEADY:
        return f"not steady yet: {sums.change:.0%} change from half as many tokens"
    return ""
