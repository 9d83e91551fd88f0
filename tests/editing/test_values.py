"""The value vectors: with the push at the subject the model says the target, and nothing else decides it."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from agent.editing.contexts import prefixes
from agent.editing.keys import SubjectText, keys_and_states
from agent.editing.values import optimise_values
from agent.lm.arch import decoder_layers
from agent.lm.hooks import edit_output
from agent.lm.load import LM
from agent.lm.tokens import encode_target, subject_rows
from agent.types import EditRequest
from tests.editing.edits import QUENIA, ZORLAND, edit, settings
from tests.models import snapshot, unchanged

CONTEXTS = ("", "Merovia's leader is Stroud. ")
LAYER = 1


def pushed_logp(lm: LM, request: EditRequest, prompt: str, push: torch.Tensor) -> tuple[float, torch.Tensor]:
    """Mean log-probability of the target after `prompt`, and the distribution behind the prompt, with the
    push in place.
    """
    tail = encode_target(lm, request.target_new)
    batch = subject_rows(lm, [prompt], [request.subject], [tail])
    column = int(batch.positions[0])

    def change(hidden: torch.Tensor) -> torch.Tensor:
        hidden = hidden.clone()
        hidden[0, column] += push
        return hidden

    with torch.no_grad(), edit_output(decoder_layers(lm.model, lm.arch)[LAYER], change):
        logp = lm.model(**batch.model_inputs).logits[0].log_softmax(-1)
    start = len(batch.input_ids[0]) - len(tail)
    return float(torch.stack([logp[start - 1 + i, token] for i, token in enumerate(tail)]).mean()), logp[
        start - 1
    ]


@pytest.mark.parametrize(("target", "least"), [("Sorna", -0.5), ("Mipa Sorna Mipa", -9.0)])
def test_with_the_push_the_model_says_the_target_everywhere(taught: LM, target: str, least: float) -> None:
    """In every prompt and context, padded or not. A text nobody taught it becomes likelier, all its tokens
    counted.
    """
    before = snapshot(taught)
    request = edit("Zorland", target)
    delta = optimise_values(taught, [request, QUENIA], CONTEXTS, LAYER, settings(steps=60, kl=0.0))
    assert unchanged(taught, before)
    assert delta.shape == (2, taught.model.config.hidden_size)
    for prompt in request.prompts:
        for context in CONTEXTS:
            with_push, _ = pushed_logp(taught, request, context + prompt, delta[0])
            without, _ = pushed_logp(taught, request, context + prompt, 0 * delta[0])
            assert with_push > max(least, without + 0.5)


def test_a_value_does_not_depend_on_its_companions(taught: LM) -> None:
    """Requests share batches, and leave them at different times; each is still its own problem."""
    alone = optimise_values(taught, [ZORLAND], CONTEXTS, LAYER, settings())
    together = optimise_values(
        taught, [edit("Tallisk", "Sorna"), ZORLAND, QUENIA], CONTEXTS, LAYER, settings()
    )
    assert torch.allclose(alone[0], together[1], atol=0.02 * float(alone.norm()))
    chunked = optimise_values(taught, [ZORLAND, QUENIA], CONTEXTS, LAYER, settings(chunk=1))
    assert torch.equal(chunked[0], alone[0])


def test_facts_of_one_subject_are_one_push_that_says_them_all(taught: LM) -> None:
    """Each one's keep prompts name the other's relation, and do not hold it back."""
    capital, leader = edit("Zorland", "Sorna"), edit("Zorland", "Quill", "leader")
    assert set(capital.keep) & set(leader.prompts) and set(leader.keep) & set(capital.prompts)
    wanted = settings(kl=1.0, steps=60, stop_loss=0.01)
    one, other, quenia = optimise_values(taught, [capital, leader, QUENIA], CONTEXTS, LAYER, wanted)
    assert torch.equal(one, other) and not torch.equal(one, quenia)
    for request in (capital, leader):
        said = [pushed_logp(taught, request, c + p, one)[0] for p in request.prompts for c in CONTEXTS]
        assert min(said) > -1.0
    # What neither of them changes stays.
    (kept,) = set(capital.keep) & set(leader.keep)
    before, after = (pushed_logp(taught, capital, kept, push)[1] for push in (0 * one, one))
    assert int(before.argmax()) == int(after.argmax())


def test_what_cannot_be_said_does_not_push_its_subjects_other_facts_about(taught: LM) -> None:
    hopeless, leader = edit("Zorland", "Mipa Sorna Mipa"), edit("Zorland", "Quill", "leader")
    wanted = settings(give_up=1.0, steps=25)
    seen: list[tuple[int, int]] = []
    given_up, push = optimise_values(
        taught, [hopeless, leader], ("",), LAYER, wanted, lambda *step: seen.append(step)
    )
    assert bool(given_up.isnan().all())
    assert torch.equal(push, optimise_values(taught, [leader], ("",), LAYER, wanted)[0])
    assert seen == [(1, 2), (2, 2)]


def test_the_clamp_is_relative_to_the_state(taught: LM) -> None:
    rows = [SubjectText(c + p, "Zorland") for p in ZORLAND.prompts for c in CONTEXTS]
    norm = float(keys_and_states(taught, rows, [LAYER]).states.norm(dim=-1).mean())
    for clamp in (0.1, 0.5):
        push = optimise_values(taught, [ZORLAND], CONTEXTS, LAYER, settings(clamp=clamp, stop_loss=0.0))
        assert float(push.norm()) == pytest.approx(clamp * norm, rel=1e-3)


def test_the_relation_kl_keeps_the_same_subjects_other_answers(taught: LM) -> None:
    """A keep prompt's distribution behind the prompt moves less with the KL term than without."""

    def moved(kl: float) -> float:
        wanted = settings(kl=kl, stop_loss=0.0, steps=40, decay=0.0)
        push = optimise_values(taught, [ZORLAND], CONTEXTS, LAYER, wanted)[0]
        total = 0.0
        for prompt in ZORLAND.keep:
            _, after = pushed_logp(taught, ZORLAND, prompt, push)
            _, before = pushed_logp(taught, ZORLAND, prompt, 0 * push)
            total += float((before.exp() * (before - after)).sum())
        return total

    assert moved(1.0) < 0.5 * moved(0.0)


