"""The peer's hyperparameters in its own units, and the same settings in ours. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

import yaml

from agent.editing.settings import EditSettings
from agent.paths import data_file
from agent.strict import as_mapping, read_yaml
from agent.typed import build

Method = Literal["rome", "memit", "alphaedit"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """Hyperparameters under the names of EasyEdit's files.

    `v_lr`: Adam's rate on the raw vector. `clamp_norm_factor`: largest push relative to |target_init| (ROME: the MLP's output,
    the others: the layer's). `mom2_update_weight`: MEMIT's lambda. `mom2_adjustment`: ROME whitens its key. `nullspace_threshold`:
    largest singular value of AlphaEdit's null space; `L2`: its ridge. `templates`: sampled contexts besides the bare one; for
    ROME that many of five and of ten tokens in all, for the others it is fixed.
    """

    layers: tuple[int, ...]
    v_num_grad_steps: int = 25
    v_lr: float = 0.5
    v_weight_decay: float = 1e-3
    clamp_norm_factor: float = 4.0
    kl_factor: float = 0.0625
    mom2_adjustment: bool = True
    mom2_update_weight: float = 15_000.0
    nullspace_threshold: float = 2e-2
    L2: float = 10.0
    templates: int = 5


# What its own files give for Llama and for GPT-2 XL; their ROME has the covariance switched off.
_LLAMA = PeerSettings(layers=())
_GPT2 = PeerSettings(
    (), v_num_grad_steps=20, v_weight_decay=0.5, clamp_norm_factor=0.75, mom2_update_weight=20_000.0
)


def published(model_type: str, method: Method, layers: tuple[int, ...]) -> PeerSettings:
    """What EasyEdit ships for the family: GPT-2's or Llama's. ROME edits the middle one of `layers`."""
    base = _GPT2 if model_type == "gpt2" else _LLAMA
    if method != "rome":
        return replace(base, layers=layers)
    middle = (layers[len(layers) // 2],)
    return replace(base, layers=middle, clamp_norm_factor=4.0, mom2_adjustment=False, templates=20)


def with_changes(settings: PeerSettings, method: Method, items: Mapping[str, str]) -> PeerSettings:
    """`settings` with `key=value` of the command line; `memit.v_lr` is for MEMIT alone. Raises ValueError for an unknown key."""
    known = {f.name for f in fields(PeerSettings)}
    changes: dict[str, Any] = {}
    for key, text in items.items():
        scope, _, name = key.rpartition(".")
        if name not in known or scope not in ("", *METHODS):
            raise ValueError(f"{key!r} is no hyperparameter; there are {', '.join(sorted(known))}")
        if scope in ("", method):
            changes[name] = _parsed(name, text)
    return replace(settings, **changes)


def _parsed(name: str, text: str) -> Any:
    if name == "layers":
        return tuple(int(layer) for layer in text.split(","))
    value = yaml.safe_load(text)
    if isinstance(value, bool) or name in ("v_num_grad_steps", "templates"):
        return value
    return float(value)


@dataclass(frozen=True, slots=True)
class Scales:
    """What turns the peer's absolute units into ours, measured on the model where the push is added.

    `d_model`, `d_in`: widths of the residual stream and of a key. `state`: mean norm of the edited layer's output at the subject;
    `anchor`: mean norm of what the peer clamps against.
    """

    d_model: int
    d_in: int
    state: float
    anchor: float


def same_settings(method: Method, peer: PeerSettings, scales: Scales) -> EditSettings:
    """Our settings for the peer's algorithm: one pass, no carriers, no polish, nothing preserved, as many contexts, the same steps.

    A step of Adam is `v_lr` long in every coordinate: sqrt(d_model) * v_lr in all, which we count in units of |h|. Decay agrees
    where the push is at its clamp (the peer's goes with |delta|, ours with |delta|²). AlphaEdit's absolute threshold and ridge have
    no counterpart: there our relative defaults stay. ROME edits one fact after the other, as the peer does.
    """
    clamp = peer.clamp_norm_factor * scales.anchor / scales.state
    return EditSettings(
        algorithm=method,
        mode="sequential" if method == "rome" else "joint",
        layers=peer.layers,
        steps=peer.v_num_grad_steps,
        lr=peer.v_lr * scales.d_model**0.5 / scales.state,
        kl=peer.kl_factor,
        keep_tokens=1,
        decay=peer.v_weight_decay * peer.clamp_norm_factor / scales.anchor / clamp**2,
        clamp=clamp,
        stop_loss=0.05,
        covariance=peer.mom2_update_weight / scales.d_in if method == "memit" else EditSettings().covariance,
        preserve=0.0,
        contexts=peer.templates,
        carriers=False,
        rounds=1,
        polish=0,
    )


def quick_settings(method: Method, layers: tuple[int, ...]) -> EditSettings:
    """Ours where time counts most, `configs/quick.yaml`: few steps on the bare prompt of a fact, nothing held meanwhile, one solve. What
    costs next to nothing stays: carriers of the bare subject, keys of other subjects that are preserved, and some polishing, which looks at
    the facts alone and wins more than as many steps of the values.
    """
    values = {**_quick()["editing"], "algorithm": method, "layers": list(layers)}
    return build(EditSettings, values, "editing")


def quick_preserved(method: Method) -> int:
    """How many keys of other subjects are preserved; none with ROME: for one edit alone even a pass over these is long."""
    return 0 if method == "rome" else int(_quick()["preserve_limit"])


def _quick() -> Mapping[str, Any]:
    file = data_file("quick.yaml")
    return as_mapping(read_yaml(file), str(file))
