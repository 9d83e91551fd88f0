"""Every family of the table, from a config: where its MLP is, how its weight lies, what its layers return."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from agent.editing.covariance import covariance
from agent.editing.keys import SubjectText, keys_and_states
from agent.errors import ModelError
from agent.lm.arch import (
    ARCHS,
    Arch,
    arch_of,
    as_out_in,
    decoder_layers,
    down_module,
    down_name,
    is_transposed,
)
from agent.lm.generate import generate, sample
from agent.lm.hooks import capture, resumed_at, truncated
from agent.lm.load import LM
from agent.lm.tokens import encode, pad_left
from tests.models import snapshot, unchanged

PROMPTS = [
    "The capital of Zorland is",
    "Quenia's leader is",
    "The currency of Bavoria is Sorna and the capital is",
]


@pytest.fixture(params=sorted(ARCHS))
def lm(request: pytest.FixtureRequest, tiny: Callable[..., LM]) -> LM:
    return tiny(request.param)


def test_the_down_projection_maps_keys_to_the_residual_stream(lm: LM) -> None:
    module = down_module(lm.model, lm.arch, 1)
    width = int(lm.model.config.hidden_size)
    assert as_out_in(module).shape[0] == width
    assert as_out_in(module).shape[1] > width
    assert lm.model.get_parameter(down_name(lm.arch, 1)) is module.weight
    assert is_transposed(module) == (lm.model.config.model_type == "gpt2")
    assert lm.n_layers == 4
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
    found = covariance(lm, PROMPTS, [1])[1]
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


def test_an_unknown_family_is_an_error_that_says_what_to_write(tiny: Callable[..., LM]) -> None:
    model = tiny("llama").model
    model.config.model_type, kept = "zorplex", model.config.model_type
    try:
        with pytest.raises(ModelError, match=r"zorplex.*model\.arch.*layers.*down"):
            arch_of(model)
        mine = Arch(layers="model.layers", down="mlp.down_proj")
        assert arch_of(model, {"zorplex": mine}) == mine
        with pytest.raises(ModelError, match=r"no module model\.stack\[0\]"):
            arch_of(model, {"zorplex": Arch(layers="model.stack", down="mlp.down_proj")})
        with pytest.raises(ModelError, match="not a Linear or Conv1D"):
            arch_of(model, {"zorplex": Arch(layers="model.layers", down="input_layernorm")})
    finally:
        model.config.model_type = kept
