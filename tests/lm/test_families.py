"""Every family of the table, from a config: where its MLP is, how its weight lies, what its layers return."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
import yaml
from torch import nn
from transformers import PreTrainedConfig

from agent.editing.corpus import text_rows
from agent.editing.covariance import Amount, key_statistics
from agent.editing.keys import SubjectText, keys_and_states
from agent.editing.layers import default_layers
from agent.errors import ModelError
from agent.lm.arch import (
    Arch,
    arch_of,
    as_out_in,
    decoder_layers,
    down_module,
    down_name,
    editable_layers,
    is_transposed,
)
from agent.lm.generate import generate, sample
from agent.lm.guess import layouts, width_of
from agent.lm.hooks import capture, resumed_at, truncated
from agent.lm.load import LM
from agent.lm.tokens import encode, pad_left
from tests.models import FAMILIES, snapshot, unchanged

PROMPTS = [
    "The capital of Zorland is",
    "Quenia's leader is",
    "The currency of Bavoria is Sorna and the capital is",
]


@pytest.fixture(params=FAMILIES)
def lm(request: pytest.FixtureRequest, tiny: Callable[..., LM]) -> LM:
    return tiny(request.param)


def test_the_down_projection_maps_keys_to_the_residual_stream(lm: LM) -> None:
    module = down_module(lm.model, lm.arch, 1)
    width = width_of(lm.model)
    assert as_out_in(module).shape[0] == width
    assert as_out_in(module).shape[1] > width
    assert lm.model.get_parameter(down_name(lm.arch, 1)) is module.weight
    assert is_transposed(module) == (lm.model.config.model_type == "gpt2")
    assert lm.n_layers == 4
    assert editable_layers(lm.model, lm.arch) == (0, 1, 2, 3)
    with pytest.raises(ModelError, match="layers 0 to 3"):
        down_module(lm.model, lm.arch, 4)


def test_truncated_and_resumed_give_the_plain_models_numbers(lm: LM) -> None:
    before = snapshot(lm)
    batch = pad_left(lm, encode(lm, PROMPTS))
    real = batch.attention_mask.bool()
    top = decoder_layers(lm.model, lm.arch)[1]
    with torch.no_grad():
        with capture(top, "output") as plain:
            logits = lm.model(**batch.model_inputs, use_cache=False).logits
        with truncated(lm, 1), capture(top, "output") as short:
            lm.model(**batch.model_inputs, use_cache=False, logits_to_keep=1)
        with resumed_at(lm, 1, lambda: short[0]):
            resumed = lm.model(**batch.model_inputs, use_cache=False).logits
    assert torch.equal(plain[0][real], short[0][real])
    assert torch.equal(logits[real], resumed[real])
    assert unchanged(lm, before)


def test_keys_are_what_the_down_projection_reads_there(lm: LM) -> None:
    """Truncated, padded and cut behind the subject, against one plain pass over the whole text."""
    rows = [
        SubjectText(text, subject)
        for text, subject in zip(PROMPTS, ("Zorland", "Quenia", "Bavoria"), strict=True)
    ]
    found = keys_and_states(lm, rows, [0, 2], batch_rows=2)
    for i, row in enumerate(rows):
        ids = lm.tokenizer(row.text, return_offsets_mapping=True)
        last = row.text.rfind(row.subject) + len(row.subject) - 1
        place = next(n for n, (a, b) in enumerate(ids["offset_mapping"]) if a <= last < b)
        layer = decoder_layers(lm.model, lm.arch)[2]
        down = down_module(lm.model, lm.arch, 2)
        with torch.no_grad(), capture(down, "input") as keys, capture(layer, "output") as states:
            lm.model(input_ids=torch.tensor([ids["input_ids"]]))
        assert torch.allclose(
            found.keys[2][i], keys[0].reshape(-1, keys[0].shape[-1])[place], atol=1e-5, rtol=1e-4
        )
        assert torch.allclose(found.states[i], states[0][0, place], atol=1e-5, rtol=1e-4)


def test_covariance_is_the_mean_outer_product_of_real_tokens(lm: LM) -> None:
    found = key_statistics(lm, text_rows(lm, PROMPTS, chunk=100), [1], Amount(1, None)).matrices[1].double()
    total, count = torch.zeros_like(found), 0
    for text in PROMPTS:
        with torch.no_grad(), capture(down_module(lm.model, lm.arch, 1), "input") as seen:
            lm.model(input_ids=torch.tensor(encode(lm, [text])))
        keys = seen[0].reshape(-1, seen[0].shape[-1]).double()
        total, count = total + keys.T @ keys, count + len(keys)
    assert torch.allclose(found, total / count, rtol=1e-4, atol=1e-6)


def test_batched_answers_equal_single_ones(lm: LM) -> None:
    together = generate(lm, PROMPTS, max_new_tokens=6)
    assert together == [generate(lm, [prompt], max_new_tokens=6)[0] for prompt in PROMPTS]


def test_sampling_the_likeliest_token_is_greedy_decoding(lm: LM) -> None:
    """The cache of keys and values that sampling keeps changes no word."""
    greedy = generate(lm, PROMPTS, max_new_tokens=6)
    sampled = sample(lm, PROMPTS, max_new_tokens=6, seed=0, top_k=1)
    for prompt, answer, text in zip(PROMPTS, greedy, sampled, strict=True):
        assert text.removeprefix(prompt).startswith(answer)


def test_sampling_repeats_with_its_seed(lm: LM) -> None:
    first = sample(lm, PROMPTS, max_new_tokens=5, seed=3)
    assert first == sample(lm, PROMPTS, max_new_tokens=5, seed=3)
    assert first != sample(lm, PROMPTS, max_new_tokens=5, seed=4)
    assert all(text.startswith(prompt) for text, prompt in zip(first, PROMPTS, strict=True))


def test_layers_of_experts_are_told_apart(tiny: Callable[..., LM]) -> None:
    """Llama 4 has a mixture of experts in every second layer, or in all of them."""
    lm = tiny("llama4_text", moe_layers=[0, 2])
    assert editable_layers(lm.model, lm.arch) == (1, 3)
    assert as_out_in(down_module(lm.model, lm.arch, 3)).shape == (32, 64)
    with pytest.raises(ModelError, match=r"layer 2 .* mixture of experts.*editing\.layers.*: 1, 3$"):
        down_module(lm.model, lm.arch, 2)
    assert set(default_layers(lm)) <= {1, 3}
    with pytest.raises(ModelError, match="every layer of this model is a mixture of experts"):
        tiny("llama4_text", moe_layers=[0, 1, 2, 3])


def test_experts_are_never_taken_for_the_mlp(tiny: Callable[..., LM]) -> None:
    with pytest.raises(ModelError, match=r"'qwen3_moe' is not known.*lists of modules in it: model\.layers"):
        tiny("qwen3_moe", num_experts=2, num_experts_per_tok=1, moe_intermediate_size=16)


def test_a_family_whose_code_is_elsewhere_is_edited_where_its_row_says() -> None:
    model = InternLM2()
    assert arch_of(model).down == "feed_forward.w2"
    assert as_out_in(down_module(model, arch_of(model), 1)).shape == (8, 24)


@pytest.mark.parametrize(("family", "layers", "down"), [
    ("arcee", "model.layers", "mlp.down_proj"),
    ("mpt", "transformer.blocks", "ffn.down_proj"),
    ("codegen", "transformer.h", "mlp.fc_out"),
    ("openai-gpt", "transformer.h", "mlp.c_proj"),
    ("glm4", "model.layers", "mlp.down_proj"),
])  # fmt: skip
def test_an_unknown_family_is_an_error_with_the_line_to_paste(
    family: str, layers: str, down: str, tiny: Callable[..., LM]
) -> None:
    with pytest.raises(ModelError, match=rf"'{family}' is not known") as caught:
        tiny(family)
    where, line = re.findall(r"`(.*?)`", str(caught.value))
    assert where == "model:"
    assert yaml.safe_load(line) == {"arch": {"family": family, "layers": layers, "down": down}}
    assert "\n" not in str(caught.value)


def test_every_described_family_would_be_guessed_as_it_is_described(lm: LM) -> None:
    assert layouts(lm.model)[0] == (lm.arch.layers, lm.arch.down)


def test_a_layout_that_is_not_there_is_an_error_that_says_what_is(tiny: Callable[..., LM]) -> None:
    model = tiny("llama").model
    for wrong, message in (
        (Arch(layers="model.stack", down="mlp.down_proj"), r"no module model\.stack\[0\]\.mlp\.down_proj"),
        (Arch(layers="model.layers", down="mlp.down"), r"no module model\.layers\[0\]\.mlp\.down in"),
        (Arch(layers="model.layers", down="mlp.up_proj"), r"has 64 outputs, and the residual stream 32"),
    ):
        with pytest.raises(ModelError, match=message + ".*layers: model.layers, down: mlp.down_proj"):
            arch_of(model, {"llama": wrong})
    with pytest.raises(ModelError, match="not a Linear or Conv1D"):
        arch_of(model, {"llama": Arch(layers="model.layers", down="input_layernorm")})


class InternLM2(nn.Module):
    """The names that the hub's own code for InternLM2 gives its modules."""

    def __init__(self) -> None:
        super().__init__()
        self.config = PreTrainedConfig(hidden_size=8)
        self.config.model_type = "internlm2"
        self.model = nn.Module()
        self.model.layers = nn.ModuleList(nn.Module() for _ in range(2))
        for layer in self.model.layers:
            layer.feed_forward = nn.ModuleDict(
                {"w1": nn.Linear(8, 24), "w2": nn.Linear(24, 8), "w3": nn.Linear(8, 24)}
            )
