"""Published settings go to the models they were published for, and to no others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_args

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from agent.editing.published import PUBLISHED, published, shape_of
from agent.editing.settings import AlgorithmName, EditSettings
from agent.lm.arch import arch_of
from agent.lm.load import LM

# What the checkpoints' config.json says.
_GQA = {"num_attention_heads": 32, "num_key_value_heads": 8}
SEVEN_BILLION = {"hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 14336, **_GQA}
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "GPT-2 XL": ("gpt2", {"n_embd": 1600, "n_layer": 48, "n_head": 25}),
    "GPT-J": ("gptj", {}),
    "Llama-2-7B": ("llama", {"hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 11008}),
    "Llama-3-8B": ("llama", {**SEVEN_BILLION, "vocab_size": 128256}),
    "Mistral-7B": ("mistral", SEVEN_BILLION),
    "Qwen2.5-7B": ("qwen2", {"hidden_size": 3584, "num_hidden_layers": 28, "intermediate_size": 18944,
                             "num_attention_heads": 28, "num_key_value_heads": 4}),
}  # fmt: skip


@pytest.fixture(scope="module")
def outlines() -> dict[str, LM]:
    """The models in their full size, without memory for their weights."""
    found = {}
    for name, (family, sizes) in CONFIGS.items():
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **sizes))
        found[name] = LM(model, None, arch_of(model), sha=name, path="")
    return found


@pytest.mark.parametrize(("name", "rome", "memit", "clamp"), [
    ("GPT-2 XL", 17, (13, 17), 0.75),
    ("GPT-J", 5, (3, 8), 0.75),
    ("Llama-2-7B", 5, (4, 8), 4.0),
    ("Llama-3-8B", 5, (4, 8), 0.75),
    ("Mistral-7B", 5, (4, 8), 4.0),
    ("Qwen2.5-7B", 11, (7, 11), 0.75),
])  # fmt: skip
def test_a_published_model_is_recognised_by_its_shape(
    name: str, rome: int, memit: tuple[int, int], clamp: float, outlines: dict[str, LM]
) -> None:
    lm = outlines[name]
    found = published(lm)
    assert found is not None
    assert (found["layers"], found["clamp"]) == (tuple(range(memit[0], memit[1] + 1)), clamp)
    assert published(lm, "alphaedit") == found
    single = published(lm, "rome")
    assert single == published(lm, "emmet")
    assert single is not None and single["layers"] == (rome,)


def test_every_row_belongs_to_a_model_of_the_list(outlines: dict[str, LM]) -> None:
    assert {shape for shape, _ in PUBLISHED} == {shape_of(lm) for lm in outlines.values()}
    assert {algorithm for _, algorithm in PUBLISHED} == {"memit", "rome"}


@pytest.mark.parametrize("algorithm", get_args(AlgorithmName))
def test_overrides_are_settings_and_only_such_as_mean_the_same(
    algorithm: AlgorithmName, outlines: dict[str, LM]
) -> None:
    for lm in outlines.values():
        found = published(lm, algorithm)
        assert found is not None
        assert EditSettings(algorithm=algorithm, **found).layers[-1] < lm.n_layers
        assert set(found) <= {f.name for f in fields(EditSettings)} - {"lr", "decay", "covariance"}


def test_other_models_have_none(tiny: Callable[..., LM]) -> None:
    assert [published(tiny(family)) for family in ("gpt2", "llama", "gemma3")] == [None] * 3
