"""The answers that an edit has to leave alone: the model's own words, as far as they are an answer."""

from __future__ import annotations

import pytest
import torch

from agent.editing.own import OwnAnswers
from agent.lm.generate import generate, greedy
from agent.lm.load import LM
from agent.lm.tokens import encode, pad_left
from tests.models import build, questions

PROMPTS = [prompt for prompt, _ in questions()][:9]


def next_token(lm: LM, prompt: str, said: tuple[int, ...]) -> int:
    ids = [*encode(lm, [prompt])[0], *said]
    with torch.no_grad():
        return int(lm.model(**pad_left(lm, [ids]).model_inputs).logits[0, -1].argmax())


def test_an_answer_is_what_the_model_finds_likeliest_token_by_token(taught: LM) -> None:
    for prompt, said in zip(PROMPTS, OwnAnswers(taught, 4).to(PROMPTS), strict=True):
        assert said
        for count, token in enumerate(said):
            assert token == next_token(taught, prompt, said[:count])
        answer = taught.tokenizer.decode(said)
        assert generate(taught, [prompt], max_new_tokens=4)[0].startswith(answer)


def test_it_goes_as_far_as_its_full_stop_and_no_further_than_it_is_asked(taught: LM) -> None:
    facts = dict(questions())
    whole = OwnAnswers(taught, 8).to(PROMPTS)
    for prompt, said in zip(PROMPTS, whole, strict=True):
        assert taught.tokenizer.decode(said) == f" {facts[prompt]}."
    assert OwnAnswers(taught, 1).to(PROMPTS) == [said[:1] for said in whole]


def test_each_prompt_is_asked_once_and_before_it_is_edited(taught: LM) -> None:
    own = OwnAnswers(taught, 4)
    first = own.to(PROMPTS[:3])
    weight = taught.model.get_output_embeddings().weight
    kept = weight.detach().clone()
    try:
        with torch.no_grad():
            weight.neg_()
        assert own.to(PROMPTS[2::-1]) == first[::-1]
        assert OwnAnswers(taught, 4).to(PROMPTS[:3]) != first
    finally:
        with torch.no_grad():
            weight.copy_(kept)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3", "qwen3-windowed"])
def test_no_padding_counts_as_an_answer(family: str) -> None:
    """A model that ends its text at once: that is its answer, of one token, whatever stands beside it in the batch."""
    lm = build(family)
    end = lm.tokenizer.eos_token_id
    prompts = ["Zorland", "The capital of Quenia and that of Bavoria is"]
    rows = greedy(lm, prompts, max_new_tokens=6)
    first = rows[0][0]
    lm.model.generation_config.eos_token_id = [end, first]
    said = OwnAnswers(lm, 6).to(prompts)
    assert said[0] == (first,)
    assert len(said[1]) == 6 or said[1][-1] in (end, first)


def test_nothing_asked_is_nothing_said(taught: LM) -> None:
    assert OwnAnswers(taught, 3).to([]) == []
