"""What an algorithm is given and what it gives back. One algorithm is one file beside this one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch

from agent.editing.delta import LowRank
from agent.editing.factors import Factors
from agent.editing.keys import SubjectText
from agent.editing.settings import EditSettings
from agent.lm.load import LM
from agent.types import EditRequest

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True)
class Problem:
    """Everything a solve needs.

    `values` (requests, d_model) float32: push at the output of `layers[-1]` where the request's subject ends, for all facts of
    that subject together; (requests, 0) for an algorithm that reads none. `rows` are all prompts in all contexts, `owner` (rows,) the
    request of each. `factors` of the layers' key covariances, of none for an algorithm that reads none. `preserve` are texts whose
    subject keys must not move; `preserve_keys` those keys K0 by layer, each once (`one_per_key`), (keys, d_in); no layer where there is
    nothing to preserve.
    """

    requests: Sequence[EditRequest]
    values: Tensor
    rows: Sequence[SubjectText]
    owner: Tensor
    layers: tuple[int, ...]
    factors: Factors
    settings: EditSettings
    preserve: Sequence[SubjectText] = ()
    preserve_keys: Mapping[int, Tensor] = field(default_factory=dict)


class Algorithm(Protocol):
    """Turns a problem into low-rank updates by layer. The model may be changed meanwhile and is as before
    afterwards.
    """

    def __call__(self, lm: LM, problem: Problem) -> dict[int, LowRank]: ...


class ValueFinder(Protocol):
    """Optimises value vectors at `layer`: (requests, d_model) float32 on the CPU, NaN for a request that was given up."""

    def __call__(
        self, lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str], layer: int, settings: EditSettings,
        progress: Callable[[int, int], None] | None = None,
    ) -> Tensor: ...  # fmt: skip


@dataclass(frozen=True, slots=True)
class AlgorithmSpec:
    """An algorithm and what is to be measured for it.

    `values`: what finds the vectors in `Problem.values`; None when it reads none. `value_name`: what tells them in the cache from those
    that `optimise_values` finds for the same request. `covariance`: it reads `Problem.covariance`. `columns`: column i of its updates
    belongs to request i, so that they can be polished. `spread`: it writes into all of the layers, not into the last one alone.
    """

    solve: Algorithm
    values: ValueFinder | None
    value_name: str = ""
    covariance: bool = True
    columns: bool = True
    spread: bool = True
