"""Settings that others published for models of a certain shape. Data, not code: a new model is one row.

A row is found by the model's family and shape, for layers 13 to 17 mean something in a stack of 48 and nothing in one of 12, and the
width of the MLP tells Llama 2 from Llama 3, which are otherwise alike. Finetuned models of the same shape share the row.

Not all of it means the same here, and only what does is handed out by `published`:

    layers, steps    as published
    clamp            as published: both are the longest |delta| in units of |h|
    lr               not: theirs moves every coordinate by so much of the hidden state's own units a step, ours by lr |h| / sqrt(d).
                     Theirs is our lr * sqrt(d) / |h|, and |h| at a subject is known only once it was measured
    decay            not: theirs weighs |delta| / |h|² (memit/compute_z.py), ours |delta|² / |h|²; no factor makes one of the other
    covariance       not: their lambda weighs C from 100,000 documents against K Kᵀ of a batch, with one key a fact; ours is in units of
                     d_in, for C from other texts, and a fact's rows share weight one. 15,000 there says nothing about .1 here
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.editing.settings import AlgorithmName
from agent.lm.arch import as_out_in, down_module, editable_layers
from agent.lm.guess import width_of
from agent.lm.load import LM


@dataclass(frozen=True, slots=True)
class Shape:
    """`family`: config.json's model_type; `width`: of the residual stream; `units`: inputs of the down projection."""

    family: str
    layers: int
    width: int
    units: int


@dataclass(frozen=True, slots=True)
class Published:
    """Settings as their source has them, in its units. `weight`: MEMIT's lambda (mom2_update_weight)."""

    layers: tuple[int, ...]
    steps: int
    lr: float
    decay: float
    clamp: float
    weight: float | None = None


_GPT2_XL = Shape("gpt2", 48, 1600, 6400)
_GPT_J = Shape("gptj", 28, 4096, 16384)
_LLAMA_2_7B = Shape("llama", 32, 4096, 11008)
_LLAMA_3_8B = Shape("llama", 32, 4096, 14336)
_MISTRAL_7B = Shape("mistral", 32, 4096, 14336)
_QWEN_25_7B = Shape("qwen2", 28, 3584, 18944)
_MIDDLE = (4, 5, 6, 7, 8)

PUBLISHED: Mapping[tuple[Shape, AlgorithmName], Published] = {
    # The authors' own: ROME (2202.05262) and MEMIT (2210.07229).
    (_GPT2_XL, "rome"): Published((17,), 20, 0.5, 0.5, 4.0),
    (_GPT2_XL, "memit"): Published((13, 14, 15, 16, 17), 20, 0.5, 0.5, 0.75, 20_000),
    (_GPT_J, "rome"): Published((5,), 20, 0.5, 0.5, 4.0),
    (_GPT_J, "memit"): Published((3, 4, 5, 6, 7, 8), 25, 0.5, 0.5, 0.75, 15_000),
    # EasyEdit's.
    (_LLAMA_2_7B, "rome"): Published((5,), 25, 0.5, 1e-3, 4.0),
    (_LLAMA_2_7B, "memit"): Published(_MIDDLE, 25, 0.5, 1e-3, 4.0, 15_000),
    (_MISTRAL_7B, "rome"): Published((5,), 25, 0.5, 1e-3, 4.0),
    (_MISTRAL_7B, "memit"): Published(_MIDDLE, 25, 0.5, 1e-3, 4.0, 15_000),
    # Later work on sequences of edits (AlphaEdit and the comparisons with it).
    (_LLAMA_3_8B, "rome"): Published((5,), 25, 0.5, 1e-3, 4.0),
    (_LLAMA_3_8B, "memit"): Published(_MIDDLE, 25, 0.1, 0.5, 0.75, 15_000),
    (_QWEN_25_7B, "rome"): Published((11,), 25, 0.5, 1e-3, 4.0),
    (_QWEN_25_7B, "memit"): Published((7, 8, 9, 10, 11), 25, 0.1, 0.5, 0.75, 15_000),
}
# What an algorithm without a row of its own edits like.
_LIKE: Mapping[AlgorithmName, AlgorithmName] = {
    "alphaedit": "memit", "pmet": "memit", "emmet": "rome", "ft": "rome",
}  # fmt: skip


def published(lm: LM, algorithm: AlgorithmName = "memit") -> dict[str, Any] | None:
    """Keys of `EditSettings` for this model, of those that mean the same here; None where nobody published any for its shape."""
    row = PUBLISHED.get((shape_of(lm), _LIKE.get(algorithm, algorithm)))
    return None if row is None else {"layers": row.layers, "steps": row.steps, "clamp": row.clamp}


def shape_of(lm: LM) -> Shape:
    """The row that a model would have."""
    units = as_out_in(down_module(lm.model, lm.arch, editable_layers(lm.model, lm.arch)[0])).shape[1]
    return Shape(str(lm.model.config.model_type), lm.n_layers, width_of(lm.model), int(units))