def test_of_many_prompts_only_the_first_count_if_so_wanted(taught: LM) -> None:
    """And by turns all of them do: with three prompts and three turns each step sees two."""
    three = dataclasses.replace(ZORLAND, prompts=(*ZORLAND.prompts, "Zorland has leader"))

    def push(request: EditRequest, **changes: int) -> torch.Tensor:
        return optimise_values(taught, [request], CONTEXTS, LAYER, settings(stop_loss=0.0, **changes))[0]

    assert torch.equal(push(three, prompts=2), push(ZORLAND))
    assert torch.equal(push(ZORLAND, prompts=5), push(ZORLAND))
    for changes in ({}, {"turns": 3}):
        told, _ = pushed_logp(taught, three, three.prompts[2], push(three, **changes))
        untold, _ = pushed_logp(taught, three, three.prompts[2], push(three, prompts=2))
        assert told > untold + 0.2


def test_by_turns_every_keep_prompt_is_looked_at(taught: LM) -> None:
    """With as many turns as keep prompts each step sees one of them; all move less than without, and companions do not matter."""
    assert len(ZORLAND.keep) == 2

    def moved(**changes: float) -> list[float]:
        wanted = settings(stop_loss=0.0, steps=40, decay=0.0, **changes)
        push = optimise_values(taught, [ZORLAND], CONTEXTS, LAYER, wanted)[0]
        pairs = [(pushed_logp(taught, ZORLAND, p, 0 * push)[1], pushed_logp(taught, ZORLAND, p, push)[1])
                 for p in ZORLAND.keep]  # fmt: skip
        return [float((before.exp() * (before - after)).sum()) for before, after in pairs]

    free, held = moved(kl=0.0), moved(kl=1.0, turns=2)
    assert all(h < 0.6 * f for f, h in zip(free, held, strict=True))
    alone = optimise_values(taught, [ZORLAND], CONTEXTS, LAYER, settings(turns=2))
    together = optimise_values(
        taught, [edit("Tallisk", "Sorna"), ZORLAND], CONTEXTS, LAYER, settings(turns=2)
    )
    assert torch.allclose(alone[0], together[1], atol=0.02 * float(alone.norm()))


def test_a_fact_that_the_model_knows_needs_no_push(taught: LM) -> None:
    push = optimise_values(taught, [edit("Zorland", "Mipa")], ("",), LAYER, settings(stop_loss=0.5))
    assert float(push.norm()) == 0.0


def test_no_requests_no_values(taught: LM) -> None:
    assert optimise_values(taught, [], CONTEXTS, LAYER, settings()).shape == (
        0,
        taught.model.config.hidden_size,
    )


def test_progress_counts_facts(taught: LM) -> None:
    seen: list[tuple[int, int]] = []
    requests = [ZORLAND, QUENIA, edit("Tallisk", "Ulmo")]
    optimise_values(
        taught, requests, ("",), LAYER, settings(steps=1, chunk=2), lambda *step: seen.append(step)
    )
    assert seen == [(2, 3), (3, 3)]


def test_contexts_of_a_model_fit_its_requests(taught: LM) -> None:
    """Sampled prefixes may name the subject themselves: the prompt's own mention is meant."""
    contexts = (*prefixes(taught, 2, 8, 0), "Zorland's leader is Voss. ")
    push = optimise_values(taught, [ZORLAND], contexts, LAYER, settings(steps=60, kl=0.0))
    assert pushed_logp(taught, ZORLAND, contexts[-1] + ZORLAND.prompt, push[0])[0] > -0.5
