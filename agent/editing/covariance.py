"""The uncentred covariance of keys, C = E[k kᵀ], per edited layer (ROME, section 3.1).

Accumulated in float64 over every token of some texts; all layers in one truncated pass. Without a corpus, the
model's own samples serve: what it says is what must not change. The cache file's name holds everything the
numbers depend on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from agent.editing.keys import by_row
from agent.errors import EditError
from agent.lm.arch import down_module
from agent.lm.generate import sample
from agent.lm.hooks import capture_all, truncated
from agent.lm.load import LM
from agent.lm.tokens import by_length, encode, pad_left

Tensor = torch.Tensor
Progress = Callable[[int, int], None]
_OPENINGS = ("The", "In", "A", "It", "For", "What", "Who", "According to")


def own_samples(lm: LM, count: int, tokens: int, seed: int) -> list[str]:
    """Texts the model writes when given nothing but a first word; deterministic in the seed."""
    openings = [_OPENINGS[i % len(_OPENINGS)] for i in range(count)]
    return sample(lm, openings, max_new_tokens=tokens, seed=seed)


def covariance(
    lm: LM,
    texts: Sequence[str],
    layers: Sequence[int],
    *,
    batch_rows: int = 64,
    progress: Progress | None = None,
) -> dict[int, Tensor]:
    """C per layer, (d_in, d_in) float64 on the CPU, over all tokens of `texts`. Symmetric and positive
    semi-definite.
    """
    layers = sorted(layers)
    downs = [down_module(lm.model, lm.arch, layer) for layer in layers]
    rows = [row for row in encode(lm, texts) if row]
    sums: dict[int, Tensor] = {}
    count = done = 0
    for indices in by_length([len(row) for row in rows], batch_rows):
        batch = pad_left(lm, [rows[i] for i in indices])
        with torch.inference_mode(), truncated(lm, layers[-1]), ExitStack() as stack:
            inputs = capture_all(downs, "input", stack)
            lm.model(**batch.model_inputs, use_cache=False, logits_to_keep=1)
        real = batch.attention_mask.bool()
        count += int(real.sum())
        for layer, seen in zip(layers, inputs, strict=True):
            keys = by_row(seen[0], batch)[real].double()
            product = (keys.T @ keys).cpu()
            sums[layer] = sums[layer] + product if layer in sums else product
        done += len(indices)
        if progress:
            progress(done, len(rows))
    return {layer: total / max(count, 1) for layer, total in sums.items()}


def cached_covariance(
    lm: LM, texts: Sequence[str], layers: Sequence[int], folder: Path, *, progress: Progress | None = None
) -> dict[int, Tensor]:
    """`covariance`, kept in `folder` under a name made of weights hash, texts hash, dtype and layers.

    Raises EditError when it cannot be written there.
    """
    path = folder / f"covariance-{_cache_key(lm, texts, layers)}.safetensors"
    if path.exists():
        with suppress(SafetensorError, OSError):  # cut short by a full disk or a power cut: computed again
            return {int(name): tensor for name, tensor in load_file(path).items()}
    found = covariance(lm, texts, layers, progress=progress)
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        save_file({str(layer): matrix for layer, matrix in found.items()}, partial)
    except SafetensorError as error:  # how safetensors tells of a full disk
        partial.unlink(missing_ok=True)
        raise EditError(
            f"{partial}: cannot be written ({error}); free some space on the disk and run it again"
        ) from error
    partial.rename(path)
    return found


def _cache_key(lm: LM, texts: Sequence[str], layers: Sequence[int]) -> str:
    corpus = hashlib.sha256("\0".join(texts).encode()).hexdigest()
    dtype = str(next(lm.model.parameters()).dtype)
    named = json.dumps([lm.sha, corpus, sorted(layers), dtype, str(lm.device.type)])
    return hashlib.sha256(named.encode()).hexdigest()[:24]
