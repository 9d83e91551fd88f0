from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.verify.intervals import effective_n, ratio_interval, share_interval, wilson

CLUSTERS = st.lists(st.lists(st.booleans(), min_size=1, max_size=6), min_size=1, max_size=12)


@given(CLUSTERS)
def test_answers_of_one_fact_are_worth_less_than_independent_ones_and_never_less_than_one(
    clusters: list[list[bool]],
) -> None:
    total = sum(map(len, clusters))
    assert len(clusters) - 1e-9 <= effective_n(clusters) <= total + 1e-9
    assert effective_n([[ok] for cluster in clusters for ok in cluster]) == total


def test_prompts_that_fail_together_count_once_and_prompts_that_fail_apart_count_each() -> None:
    together = [[True] * 5] * 10 + [[False] * 5] * 10
    apart = [[True, True, False, True, False]] * 20
    assert effective_n(together) == pytest.approx(20)
    assert effective_n(apart) == pytest.approx(100)
    assert effective_n([[True] * 5] * 20) == 20


@given(CLUSTERS)
def test_an_interval_holds_its_share(clusters: list[list[bool]]) -> None:
    oks = [(i, ok) for i, cluster in enumerate(clusters) for ok in cluster]
    low, high = share_interval(oks)
    share = sum(ok for _, ok in oks) / len(oks)
    assert 0 <= low <= share + 1e-9
    assert share - 1e-9 <= high <= 1
    if share == 1:
        assert high == 1


def test_nothing_asked_is_nothing_known() -> None:
    assert share_interval([]) == wilson(0, 0) == (0.0, 1.0)
    assert all(math.isnan(end) for end in ratio_interval([], []))


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """40 facts of 5 prompts each, correlated: independent prompts would promise too much."""
    rng = random.Random(3)
    clustered = plain = 0
    for _ in range(300):
        oks = []
        for cluster in range(40):
            rate = 0.95 if rng.random() < 0.8 else 0.2
            oks += [(cluster, rng.random() < rate) for _ in range(5)]
        truth = 0.8 * 0.95 + 0.2 * 0.2
        low, high = share_interval(oks)
        clustered += low <= truth <= high
        low, high = wilson(sum(ok for _, ok in oks), len(oks))
        plain += low <= truth <= high
    assert clustered / 300 > 0.91
    assert plain / 300 < 0.85


def test_a_ratio_is_resampled_by_pairs() -> None:
    over, under = [1.0, 3.0, 2.0, 6.0] * 10, [1.0, 2.0, 1.0, 4.0] * 10
    low, high = ratio_interval(over, under)
    assert low < sum(over) / sum(under) < high
    assert ratio_interval(over, under) == (low, high)
    assert ratio_interval([2.0] * 5, [4.0] * 5) == (0.5, 0.5)
