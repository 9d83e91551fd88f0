"""Hooks act inside their block and leave no trace, also when the block fails."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from inspect import signature

import pytest
import torch

from agent.lm.arch import decoder_layers, down_module
from agent.lm.hooks import (
    capture,
    edit_input,
    edit_output,
    mlp_at_end,
    replaced_forward,
    resumed_at,
    truncated,
)
from agent.lm.load import LM
from tests.models import snapshot, unchanged

IDS = torch.tensor([[5, 6, 7]])


@pytest.fixture(params=["llama", "gpt2", "gptj"])
def lm(request: pytest.FixtureRequest, tiny: Callable[..., LM]) -> LM:
    return tiny(request.param)


def test_edit_input_changes_what_the_module_sees_and_nobody_else(lm: LM) -> None:
    head = lm.model.get_output_embeddings()
    with torch.no_grad():
        plain = lm.model(input_ids=IDS).logits
        with edit_input(head, lambda h: h[:, -1:]), capture(head, "input") as seen:
            last = lm.model(input_ids=IDS).logits
        assert seen[0].shape[:2] == (1, 1)
        torch.testing.assert_close(last, plain[:, -1:])
        assert torch.equal(plain, lm.model(input_ids=IDS).logits)


def test_edit_output_changes_what_the_rest_of_the_model_sees(lm: LM) -> None:
    layer = decoder_layers(lm.model, lm.arch)[1]
    with torch.no_grad():
        plain = lm.model(input_ids=IDS).logits
        with edit_output(layer, lambda h: h + 1.0):
            changed = lm.model(input_ids=IDS).logits
        assert not torch.equal(plain, changed)
        assert torch.equal(plain, lm.model(input_ids=IDS).logits)


def test_an_mlp_at_the_end_sees_one_column_and_says_there_what_it_says(lm: LM) -> None:
    layer = decoder_layers(lm.model, lm.arch)[1]
    down = down_module(lm.model, lm.arch, 1)
    with torch.no_grad(), capture(down, "input") as keys, capture(layer, "output") as states:
        lm.model(input_ids=IDS, use_cache=False)
        with mlp_at_end(lm, 1):
            lm.model(input_ids=IDS, use_cache=False)
    assert keys[1].shape == (*IDS.shape[:1], 1, keys[0].shape[-1])
    assert torch.allclose(keys[1][:, -1], keys[0][:, -1], atol=1e-6)
    assert states[1].shape == states[0].shape
    assert torch.allclose(states[1][:, -1], states[0][:, -1], atol=1e-6)


def test_an_mlp_that_is_called_in_a_way_of_its_own_runs_whole(lm: LM) -> None:
    mlp = decoder_layers(lm.model, lm.arch)[1].get_submodule("mlp")
    hidden = torch.randn(2, 3, 32)
    name = next(iter(signature(mlp.forward).parameters))
    with torch.no_grad():
        flat, whole = mlp(hidden.reshape(6, 32)), mlp(hidden)
        with mlp_at_end(lm, 1):
            assert torch.equal(mlp(hidden.reshape(6, 32)), flat)
            assert torch.equal(mlp(**{name: hidden}), whole)
            assert not torch.equal(mlp(hidden), whole)


@pytest.mark.parametrize(
    "kind", ["capture", "edit_input", "edit_output", "mlp_at_end", "truncated", "resumed_at"]
)
def test_nothing_stays_behind_after_an_exception(lm: LM, kind: str) -> None:
    before = snapshot(lm)
    layer = decoder_layers(lm.model, lm.arch)[1]
    blocks: dict[str, Callable[[], AbstractContextManager[object]]] = {
        "capture": lambda: capture(layer, "output"),
        "edit_input": lambda: edit_input(layer, lambda h: h),
        "edit_output": lambda: edit_output(layer, lambda h: h),
        "mlp_at_end": lambda: mlp_at_end(lm, 1),
        "truncated": lambda: truncated(lm, 1),
        "resumed_at": lambda: resumed_at(lm, 1, lambda: torch.zeros(1, 3, 32)),
    }
    with pytest.raises(ZeroDivisionError), blocks[kind]():
        _ = 1 / 0
    assert unchanged(lm, before)


def test_a_forward_of_the_modules_own_comes_back() -> None:
    module = torch.nn.Linear(2, 2)
    own = lambda x: x * 3  # noqa: E731
    module.forward = own  # type: ignore[method-assign]
    with replaced_forward([module], [lambda x: x]):
        assert torch.equal(module(torch.ones(2)), torch.ones(2))
    assert module.forward is own


def test_the_last_layer_may_be_the_edge(lm: LM) -> None:
    """Truncated behind the last layer, and resumed at it, is the whole model."""
    last = lm.n_layers - 1
    with torch.no_grad():
        plain = lm.model(input_ids=IDS, use_cache=False).logits
        with truncated(lm, last), capture(decoder_layers(lm.model, lm.arch)[last], "output") as seen:
            assert torch.equal(lm.model(input_ids=IDS, use_cache=False).logits, plain)
        with resumed_at(lm, last, lambda: seen[0]):
            assert torch.equal(lm.model(input_ids=IDS, use_cache=False).logits, plain)
