"""Where each model family keeps its MLPs. Data, not code: a new family is one row here, or four lines of a
user's YAML.

The weight that ROME and MEMIT edit is the MLP's *down projection*: it maps the key (the activated hidden
units, `d_in`) to what the MLP writes into the residual stream (`d_out`). Its orientation follows from the
module's type, never from its shape: transformers' `Conv1D` stores (d_in, d_out), `nn.Linear` stores (d_out,
d_in).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from agent.errors import ModelError


@dataclass(frozen=True, slots=True)
class Arch:
    """Module paths of one family: the list of decoder layers, and the MLP's down projection in a layer."""

    layers: str
    down: str


_LLAMA = Arch(layers="model.layers", down="mlp.down_proj")
ARCHS: Mapping[str, Arch] = {
    "gpt2": Arch(layers="transformer.h", down="mlp.c_proj"),
    "gptj": Arch(layers="transformer.h", down="mlp.fc_out"),
    "gpt_neox": Arch(layers="gpt_neox.layers", down="mlp.dense_4h_to_h"),
    "gpt_neo": Arch(layers="transformer.h", down="mlp.c_proj"),
    "bloom": Arch(layers="transformer.h", down="mlp.dense_4h_to_h"),
    "falcon": Arch(layers="transformer.h", down="mlp.dense_4h_to_h"),
    "opt": Arch(layers="model.decoder.layers", down="fc2"),
    "phi": Arch(layers="model.layers", down="mlp.fc2"),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma": _LLAMA,
    "gemma2": _LLAMA,
    "gemma3_text": _LLAMA,
    "phi3": _LLAMA,
    "olmo2": _LLAMA,
    "smollm3": _LLAMA,
}


def arch_of(model: nn.Module, extra: Mapping[str, Arch] | None = None) -> Arch:
    """The family of a loaded model by its `config.model_type`. Raises ModelError for a family nobody
    described.
    """
    model_type = str(getattr(getattr(model, "config", None), "model_type", ""))
    table = {**ARCHS, **(extra or {})}
    if model_type not in table:
        raise ModelError(
            f"the model's family {model_type!r} is not known; known: {', '.join(sorted(table))}. "
            "Describe it in the settings file: model.arch: {layers: <path of the list of decoder layers>, "
            "down: <path of the MLP's down projection inside a layer>}"
        )
    arch = table[model_type]
    _check(model, arch, model_type)
    return arch


def _check(model: nn.Module, arch: Arch, model_type: str) -> None:
    try:
        first = model.get_submodule(arch.layers)[0]  # type: ignore[index]
        down = first.get_submodule(arch.down)
    except (AttributeError, TypeError, IndexError) as error:
        raise ModelError(
            f"family {model_type!r}: no module {arch.layers}[0].{arch.down} in this model ({error}); "
            "correct model.arch.layers and model.arch.down in the settings file"
        ) from error
    if not isinstance(down, nn.Linear | Conv1D):
        raise ModelError(
            f"family {model_type!r}: {arch.layers}[0].{arch.down} is a {type(down).__name__}, not a "
            "Linear or Conv1D; quantised and mixture-of-experts MLPs cannot be edited"
        )


def decoder_layers(model: nn.Module, arch: Arch) -> list[nn.Module]:
    return list(model.get_submodule(arch.layers))  # type: ignore[call-overload]


def down_module(model: nn.Module, arch: Arch, layer: int) -> nn.Module:
    """The down projection of one layer. Raises ModelError when the model has no such layer."""
    layers = decoder_layers(model, arch)
    if not 0 <= layer < len(layers):
        raise ModelError(f"layer {layer} does not exist: the model has layers 0 to {len(layers) - 1}")
    return layers[layer].get_submodule(arch.down)


def down_name(arch: Arch, layer: int) -> str:
    """The parameter's name in the checkpoint: `model.layers.3.mlp.down_proj.weight`."""
    return f"{arch.layers}.{layer}.{arch.down}.weight"


def is_transposed(module: nn.Module) -> bool:
    """True when the module stores its weight as (d_in, d_out)."""
    return isinstance(module, Conv1D)


def as_out_in(module: nn.Module) -> torch.Tensor:
    """The module's weight as a (d_out, d_in) view, whatever way it is stored."""
    weight: torch.Tensor = module.weight  # type: ignore[assignment]
    return weight.T if is_transposed(module) else weight
