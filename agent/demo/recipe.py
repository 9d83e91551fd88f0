"""The pocket model's recipe: every number that decides what the trained weights are, read from
`configs/pocket.yaml`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml
from transformers import LlamaConfig, Qwen2Config, Qwen3Config

from agent.errors import ConfigError
from agent.paths import data_file
from agent.strict import as_mapping, check_keys, read_yaml

MAX_BYTES = 16_000_000
_FAMILIES: Mapping[str, Any] = {"qwen2": Qwen2Config, "qwen3": Qwen3Config, "llama": LlamaConfig}
_DTYPES = ("float16", "bfloat16", "float32")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One recipe. Probabilities are 0 to 1; `early` layers are those below `late_from`, `late` the others.

    Shape: `window_layers` first layers see `window` tokens each (itself included), so that a name must be
    recalled where it stands. Pressure: for a whole batch the MLPs of all late layers (`late_mlp_drop`) or
    each late MLP on its own (`late_mlp_drop_each`) are switched off; for a whole batch noise of `value_noise`
    times their spread is added to the early MLPs' outputs (`value_noise_p`); `mlp_dropout` drops entries of
    the early MLPs' keys (the input of `down_proj`).

    Data: `person_weight` and `name_share` as in `agent.demo.corpus.prepare`; `name_weight` is how often the
    tokenizer is shown each name; `invented` is the number of made-up subjects, as a share of the real ones.
    """

    family: str = "qwen3"
    vocab: int = 4064
    layers: int = 8
    width: int = 256
    mlp: int = 1024
    heads: int = 4
    kv_heads: int = 1
    head_dim: int = 32
    window_layers: int = 4
    window: int = 2
    context: int = 512
    late_from: int = 4
    late_mlp_drop: float = 0.4
    late_mlp_drop_each: float = 0.0
    value_noise: float = 0.0
    value_noise_p: float = 0.5
    mlp_dropout: float = 0.0
    lr: float = 2e-3
    warmup: int = 60
    weight_decay: float = 0.1
    clip: float = 1.0
    label_smoothing: float = 0.0
    z_loss: float = 0.0
    batch: int = 48
    length: int = 96
    steps: int = 3600
    seed: int = 0
    person_weight: float = 1.0
    name_share: float = 0.05
    name_weight: int = 20
    invented: float = 0.0
    save_dtype: str = "float16"

    def __post_init__(self) -> None:
        if self.family not in _FAMILIES:
            raise ConfigError(f"recipe: family must be one of {', '.join(_FAMILIES)}; got {self.family!r}")
        if self.save_dtype not in _DTYPES:
            raise ConfigError(
                f"recipe: save_dtype must be one of {', '.join(_DTYPES)}; got {self.save_dtype!r}"
            )
        if self.family == "llama" and self.window_layers:
            raise ConfigError(
                "recipe: llama has no sliding windows; set window_layers to 0 or take qwen2 or qwen3"
            )
        if self.heads % self.kv_heads:
            raise ConfigError(
                f"recipe: heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})"
            )
        if not 0 <= self.invented <= 1:
            raise ConfigError(f"recipe: invented is a share from 0 to 1, got {self.invented}")
        if not 0 < self.vocab <= 65_536:
            raise ConfigError(f"recipe: vocab must fit 16 bits, got {self.vocab}")


def load_recipe(path: Path | None = None, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe of a YAML file (the default one if None) with `key=value` overrides. Raises ConfigError."""
    path = path or data_file("pocket.yaml")
    return override(_build(as_mapping(read_yaml(path), str(path)), str(path)), overrides)


def override(recipe: Recipe, overrides: Iterable[str]) -> Recipe:
    """`recipe` with fields replaced from `key=value` strings. Raises ConfigError for an unknown key or a
    wrong type.
    """
    changes: dict[str, Any] = {}
    for item in overrides:
        key, separator, value = item.partition("=")
        if not separator:
            raise ConfigError(f"--set {item}: expected key=value")
        changes[key.strip()] = yaml.safe_load(value)
    return _build({**dataclasses.asdict(recipe), **changes}, "--set")


def _build(values: Mapping[str, Any], where: str) -> Recipe:
    types = {f.name: {"int": int, "float": float, "str": str}[str(f.type)] for f in fields(Recipe)}
    check_keys(values, tuple(types), where)
    typed: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ConfigError(f"{where}: {key} must be a {types[key].__name__}, got {value!r}")
        try:
            typed[key] = types[key](value)
        except ValueError as error:
            raise ConfigError(f"{where}: {key} must be a {types[key].__name__}, got {value!r}") from error
        if types[key] is int and typed[key] != float(value):
            raise ConfigError(f"{where}: {key} must be a whole number, got {value!r}")
    return Recipe(**typed)


def model_config(recipe: Recipe, vocab_size: int, eos: int, pad: int) -> Any:
    """The Hugging Face config; `sliding_window=2` means itself and the one token before (checked in eager and
    sdpa).
    """
    shared: dict[str, Any] = {
        "vocab_size": vocab_size,
        "hidden_size": recipe.width,
        "intermediate_size": recipe.mlp,
        "num_hidden_layers": recipe.layers,
        "num_attention_heads": recipe.heads,
        "num_key_value_heads": recipe.kv_heads,
        "head_dim": recipe.head_dim,
        "max_position_embeddings": recipe.context,
        "tie_word_embeddings": True,
        "bos_token_id": eos,
        "eos_token_id": eos,
        "pad_token_id": pad,
    }
    if recipe.window_layers:
        local = min(recipe.window_layers, recipe.layers)
        shared |= {
            "use_sliding_window": True,
            "sliding_window": recipe.window,
            "max_window_layers": recipe.layers,
            "layer_types": ["sliding_attention"] * local + ["full_attention"] * (recipe.layers - local),
        }
    return _FAMILIES[recipe.family](**shared)


def parameter_count(recipe: Recipe) -> int:
    """Parameters of the model, the tied embedding counted once."""
    queries, keys = recipe.heads * recipe.head_dim, recipe.kv_heads * recipe.head_dim
    attention = 2 * recipe.width * (queries + keys)
    if recipe.family == "qwen2":
        attention += queries + 2 * keys
    elif recipe.family == "qwen3":
        attention += 2 * recipe.head_dim
    layer = attention + 3 * recipe.width * recipe.mlp + 2 * recipe.width
    return recipe.vocab * recipe.width + recipe.layers * layer + recipe.width


def file_bytes(recipe: Recipe) -> int:
    """About how large the saved weights are: the parameters and a safetensors header of at most 128 bytes a
    tensor.
    """
    per_layer = {"qwen3": 11, "qwen2": 12, "llama": 9}[recipe.family]
    size = 4 if recipe.save_dtype == "float32" else 2
    return parameter_count(recipe) * size + 128 * (recipe.layers * per_layer + 2)
