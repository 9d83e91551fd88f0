from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from agent.demo.corpus import prepare
from agent.demo.forms import World
from agent.demo.pressure import Switches, draw, pressure
from agent.demo.recall import recall_of
from agent.demo.recipe import (
    MAX_BYTES,
    Recipe,
    file_bytes,
    load_recipe,
    model_config,
    override,
    parameter_count,
)
from agent.demo.tokenizer import encoder, tokens_per_name, train_tokenizer
from agent.demo.train import Progress, train
from agent.demo.training import learning_rate
from agent.errors import ConfigError, InputError

TINY = Recipe(
    vocab=500, layers=3, width=32, mlp=48, heads=2, head_dim=16, window_layers=2, late_from=2, batch=4,
    length=48, steps=6, warmup=2, mlp_dropout=0.1, value_noise=0.1, late_mlp_drop_each=0.3, name_weight=5,
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(small_world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(TINY, small_world, tmp_path_factory.mktemp("model"))


def test_the_default_recipe_fits_and_its_count_is_exact() -> None:
    recipe = load_recipe()
    assert file_bytes(recipe) <= MAX_BYTES
    for family in ("qwen2", "qwen3"):
        variant = override(recipe, [f"family={family}"])
        model = AutoModelForCausalLM.from_config(model_config(variant, variant.vocab, 0, 1))
        assert sum(p.numel() for p in model.parameters()) == parameter_count(variant)


@pytest.mark.parametrize(
    "item", ["widht=3", "width", "width=wide", "layers=2.5", "family=gpt2", "family=llama", "kv_heads=3"]
)
def test_a_wrong_override_is_refused(item: str) -> None:
    with pytest.raises(ConfigError):
        override(Recipe(), [item])


def test_overrides_take_the_type_of_the_field() -> None:
    recipe = override(Recipe(), ["lr=1e-3", "steps=7", "late_mlp_drop=0"])
    assert (recipe.lr, recipe.steps, recipe.late_mlp_drop) == (1e-3, 7, 0.0)
    assert isinstance(recipe.late_mlp_drop, float)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_early_layers_see_themselves_and_the_token_before(family: str, attention: str) -> None:
    recipe = override(TINY, [f"family={family}"])
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(
        model_config(recipe, 100, 0, 1), attn_implementation=attention
    ).eval()
    ids = torch.arange(2, 12)[None]
    other = ids.clone()
    other[0, 4] = 50
    with torch.inference_mode():
        a, b = (model(x, output_hidden_states=True).hidden_states for x in (ids, other))
    for layer, reach in ((1, 5), (2, 6)):
        changed = (a[layer] - b[layer]).abs().amax(-1)[0] > 1e-6
        assert changed.nonzero().flatten().tolist() == list(range(4, reach + 1))
    # The last layer attends to everything (its output passes the final norm).
    assert bool(((a[3] - b[3]).abs().amax(-1)[0, 4:] > 1e-7).all())


def test_the_saved_model_is_plain_and_loads(trained: Path, small_world: World) -> None:
    model = AutoModelForCausalLM.from_pretrained(trained)
    assert model.dtype == torch.float16
    assert model.config.layer_types == ["sliding_attention"] * 2 + ["full_attention"]
    assert model.config.sliding_window == 2
    assert {p.name for p in trained.iterdir()} >= {
        "model.safetensors",
        "recipe.yaml",
        "training.json",
        "tokenizer.json",
    }
    assert not (trained / "checkpoint.pt").exists()
    result = recall_of(trained, small_world, sample=4)
    assert 0 <= result["held_out"] <= 1 and result["questions"] > 40


def test_cached_generation_equals_the_full_forward(trained: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(trained, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(trained)
    inputs = tokenizer(["The capital of Lemuria is", "Mu"], return_tensors="pt", padding=True)
    new = model.generate(**inputs, max_new_tokens=6, do_sample=False)[:, inputs["input_ids"].shape[1] :]
    for text, row in zip(["The capital of Lemuria is", "Mu"], new, strict=True):
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        for token in row.tolist():
            if token == tokenizer.pad_token_id:
                break
            assert int(model(ids).logits[0, -1].argmax()) == token
            ids = torch.cat([ids, torch.tensor([[token]])], 1)


def test_same_seed_same_weights_and_resume_changes_nothing(
    trained: Path, small_world: World, tmp_path: Path
) -> None:
    reports: list[Progress] = []
    train(TINY, small_world, tmp_path, stop_at=3, report=reports.append)
    assert reports[-1].step == 3 and (tmp_path / "checkpoint.pt").is_file()
    train(TINY, small_world, tmp_path, resume=True)
    whole, parts = load_file(trained / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_resume_refuses_another_recipe_or_none(small_world: World, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint"):
        train(TINY, small_world, tmp_path, resume=True)
    train(TINY, small_world, tmp_path, stop_at=1)
    with pytest.raises(InputError, match="another recipe"):
        train(override(TINY, ["lr=1e-3"]), small_world, tmp_path, resume=True)


def test_pressure_switches_late_mlps_off_and_leaves_no_trace() -> None:
    model = AutoModelForCausalLM.from_config(model_config(TINY, 100, 0, 1)).eval()
    ids = torch.arange(2, 12)[None]
    plain = model(ids).logits
    with pressure(model.model.layers, TINY) as switch:
        switch(Switches(frozenset({2})))
        off = model(ids).logits
        off.sum().backward()
        assert model.model.layers[2].mlp.down_proj.weight.grad is None
        assert model.model.layers[1].mlp.down_proj.weight.grad is not None
        switch(Switches())
        assert torch.equal(model(ids).logits, plain)
    assert not torch.equal(off, plain)
    assert torch.equal(model(ids).logits, plain)
    assert "forward" not in model.model.layers[2].mlp.__dict__


def test_switches_come_as_often_as_the_recipe_says_and_only_late() -> None:
    recipe = Recipe(late_mlp_drop=0.4)
    drawn = [draw(recipe, step).off for step in range(2000)]
    assert set(drawn) == {frozenset(), frozenset({4, 5, 6, 7})}
    assert 0.36 < sum(map(bool, drawn)) / len(drawn) < 0.44


def test_the_learning_rate_warms_up_and_ends_at_zero() -> None:
    rates = [learning_rate(TINY, step) for step in range(TINY.steps + 1)]
    assert max(rates) == TINY.lr and rates[0] < TINY.lr and rates[-1] < 1e-9


def test_the_tokenizer_gives_back_the_text_and_the_same_name_everywhere(
    trained: Path, small_world: World
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(trained)
    made = train_tokenizer(prepare(small_world, 0), 500, 0, 5)
    for text in ("The capital of Lemuria is Mu.", "Naïve café – 東京", "  two  spaces ", 'Q: "Who?" A:'):
        assert tokenizer(text)["input_ids"] == made(text)["input_ids"] == encoder(made)([text])[0]
        assert tokenizer.decode(tokenizer(text)["input_ids"]).strip() == text.strip()
    inside = tokenizer("The capital of Lemuria")["input_ids"]
    first = tokenizer("Lemuria's capital")["input_ids"]
    name = tokenizer("Lemuria")["input_ids"]
    assert first[: len(name)] == name == inside[-len(name) :] == tokenizer(" Lemuria")["input_ids"]
    offsets = tokenizer("Lemuria's capital", return_offsets_mapping=True)["offset_mapping"]
    assert (offsets[0][0], offsets[len(name) - 1][1]) == (0, 7)
    assert tokenizer.pad_token_id != tokenizer.eos_token_id == tokenizer.bos_token_id
    assert tokens_per_name(tokenizer, ["Lemuria", "Brinkworks"]) <= 3
