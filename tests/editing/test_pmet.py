"""PMET: two pushes say the target together, one is kept, and what the layers write of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from agent.editing.compile import Material, compile_delta, find_values
from agent.editing.delta import applied
from agent.editing.keys import SubjectText, keys_and_states
from agent.editing.pmet_values import optimise_mlp_values
from agent.editing.values import optimise_values
from agent.lm.arch import down_module, down_name
from agent.lm.hooks import edit_output
from agent.lm.load import LM
from agent.lm.score import target_logp
from agent.lm.tokens import subject_rows
from agent.types import EditRequest
from tests.editing.edits import QUENIA, ZORLAND, edit, material, settings
from tests.models import snapshot, unchanged

CONTEXTS = ("", "Merovia's leader is Stroud. ")
LAYER = 1


@contextmanager
def pushed(lm: LM, column: int, push: torch.Tensor) -> Iterator[None]:
    """The output of the layer's down projection with `push` at one column from the right of every row."""

    def change(output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[:, column] += push
        return output

    with edit_output(down_module(lm.model, lm.arch, LAYER), change):
        yield


def nll(lm: LM, request: EditRequest, prompt: str, push: torch.Tensor) -> float:
    """Of a one-token target, with the push at the subject's last token."""
    batch = subject_rows(lm, [prompt], [request.subject])
    column = (
        int(batch.positions[0])
        - batch.input_ids.shape[1]
        - len(lm.tokenizer(" " + request.target_new)["input_ids"])
    )
    with pushed(lm, column, push):
        return -target_logp(lm, [prompt], [request.target_new])[0]


def test_the_kept_part_makes_the_target_likelier_and_is_smaller_than_the_whole(taught: LM) -> None:
    """Than MEMIT's value, which has no attention beside it."""
    before = snapshot(taught)
    wanted = settings(steps=60, kl=0.0)
    part = optimise_mlp_values(taught, [ZORLAND, QUENIA], CONTEXTS, LAYER, wanted)
    whole = optimise_values(taught, [ZORLAND, QUENIA], CONTEXTS, LAYER, wanted)
    assert unchanged(taught, before)
    assert part.shape == whole.shape
    assert bool((part.norm(dim=-1) < 0.95 * whole.norm(dim=-1)).all())
    for request, push in zip((ZORLAND, QUENIA), part, strict=True):
        for prompt in request.prompts:
            assert nll(taught, request, prompt, push) < nll(taught, request, prompt, 0 * push) - 2


def test_side_by_side_the_two_pushes_are_one_halved(tiny: Callable[..., LM]) -> None:
    """In GPT-J attention and MLP add to one sum: both pushes see the same gradient, and twice the kept one is the value that MEMIT finds
    in steps of twice the length. In a Llama it is not.
    """
    wanted = settings(steps=10, decay=0.0, clamp=100.0, stop_loss=0.0)
    for family, halved in (("gptj", True), ("llama", False)):
        part = optimise_mlp_values(tiny(family), [ZORLAND], CONTEXTS, LAYER, wanted)
        whole = optimise_values(tiny(family), [ZORLAND], CONTEXTS, LAYER, replace(wanted, lr=2 * wanted.lr))
        assert torch.allclose(2 * part, whole, atol=0.02 * float(whole.abs().max())) == halved


def test_a_value_does_not_depend_on_its_companions(taught: LM) -> None:
    wanted = settings(steps=15)
    alone = optimise_mlp_values(taught, [ZORLAND], CONTEXTS, LAYER, wanted)
    together = optimise_mlp_values(taught, [edit("Tallisk", "Sorna"), ZORLAND], CONTEXTS, LAYER, wanted)
    assert torch.allclose(alone[0], together[1], atol=0.02 * float(alone.norm()))
    seen: list[tuple[int, int]] = []
    chunked = optimise_mlp_values(
        taught, [ZORLAND, QUENIA], CONTEXTS, LAYER, replace(wanted, chunk=1), lambda *step: seen.append(step)
    )
    assert torch.equal(chunked[0], alone[0])
    assert seen == [(1, 2), (2, 2)]


def test_the_clamp_is_relative_to_the_state(taught: LM) -> None:
    rows = [SubjectText(c + p, "Zorland") for p in ZORLAND.prompts for c in CONTEXTS]
    norm = float(keys_and_states(taught, rows, [LAYER]).states.norm(dim=-1).mean())
    push = optimise_mlp_values(taught, [ZORLAND], CONTEXTS, LAYER, settings(clamp=0.1, stop_loss=0.0))
    assert float(push.norm()) == pytest.approx(0.1 * norm, rel=1e-3)


def test_what_is_known_needs_no_push_and_what_is_hopeless_is_given_up(taught: LM) -> None:
    known, hopeless = edit("Zorland", "Mipa"), edit("Quenia", "Mipa Sorna Mipa")
    wanted = settings(stop_loss=0.5, give_up=1.0, steps=2)
    push = optimise_mlp_values(taught, [known, hopeless], ("",), LAYER, wanted)
    assert float(push[0].norm()) == 0.0
    assert bool(push[1].isnan().all())
    assert optimise_mlp_values(taught, [], ("",), LAYER, wanted).shape == (0, push.shape[1])


def test_the_relation_kl_keeps_the_same_subjects_other_answers(taught: LM) -> None:
    def moved(kl: float) -> float:
        wanted = settings(kl=kl, stop_loss=0.0, steps=40, decay=0.0)
        push = optimise_mlp_values(taught, [ZORLAND], CONTEXTS, LAYER, wanted)[0]
        answers = (EditRequest("Zorland", (prompt,), answer) for prompt, answer in
                   (("The currency of Zorland is", "dorin"), ("The leader of Zorland is", "Voss")))  # fmt: skip
        return sum(nll(taught, r, r.prompt, push) - nll(taught, r, r.prompt, 0 * push) for r in answers)

    assert moved(1.0) < 0.5 * moved(0.0)


def test_its_values_are_kept_apart_from_memits(taught: LM) -> None:
    quick = {"steps": 6, "samples": 20}
    memit, pmet = (
        find_values(taught, [ZORLAND], settings(algorithm=a, **quick), {}) for a in ("memit", "pmet")
    )
    assert not memit.keys() & pmet.keys()
    other = compile_delta(
        taught, [ZORLAND], settings(algorithm="pmet", **quick), Material(known_values=memit)
    )
    assert other.values.keys() == pmet.keys()


def test_each_layer_writes_its_share_by_square_roots(taught: LM) -> None:
    """Of three layers the first writes 1 / sqrt(3) of the value, and the last all that its own output lacks: together more than once."""
    layers = (0, 1, 2)
    wanted = settings(algorithm="pmet", layers=layers, covariance=1e-4, contexts=0, carriers=False)
    compiled = compile_delta(taught, [ZORLAND], wanted, Material())
    (value,) = compiled.values.values()
    rows = [SubjectText(prompt, "Zorland") for prompt in ZORLAND.prompts]
    before = keys_and_states(taught, rows, layers)
    first = compiled.delta.updates[down_name(taught.arch, 0)]
    written = (before.keys[0] @ first.right @ first.left.T).mean(0)
    assert float(written @ value / value.square().sum()) == pytest.approx(3**-0.5, abs=0.02)
    with applied(taught, compiled.delta):
        change = (keys_and_states(taught, rows, layers).states - before.states).mean(0)
    assert float(change @ value / value.square().sum()) > 1.5


def test_written_just_once_the_kept_part_says_less(taught_gpt2: LM) -> None:
    """Why the residual is counted at the MLP's output: counted at the residual stream, as MEMIT does, several layers together would write
    the values once, as one layer does here.
    """
    lm = taught_gpt2
    edits = [ZORLAND, QUENIA, edit("Bavoria", "Ulmo")]
    known = material("Zorland", "Quenia", "Bavoria")
    prompts, targets = zip(*((p, r.target_new) for r in edits for p in r.prompts), strict=True)
    pmet = settings(algorithm="pmet")
    compiled = compile_delta(lm, edits, pmet, known)
    with applied(lm, compiled.delta):
        spread = target_logp(lm, prompts, targets)
    once = compile_delta(lm, edits, settings(algorithm="pmet", layers=(LAYER,)), known).delta
    with applied(lm, once):
        reached = target_logp(lm, prompts, targets)
    assert min(spread) > min(reached)
    assert sum(spread) > sum(reached)
