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
from agent.lm.guess import advice, has_experts, width_of


@dataclass(frozen=True, slots=True)
class Arch:
    """Module paths of one family: the list of decoder layers, and in a layer the MLP's down projection and, where what it writes
    passes a norm before it joins the residual stream, that norm.
    """

    layers: str
    down: str
    norm: str = ""


_LLAMA = Arch(layers="model.layers", down="mlp.down_proj")
_NORM_BEHIND = Arch(layers="model.layers", down="mlp.down_proj", norm="post_feedforward_layernorm")
# Fused gate and up projections (phi3, glm4), parallel attention (gptj, gpt_neox, falcon, phi, cohere), a norm behind the whole layer
# (opt-350m) and projected embeddings (opt-350m) need no row of their own: the down projection stands at one path.
ARCHS: Mapping[str, Arch] = {
    "gpt2": Arch(layers="transformer.h", down="mlp.c_proj"),
    "gptj": Arch(layers="transformer.h", down="mlp.fc_out"),
    "gpt_neox": Arch(layers="gpt_neox.layers", down="mlp.dense_4h_to_h"),  # also Pythia
    "gpt_neo": Arch(layers="transformer.h", down="mlp.c_proj"),
    "gpt_bigcode": Arch(layers="transformer.h", down="mlp.c_proj"),
    "bloom": Arch(layers="transformer.h", down="mlp.dense_4h_to_h"),
    "falcon": Arch(layers="transformer.h", down="mlp.dense_4h_to_h"),
    "opt": Arch(layers="model.decoder.layers", down="fc2"),
    "phi": Arch(layers="model.layers", down="mlp.fc2"),
    "starcoder2": Arch(layers="model.layers", down="mlp.c_proj"),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma": _LLAMA,
    "gemma2": _NORM_BEHIND,
    "gemma3_text": _NORM_BEHIND,
    "phi3": _LLAMA,
    "olmo": _LLAMA,
    "olmo2": _NORM_BEHIND,
    "olmo3": _NORM_BEHIND,
    "smollm3": _LLAMA,
    "stablelm": _LLAMA,
    "cohere": _LLAMA,
    "cohere2": _LLAMA,
    "granite": _LLAMA,
    # Layers of dense models and those between the mixtures of experts (Maverick); Scout has experts in all of them. A `llama4`
    # checkpoint is loaded without its eyes, as this.
    "llama4_text": Arch(layers="model.layers", down="feed_forward.down_proj"),
    # With its eyes: that is what AutoModelForCausalLM makes of such a checkpoint.
    "gemma3": Arch(
        layers="model.language_model.layers", down="mlp.down_proj", norm="post_feedforward_layernorm"
    ),
    # Their code lives in the hub and is not run here (trust_remote_code is off). A checkpoint converted to Llama's format is a
    # `llama`; these rows serve a model object that was built elsewhere and is handed to `agent.lm.load.wrap`.
    "internlm2": Arch(layers="model.layers", down="feed_forward.w2"),
    "baichuan": _LLAMA,
}


def arch_of(model: nn.Module, extra: Mapping[str, Arch] | None = None) -> Arch:
    """The family of a loaded model by its `config.model_type`. Raises ModelError, with the lines to paste, for a family nobody
    described, and for a model none of whose layers can be edited.
    """
    model_type = str(getattr(getattr(model, "config", None), "model_type", ""))
    table = {**ARCHS, **(extra or {})}
    if model_type not in table:
        raise ModelError(
            f"the model's family {model_type!r} is not known (model.arch); {advice(model, model_type)}. "
            f"Known: {', '.join(sorted(table))}"
        )
    arch = table[model_type]
    _check(model, arch, model_type)
    return arch


def _check(model: nn.Module, arch: Arch, model_type: str) -> None:
    try:
        layers = decoder_layers(model, arch)
        first = layers[0]
    except (AttributeError, TypeError, IndexError) as error:
        raise _misplaced(model, arch, model_type, str(error)) from error
    editable = editable_layers(model, arch)
    down = _down(layers[editable[0]] if editable else first, arch)
    if down is None:
        if all(map(has_experts, layers)):
            raise ModelError(
                f"family {model_type!r}: every layer of this model is a mixture of experts, and no single matrix holds what such a "
                "layer stores; edit a dense model, or one that has dense layers between"
            )
        raise _misplaced(model, arch, model_type, "a layer has no such module")
    if not editable:
        raise ModelError(
            f"family {model_type!r}: {arch.layers}[0].{arch.down} is a {type(down).__name__}, not a "
            "Linear or Conv1D; quantised and mixture-of-experts MLPs cannot be edited"
        )
    if arch.norm and not hasattr(_submodule(layers[editable[0]], arch.norm), "weight"):
        raise ModelError(
            f"family {model_type!r}: {arch.layers}[{editable[0]}].{arch.norm} is no norm in this model; correct model.arch.norm in the "
            "settings file, or leave it out"
        )
    width = width_of(model)
    if width and as_out_in(down).shape[0] != width:
        raise ModelError(
            f"family {model_type!r}: {arch.layers}[{editable[0]}].{arch.down} has {as_out_in(down).shape[0]} outputs, and the "
            f"residual stream {width}: it is not the MLP's down projection; {advice(model, model_type)}"
        )


def _misplaced(model: nn.Module, arch: Arch, model_type: str, why: str) -> ModelError:
    return ModelError(
        f"family {model_type!r}: no module {arch.layers}[0].{arch.down} in this model ({why}); {advice(model, model_type)}"
    )


def _down(layer: nn.Module, arch: Arch) -> nn.Module | None:
    return _submodule(layer, arch.down)


def _submodule(layer: nn.Module, path: str) -> nn.Module | None:
    try:
        return layer.get_submodule(path)
    except AttributeError:
        return None


def editable_layers(model: nn.Module, arch: Arch) -> tuple[int, ...]:
    """The layers whose MLP is one down projection, ascending: all of them but those that are mixtures of experts."""
    downs = enumerate(_down(layer, arch) for layer in decoder_layers(model, arch))
    return tuple(index for index, down in downs if isinstance(down, nn.Linear | Conv1D))


def decoder_layers(model: nn.Module, arch: Arch) -> list[nn.Module]:
    return list(model.get_submodule(arch.layers))  # type: ignore[call-overload]


def down_module(model: nn.Module, arch: Arch, layer: int) -> nn.Module:
    """The down projection of one layer. Raises ModelError when the model has no such layer, or a mixture of experts there."""
    layers = decoder_layers(model, arch)
    if not 0 <= layer < len(layers):
        raise ModelError(f"layer {layer} does not exist: the model has layers 0 to {len(layers) - 1}")
    down = _down(layers[layer], arch)
    if not isinstance(down, nn.Linear | Conv1D):
        what = "is a mixture of experts" if has_experts(layers[layer]) else f"has no plain {arch.down}"
        raise ModelError(
            f"layer {layer} cannot be edited: it {what}, and no single matrix holds what it stores; set editing.layers to some "
            f"of the layers that have one: {', '.join(map(str, editable_layers(model, arch)))}"
        )
    return down


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
