"""What a run over the texts has summed so far, in memory and on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from agent.editing.moments import Moments
from agent.editing.statfile import load_tensors, save_tensors
from agent.faults import step

Tensor = torch.Tensor
# Saving takes at most one part in so many of the time: the sums of a 7B model are gigabytes.
_SHARE = 20


@dataclass(slots=True)
class Sums:
    """Moments by layer and where in the texts they stand: `batch` batches of chunk `chunk` are in them.

    `held` are keys of the first chunk that no sum has seen until `close`, float32; `norms` their inverse
    norms at the last look, (held,) float64, `change` what had moved then, `next_look` at how many tokens the
    next one is. `tokens` counts all keys, `held_tokens` those held.
    """

    moments: dict[int, Moments]
    held: dict[int, list[Tensor]] = field(default_factory=dict)
    norms: dict[int, Tensor] = field(default_factory=dict)
    chunk: int = 0
    batch: int = 0
    tokens: int = 0
    held_tokens: int = 0
    chunk_began_at: int = 0
    next_look: int = 0
    change: float | None = None

    def add(self, keys: Mapping[int, Tensor], stride: int) -> None:
        """One batch's keys (tokens, d_in) by layer. Of every `stride` tokens the first is held out; 0: none."""
        count = len(next(iter(keys.values())))
        held = torch.arange(count) % stride == 0 if stride else torch.zeros(count, dtype=torch.bool)
        for layer, k in keys.items():
            if stride:
                self.held.setdefault(layer, []).append(k[held.to(k.device)].float().cpu())
                k = k[~held.to(k.device)]
            self.moments[layer].add(k)
        self.tokens += count
        self.held_tokens += int(held.sum())
        self.batch += 1

    def end_chunk(self) -> None:
        self.chunk, self.batch, self.chunk_began_at = self.chunk + 1, 0, self.tokens

    def close(self) -> None:
        """What was held out is part of the whole."""
        for layer, keys in self.held.items():
            self.moments[layer].add(torch.cat(keys).to(self.moments[layer].strips[0].device))
        self.held, self.held_tokens = {}, 0


_COUNTERS = ("chunk", "batch", "tokens", "held_tokens", "chunk_began_at", "next_look", "change")


@dataclass(slots=True)
class Checkpoint:
    """The file that keeps the sums of a run (None: nothing is kept), written at most every `every_s` seconds;
    with 0 after every batch.
    """

    path: Path | None
    every_s: float
    clock: Callable[[], float] = time.monotonic
    _due_at_s: float | None = None

    def save_if_due(self, sums: Sums) -> None:
        """Raises EditError when the disk is full."""
        if self.path is None:
            return
        now_s = self.clock()
        if self._due_at_s is None:
            self._due_at_s = now_s + self.every_s
        if now_s < self._due_at_s:
            return
        tensors = {name: tensor.cpu().contiguous() for name, tensor in _named(sums)}
        save_tensors(self.path, tensors, {name: getattr(sums, name) for name in _COUNTERS})
        saved_s = self.clock()
        self._due_at_s = saved_s + max(self.every_s, _SHARE * (saved_s - now_s)) if self.every_s else saved_s

    def restore(self, fresh: Sums) -> Sums:
        """The sums of the run that was killed, on the devices of `fresh`; `fresh` itself where there is none."""
        found = load_tensors(self.path) if self.path is not None else None
        if found is None:
            return fresh
        tensors, record = found
        for layer, moments in fresh.moments.items():
            for index, strip in enumerate(moments.strips):
                strip.copy_(tensors[f"strip/{layer}/{index}"])
            if f"held/{layer}" in tensors:
                fresh.held[layer] = [tensors[f"held/{layer}"]]
            if f"norms/{layer}" in tensors:
                fresh.norms[layer] = tensors[f"norms/{layer}"]
        for name in _COUNTERS:
            setattr(fresh, name, record[name])
        return fresh

    def remove(self) -> None:
        if self.path is not None:
            with step("statistics", "unlink"):
                self.path.unlink(missing_ok=True)


def _named(sums: Sums) -> Iterator[tuple[str, Tensor]]:
    for layer, moments in sums.moments.items():
        for index, strip in enumerate(moments.strips):
            yield f"strip/{layer}/{index}", strip
        if layer in sums.held:
            yield f"held/{layer}", torch.cat(sums.held[layer])
        if layer in sums.norms:
            yield f"norms/{layer}", sums.norms[layer]
