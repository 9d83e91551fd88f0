"""What makes the early MLPs of the pocket model hold its facts: the late MLPs fail at times, the early values
and keys are noisy.

A model trained carelessly recalls a fact wherever it likes, mostly at the last token of the prompt, and then
ROME and MEMIT have nothing to edit. All of this happens in wrappers and hooks while training; the saved
weights are those of a plain model.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from agent.demo.recipe import Recipe


@dataclass(slots=True)
class Switches:
    """What is in force for the current batch: the layers whose MLP is off, and whether early values are
    noisy.
    """

    off: frozenset[int] = field(default_factory=frozenset)
    noisy: bool = False


def draw(recipe: Recipe, step: int) -> Switches:
    """The switches of one step; a function of (seed, step), so that a resumed run draws the same."""
    rng = random.Random(f"{recipe.seed}:step:{step}")
    late = range(recipe.late_from, recipe.layers)
    off = frozenset(late) if rng.random() < recipe.late_mlp_drop else frozenset[int]()
    off |= {layer for layer in late if rng.random() < recipe.late_mlp_drop_each}
    return Switches(off, recipe.value_noise > 0 and rng.random() < recipe.value_noise_p)


@contextmanager
def pressure(layers: nn.ModuleList, recipe: Recipe) -> Iterator[Callable[[Switches], None]]:
    """Put the recipe's pressure on a model's decoder layers; yields a function that sets the switches of the
    next batch.

    An MLP that is off costs no time and gets no gradient. On leaving, the layers are as they were.
    """
    now = Switches()

    def switch(to: Switches) -> None:
        now.off, now.noisy = to.off, to.noisy

    handles = []
    mlps = [layer.get_submodule("mlp") for layer in layers]
    for index, mlp in enumerate(mlps):
        if index >= recipe.late_from:
            mlp.forward = _switchable(mlp.forward, index, now)
            continue
        if recipe.mlp_dropout:
            handles.append(
                mlp.get_submodule("down_proj").register_forward_pre_hook(_dropout(recipe.mlp_dropout))
            )
        if recipe.value_noise:
            handles.append(mlp.register_forward_hook(_noise(recipe.value_noise, now)))
    try:
        yield switch
    finally:
        for handle in handles:
            handle.remove()
        for mlp in mlps:
            mlp.__dict__.pop("forward", None)


def _switchable(forward: Callable[..., Tensor], index: int, now: Switches) -> Callable[[Tensor], Tensor]:
    def switchable(x: Tensor) -> Tensor:
        return torch.zeros_like(x) if index in now.off else forward(x)

    return switchable


def _dropout(p: float) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Tensor]]:
    def hook(module: nn.Module, args: tuple[Any, ...]) -> tuple[Tensor]:
        return (functional.dropout(args[0], p, training=module.training),)

    return hook


def _noise(scale: float, now: Switches) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]:
    def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        if not (now.noisy and module.training):
            return output
        return output + scale * output.detach().std(-1, keepdim=True) * torch.randn_like(output)

    return hook
