"""Activations that some families compute in eight steps, in one: the same function, but for the last bits.

GPT-2's `gelu_new` is 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x³))), written out in transformers. On a CPU that takes as long as the
matrix products around it, and a backward pass keeps every step of it.
"""

from __future__ import annotations

from torch import nn
from transformers.activations import FastGELUActivation, NewGELUActivation

_WRITTEN_OUT = (NewGELUActivation, FastGELUActivation)


def fuse(model: nn.Module) -> int:
    """Replace them in `model`; how many there were."""
    places = [
        (parent, name)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) in _WRITTEN_OUT
    ]
    for parent, name in places:
        setattr(parent, name, nn.GELU(approximate="tanh"))
    return len(places)
