"""Which layers are edited when nobody says so."""

from __future__ import annotations

from pathlib import Path

from agent.editing.located import located
from agent.editing.published import published
from agent.editing.settings import AlgorithmName
from agent.lm.arch import editable_layers
from agent.lm.load import LM

# Where published work edits: the early middle of the stack (causal tracing of ROME; layers 4-8 of 32 in
# MEMIT's Llama settings).
_SPAN = (0.12, 0.27)


def default_layers(lm: LM, algorithm: AlgorithmName = "memit", cache: Path | None = None) -> tuple[int, ...]:
    """Those published for a model of this shape; else those that `factd locate` found for these weights and left in `cache`; else
    the usual span, scaled to the depth, without mixtures of experts.
    """
    if (known := published(lm, algorithm)) is not None:
        return tuple(known["layers"])
    return (located(cache, lm) if cache else None) or usual_span(lm)


def usual_span(lm: LM) -> tuple[int, ...]:
    low, high = (round(share * lm.n_layers) for share in _SPAN)
    editable = editable_layers(lm.model, lm.arch)
    span = tuple(layer for layer in range(max(low, 0), max(high, low + 1)) if layer in editable)
    return span or (min(editable, key=lambda layer: abs(layer - high)),)
