"""Rows of a key-value cache that come and go: what lets an answer join a batch that is being written, and leave it.

All rows are padded on the left, so the newest token of each stands in the same, last column, and a layer with a sliding window
holds the same last columns of every row. Joining two batches is then padding the shorter one on the left.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import pad
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer


def is_joinable(cache: Any) -> bool:
    """Whether every layer keeps plain keys and values, and is not shared with another layer or recurrent."""
    kinds = (DynamicLayer, DynamicSlidingWindowLayer)
    return isinstance(cache, DynamicCache) and all(
        type(layer) in kinds and getattr(layer, "is_initialized", False) for layer in cache.layers
    )


def join(cache: Any, other: Any) -> None:
    """Put the rows of `other` behind those of `cache`, in place. Both are joinable and of one model."""
    for mine, theirs in zip(cache.layers, other.layers, strict=True):
        columns = max(mine.keys.shape[-2], theirs.keys.shape[-2])
        for name in ("keys", "values"):
            both = [_padded(getattr(layer, name), columns) for layer in (mine, theirs)]
            setattr(mine, name, torch.cat(both, 0))
        if isinstance(mine, DynamicSlidingWindowLayer):
            mine.cumulative_length = max(mine.cumulative_length, theirs.cumulative_length)


def keep(cache: Any, rows: torch.Tensor) -> None:
    """Leave only these rows (int64 indices), in place."""
    cache.batch_select_indices(rows)


def cut_left(cache: Any, columns: int) -> None:
    """Forget the first columns, in which no row has a token any more, in place."""
    for layer in cache.layers:
        left, held = columns, layer.keys.shape[-2]
        if isinstance(layer, DynamicSlidingWindowLayer):
            # The window may have forgotten some of them already.
            left = max(0, columns - (layer.cumulative_length - held))
            layer.cumulative_length -= columns
        layer.keys, layer.values = layer.keys[..., left:, :], layer.values[..., left:, :]


def _padded(tensor: torch.Tensor, columns: int) -> torch.Tensor:
    """(rows, heads, n, width) -> (rows, heads, columns, width), zeros on the left; the attention mask hides them."""
    return pad(tensor, (0, 0, columns - tensor.shape[-2], 0))
