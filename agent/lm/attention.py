"""Where each model family keeps a layer's attention. Data beside `arch.ARCHS`; only who looks at attention asks."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from agent.errors import ModelError
from agent.lm.arch import decoder_layers
from agent.lm.load import LM

# By `config.model_type`; every other family has the name of most.
ATTENTION: Mapping[str, str] = {
    "gpt2": "attn",
    "gptj": "attn",
    "gpt_neo": "attn",
    "gpt_bigcode": "attn",
    "internlm2": "attention",
    "gpt_neox": "attention",
    "bloom": "self_attention",
    "falcon": "self_attention",
}
_USUAL = "self_attn"


def attention_module(lm: LM, layer: int) -> nn.Module:
    """The attention of one layer; its output is added to the residual stream. Raises ModelError when it is not where it should be."""
    model_type = str(lm.model.config.model_type)
    path = ATTENTION.get(model_type, _USUAL)
    layers = decoder_layers(lm.model, lm.arch)
    if not 0 <= layer < len(layers):
        raise ModelError(f"layer {layer} does not exist: the model has layers 0 to {len(layers) - 1}")
    try:
        module: nn.Module = layers[layer].get_submodule(path)
    except AttributeError as error:
        raise ModelError(
            f"family {model_type!r}: no attention at {lm.arch.layers}[{layer}].{path} ({error}); "
            "choose an editing.algorithm that does not push it, such as memit"
        ) from error
    return module
