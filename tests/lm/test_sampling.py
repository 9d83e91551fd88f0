"""Drawing: by the shares of the tokens, the same for the same seed, and blind to the rest of the batch."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from agent.lm.sampling import Draw, Sampling, next_tokens

LOGITS = torch.tensor([0.5, 0.3, 0.2, 0.0]).log()


def drawn(sampling: Sampling, times: int = 4000) -> Counter[int]:
    draw = Draw(sampling)
    return Counter(draw.token(LOGITS) for _ in range(times))


def test_shares_are_those_of_the_model() -> None:
    found = drawn(Sampling(1.0, 1.0, 1))
    # 4 standard deviations of 4000 draws
    assert [found[i] / 4000 for i in range(3)] == pytest.approx([0.5, 0.3, 0.2], abs=0.032)
    assert found[3] == 0


def test_temperature_sharpens_and_flattens() -> None:
    cold, hot = drawn(Sampling(0.5, 1.0, 1)), drawn(Sampling(2.0, 1.0, 1))
    squares = 0.25 + 0.09 + 0.04
    assert cold[0] / 4000 == pytest.approx(0.25 / squares, abs=0.032)
    assert hot[0] < 2000 < cold[0]


@pytest.mark.parametrize(
    ("top_p", "wanted"), [(0.0, {0}), (0.4, {0}), (0.6, {0, 1}), (0.79, {0, 1}), (0.81, {0, 1, 2})]
)
def test_top_p_keeps_the_likeliest_that_together_reach_it(top_p: float, wanted: set[int]) -> None:
    assert set(drawn(Sampling(1.0, top_p, 1), 300)) == wanted


def test_an_icy_temperature_is_greedy_and_no_error() -> None:
    assert set(drawn(Sampling(1e-300, 1.0, 1), 20)) == {0}


def test_a_seed_draws_the_same_whatever_else_is_in_the_batch() -> None:
    alone, beside = Draw(Sampling(1.0, 1.0, 7)), Draw(Sampling(1.0, 1.0, 7))
    other, greedy = Draw(Sampling(1.0, 1.0, 8)), Draw(Sampling())
    first = [next_tokens(LOGITS[None], [alone])[0] for _ in range(50)]
    second = [next_tokens(LOGITS.expand(3, -1), [other, beside, greedy]) for _ in range(50)]
    assert first == [row[1] for row in second]
    assert first != [row[0] for row in second]
    assert {row[2] for row in second} == {0}
