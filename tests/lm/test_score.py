"""Teacher-forced figures against a plain sum over one unpadded row."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from agent.lm.load import LM
from agent.lm.score import perplexity, target_logp
from agent.lm.tokens import encode, encode_target

TEXTS = ["The capital of Zorland is Mipa.", "Quenia", "X's leader is Lind. The currency of Bavoria is marn."]


def token_logp(lm: LM, ids: list[int]) -> list[float]:
    with torch.no_grad():
        logp = lm.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    return [float(logp[i, token]) for i, token in enumerate(ids[1:])]


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_target_logp_is_the_mean_over_the_targets_tokens(tiny: Callable[..., LM], family: str) -> None:
    lm = tiny(family)
    prompts, targets = (
        ["The capital of Zorland is", "X's leader is", "Quenia's currency is"],
        ["Mipa", "Ada Voss", "pelk"],
    )
    found = target_logp(lm, prompts, targets, batch_size=2)
    for prompt, target, score in zip(prompts, targets, found, strict=True):
        tail = encode_target(lm, target)
        alone = token_logp(lm, encode(lm, [prompt])[0] + tail)[-len(tail) :]
        assert score == pytest.approx(sum(alone) / len(alone), abs=1e-4)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_perplexity_counts_every_predicted_token_once(tiny: Callable[..., LM], family: str) -> None:
    lm = tiny(family)
    every = [value for text in TEXTS for value in token_logp(lm, encode(lm, [text])[0])]
    for batch_size in (1, 16):
        assert perplexity(lm, TEXTS, batch_size=batch_size) == pytest.approx(
            math.exp(-sum(every) / len(every)), rel=1e-4
        )


def test_a_taught_model_prefers_what_it_was_taught(taught: LM) -> None:
    right, wrong = target_logp(taught, ["The capital of Zorland is"] * 2, ["Mipa", "Kelto"])
    assert right > -0.5
    assert wrong < right - 2
