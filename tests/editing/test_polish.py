"""Polishing: the objective falls, the rank and the keys stay, and nothing else is touched."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from agent.editing.compile import Compiled, Material, compile_delta
from agent.editing.covariance import statistics_for
from agent.editing.delta import Delta, applied
from agent.editing.looks import steps_for
from agent.errors import ConfigError
from agent.lm.arch import as_out_in, down_module, down_name
from agent.lm.load import LM
from agent.lm.tokens import encode, encode_target, pad_left
from agent.types import EditRequest
from tests.editing.edits import QUENIA, ZORLAND, edit, material, settings
from tests.models import snapshot, unchanged

EDITS = [ZORLAND, QUENIA, edit("Bavoria", "Ulmo")]
# Few steps and a strong covariance: a solve that leaves something to be done.
ROUGH = {"steps": 12, "covariance": 0.5, "rounds": 1, "samples": 40}


def compiled(lm: LM, **changes: object) -> Compiled:
    known = material("Zorland", "Quenia", "Bavoria")
    return compile_delta(lm, EDITS, settings(**{**ROUGH, **changes}), known)


def last_logp(lm: LM, prompt: str) -> torch.Tensor:
    """(vocab,) log-probabilities of the next token."""
    with torch.no_grad():
        return lm.model(**pad_left(lm, encode(lm, [prompt])).model_inputs).logits[0, -1].log_softmax(-1)


def objective(lm: LM, found: Compiled, requests: list[EditRequest], kl: float) -> float:
    """Mean NLL of one-token targets plus kl times the mean divergence of the keep prompts from the base."""
    keeps = [(prompt, last_logp(lm, prompt)) for r in requests for prompt in r.keep]
    with applied(lm, found.delta):
        nll = [
            -float(last_logp(lm, p)[encode_target(lm, r.target_new)[0]]) for r in requests for p in r.prompts
        ]
        moved = [float((was.exp() * (was - last_logp(lm, p))).sum()) for p, was in keeps]
    return sum(nll) / len(nll) + kl * sum(moved) / len(moved)


@pytest.mark.parametrize("turns", [1, 2])
def test_polishing_lowers_what_it_minimises(taught: LM, turns: int) -> None:
    rough, better = (compiled(taught, polish=n, polish_lr=0.2, kl=0.5, turns=turns) for n in (0, 90))
    assert objective(taught, better, EDITS, 0.5) < 0.8 * objective(taught, rough, EDITS, 0.5)


def test_the_keys_and_the_rank_stay_and_the_base_is_not_touched(taught: LM) -> None:
    before = snapshot(taught)
    rough, better = compiled(taught), compiled(taught, polish=3)
    assert unchanged(taught, before)
    assert all(p.grad is None for p in taught.model.parameters())
    for name, update in better.delta.updates.items():
        assert torch.equal(update.right, rough.delta.updates[name].right)
        assert update.rank == len(EDITS)
        assert not torch.equal(update.left, rough.delta.updates[name].left)


def test_a_weight_on_the_covariance_leaves_ordinary_text_alone(taught: LM) -> None:
    """tr(dW C dWᵀ) / tr(W C Wᵀ), measured from the outside."""
    free, calm = (
        compiled(taught, polish=90, polish_lr=0.2, polish_covariance=weight) for weight in (0.0, 500.0)
    )
    found = statistics_for(taught, (0, 1), settings(**ROUGH))

    def disturbed(delta: Delta) -> float:
        total = 0.0
        for layer, covariance in found.matrices.items():
            weight = as_out_in(down_module(taught.model, taught.arch, layer)).detach()
            change, c = delta.updates[down_name(taught.arch, layer)].dense(), covariance.float()
            total += float((change @ c * change).sum() / (weight @ c * weight).sum())
        return total

    assert disturbed(calm.delta) < 0.8 * disturbed(free.delta)
    assert objective(taught, calm, EDITS, 0.5) < objective(taught, compiled(taught), EDITS, 0.5)


def test_the_same_request_gives_the_same_bytes_in_any_order(taught: LM) -> None:
    known = material("Zorland", "Quenia", "Bavoria")
    wanted = settings(**ROUGH, polish=3)
    one, other = (compile_delta(taught, order, wanted, known) for order in (EDITS, EDITS[::-1]))
    assert one.delta.sha == other.delta.sha


def test_values_do_not_depend_on_polishing(taught: LM) -> None:
    rough = compiled(taught)
    told: list[str] = []
    compile_delta(
        taught, EDITS, settings(**ROUGH, polish=6), Material(known_values=rough.values),
        lambda stage, done, total: told.append(stage),
    )  # fmt: skip
    assert "values" not in told and told.count("polish") == 2  # a third of the steps, of few facts


def test_a_fact_that_was_given_up_stays_out(taught: LM) -> None:
    hopeless = dataclasses.replace(ZORLAND, target_new="Mipa Sorna Mipa Ulmo")
    wanted = settings(**{**ROUGH, "steps": 2}, give_up=1e-6, polish=2)
    found = compile_delta(taught, [hopeless, QUENIA], wanted, Material())
    assert all(not update.left.any() for update in found.delta.updates.values())


def test_few_facts_take_fewer_steps_and_many_take_all() -> None:
    counts = (1, 10, 16, 17, 60, 100, 149, 150, 1000)
    assert [steps_for(36, count) for count in counts] == [12, 12, 12, 13, 23, 30, 36, 36, 36]
    assert steps_for(1, 1) == 1


def test_a_negative_number_of_steps_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"editing\.polish must not be negative"):
        settings(polish=-1)
