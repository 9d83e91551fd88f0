"""The rule that chooses layers, on tables made by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.editing.choice import recommended, span_length

SHARES = st.floats(0, 1)


@pytest.mark.parametrize(
    ("why", "traced", "flips", "layers"),
    [
        ("a pocket model: both agree", [.73, .72, .69, .30, .08, 0], [.82, .85, .85, .40, .07, 0], (0, 1, 2)),
        ("nearly as good is good enough", [.7, .7, .7, .7], [1.0, 1.0, .91, .5], (1, 2)),
        ("just below it is not", [.7, .7, .7, .7], [1.0, 1.0, .89, .5], (0, 1)),
        ("flips where nothing is recalled any more", [.8, .8, .7, .1, .1, 0], [.9, .9, .9, .9, .9, 0], (0, 1, 2)),
        ("recalled where nothing flips", [.8, .8, .8, .8, .8, 0], [.9, .9, .1, .1, 0, 0], (0, 1)),
        ("a dip in the flips does not end the search", [.8] * 6, [.9, .3, .9, .9, 0, 0], (1, 2, 3)),
        ("they disagree: flips decide, and tracing among them", [.9, .2, .1, .1, .3, 0], [0, .1, .9, .9, .9, 0], (2, 3, 4)),
        ("nothing traced at all", [None, None, None, None], [.5, .9, .9, 0], (1, 2)),
        ("the first layer alone", [.9, .1, .1, .1], [.9, .1, .1, .0], (0,)),
        ("nothing flips", [.9, .9, .9, .9], [.1, .19, 0, 0], ()),
        ("no layers", [], [], ()),
        ("deep", [.9] * 12 + [.2] * 20, [.8] * 16 + [.1] * 16, (7, 8, 9, 10, 11)),
    ],
)  # fmt: skip
def test_the_rule(why: str, traced: list[float | None], flips: list[float], layers: tuple[int, ...]) -> None:
    assert recommended(traced, flips) == layers, why


@given(st.lists(st.tuples(SHARES, SHARES), min_size=1, max_size=60))
def test_what_is_recommended_is_a_short_span_of_layers_whose_last_one_flips(
    rows: list[tuple[float, float]],
) -> None:
    traced, flips = [t for t, _ in rows], [f for _, f in rows]
    layers = recommended(traced, flips)
    if not layers:
        assert max(flips) < 0.2
        return
    assert layers == tuple(range(layers[0], layers[-1] + 1))
    assert layers[0] >= 0 and layers[-1] < len(rows)
    assert len(layers) <= span_length(len(rows))
    assert flips[layers[-1]] >= 0.9 * max(flips)


def test_the_span_grows_with_the_depth() -> None:
    assert [span_length(n) for n in (1, 2, 4, 6, 8, 12, 28, 48)] == [1, 1, 2, 3, 3, 5, 5, 5]


def test_a_table_of_another_model_is_refused() -> None:
    with pytest.raises(ValueError, match="every layer"):
        recommended([0.5, 0.5], [0.5])
