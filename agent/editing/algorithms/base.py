"""What an algorithm is given and what it gives back. One algorithm is one file beside this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from agent.editing.delta import LowRank
from agent.editing.keys import SubjectText
from agent.editing.settings import EditSettings
from agent.lm.load import LM
from agent.types import EditRequest

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True)
class Problem:
    """Everything a linear solve needs.

    `values` (requests, d_model) float32: push at the output of `layers[-1]` where the request's subject ends, for all facts of
    that subject together. `rows` are all prompts in all contexts, `owner` (rows,) the request of each. `covariance` per layer
    (d_in, d_in) float32, maybe read from a file at each access. `preserve` are texts whose subject keys must not move.
    """

    requests: Sequence[EditRequest]
    values: Tensor
    rows: Sequence[SubjectText]
    owner: Tensor
    layers: tuple[int, ...]
    covariance: Mapping[int, Tensor]
    preserve: Sequence[SubjectText]
    settings: EditSettings


class Algorithm(Protocol):
    """Turns a problem into low-rank updates by layer. The model may be changed meanwhile and is as before
    afterwards.
    """

    def __call__(self, lm: LM, problem: Problem) -> dict[int, LowRank]: ...
