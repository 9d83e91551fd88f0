"""Where the MLPs of a model that nobody described probably are, so that an error can say what to paste.

A guess is only ever shown to a person: editing starts from what the table or the settings say.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D


def width_of(model: nn.Module) -> int:
    """Size of the residual stream, also of a model that wraps a text model; 0 where the config does not say."""
    config: Any = getattr(model, "config", None)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    return int(getattr(text, "hidden_size", 0) or 0)


def layouts(model: nn.Module) -> list[tuple[str, str]]:
    """(path of a list of layers, path in a layer of what may be its down projection), the deepest list first.

    A list counts when its modules are of one type, and the projection when it writes into the residual stream from more units
    than any other.
    """
    found: list[tuple[int, str, str]] = []
    for name, stack in model.named_modules():
        inside = any(name.startswith(f"{outer}.") for _, outer, _ in found)
        if isinstance(stack, nn.ModuleList) and not inside and len({type(layer) for layer in stack}) == 1:
            down = next(filter(None, (_down(layer, width_of(model)) for layer in stack)), "")
            if down:
                found.append((len(stack), name, down))
    return [(layers, down) for _, layers, down in sorted(found, key=lambda row: -row[0])]


def has_experts(layer: nn.Module) -> bool:
    """Whether the layer is a mixture of experts. They are modules in some families and stacked parameters in others."""
    return any(
        "experts" in name.split(".") for name, _ in (*layer.named_modules(), *layer.named_parameters())
    )


def advice(model: nn.Module, family: str) -> str:
    """What to write into the settings file for this model: a line of YAML that may be pasted as it is."""
    found = layouts(model)
    if found:
        layers, down = found[0]
        others = "; also possible: " + ", ".join(f"{a} with {b}" for a, b in found[1:]) if found[1:] else ""
        return (
            "this seems to be its layout, write it under `model:` in the settings file: "
            f"`arch: {{family: {family}, layers: {layers}, down: {down}}}`{others}"
        )
    lists = [name for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    wanted = (
        "describe it under `model:` in the settings file: "
        f"`arch: {{family: {family}, layers: <path of the list of decoder layers>, "
        "down: <path of the MLP's down projection inside a layer>}`"
    )
    return f"{wanted}; lists of modules in it: {', '.join(lists[:6]) or 'none'}"


def _down(layer: nn.Module, width: int) -> str:
    """The widest projection into the residual stream. Of experts none is the MLP of the layer."""
    if has_experts(layer):
        return ""
    sizes = {
        name: tuple(reversed(module.weight.shape))
        if isinstance(module, Conv1D)
        else tuple(module.weight.shape)
        for name, module in layer.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
    }
    widest = {name: d_in for name, (d_out, d_in) in sizes.items() if d_out == width and d_in >= width}
    return max(widest, key=lambda name: widest[name], default="")
