"""Which token comes next: the likeliest, or one drawn by a row's own temperature, share and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True, slots=True)
class Sampling:
    """`temperature` 0 is greedy. `top_p`: only the likeliest tokens that together have this share. The same `seed`, the same draws."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


GREEDY = Sampling()


@dataclass(slots=True)
class Draw:
    """One row's choices, with a generator of its own: what else is in the batch has no part in them."""

    sampling: Sampling
    _generator: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._generator = torch.Generator(device="cpu").manual_seed(self.sampling.seed)

    def token(self, logits: torch.Tensor) -> int:
        """One of (vocab,) float32 logits on the CPU, by inverting the distribution at one random number."""
        scaled = (logits.double() - logits.max()) / self.sampling.temperature
        shares, ids = scaled.softmax(-1).sort(descending=True, stable=True)
        sums = shares.cumsum(-1)
        # The first that reaches top_p is the last that may be drawn.
        kept = int((sums < self.sampling.top_p * sums[-1]).sum()) + 1
        sums = sums[:kept]
        at = torch.rand((), generator=self._generator, dtype=torch.float64) * sums[-1]
        return int(ids[min(int((sums <= at).sum()), kept - 1)])


def next_tokens(logits: torch.Tensor, draws: Sequence[Draw]) -> list[int]:
    """(rows, vocab) logits in any dtype -> one token id for each row."""
    tokens: list[int] = logits.float().argmax(-1).tolist()
    for index, draw in enumerate(draws):
        if draw.sampling.temperature > 0:
            tokens[index] = draw.token(logits[index].float().cpu())
    return tokens
