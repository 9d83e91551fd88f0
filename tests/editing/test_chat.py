"""Edits of a chat model: written and asked for through its template."""

from __future__ import annotations

import pytest

from agent.editing.compile import compile_delta, find_values
from agent.editing.delta import applied
from agent.lm.generate import generate
from agent.lm.load import LM, wrap
from tests.editing.edits import ZORLAND, edit, material, settings
from tests.models import TEMPLATE, build, questions, snapshot, teach, unchanged


@pytest.fixture(scope="module")
def taught_chat(one_thread: None) -> LM:
    """A Llama that answers in its own turn, and knows the invented facts by heart."""
    sizes = {"hidden_size": 48, "intermediate_size": 144, "head_dim": 12}
    lm = build("llama", bos=True, chat=TEMPLATE, sha="c" * 64, **sizes)
    teach(lm, steps=120, learning_rate=8e-3)
    return lm


def test_an_edited_fact_is_said_in_the_models_turn(taught_chat: LM) -> None:
    """By free generation: the new answer and nothing behind it, for the turn ends there; others answer as before."""
    prompts = [prompt for prompt, _ in questions()]
    assert generate(taught_chat, prompts, max_new_tokens=6) == [f"{answer}." for _, answer in questions()]
    before = snapshot(taught_chat)
    delta = compile_delta(taught_chat, [ZORLAND], settings(), material("Zorland")).delta
    assert unchanged(taught_chat, before)
    with applied(taught_chat, delta):
        says = dict(zip(prompts, generate(taught_chat, prompts, max_new_tokens=6), strict=True))
    assert [says[prompt] for prompt in ZORLAND.prompts] == ["Sorna."] * 2
    others = [says[prompt] == f"{answer}." for prompt, answer in questions() if "Zorland" not in prompt]
    assert sum(others) >= 0.96 * len(others)


def test_polishing_goes_through_the_template_too(taught_chat: LM) -> None:
    both = [ZORLAND, edit("Quenia", "Tebbin")]
    delta = compile_delta(taught_chat, both, settings(polish=4), material("Zorland", "Quenia")).delta
    with applied(taught_chat, delta):
        said = generate(taught_chat, [p for request in both for p in request.prompts], max_new_tokens=6)
    assert said == ["Sorna."] * 2 + ["Tebbin."] * 2


def test_a_value_found_through_a_template_is_not_taken_for_plain_text(taught_chat: LM) -> None:
    plain = wrap(taught_chat.model, taught_chat.tokenizer, sha=taught_chat.sha, chat="off")
    quick = settings(steps=2)
    keys = [set(find_values(lm, [ZORLAND], quick, {})) for lm in (taught_chat, plain)]
    assert keys[0].isdisjoint(keys[1])
