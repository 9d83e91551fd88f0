"""The search along coordinates, on score tables made by hand: it needs no model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from agent.descent import descend


@dataclass(frozen=True)
class Point:
    where: str
    size: float
    weight: float
    hold: float


OUTER = {"where": ("a", "b", "c"), "size": (0.5, 1.0, 2.0)}
INNER = {"weight": (0.0, 0.1, 1.0, 10.0), "hold": (0.0, 0.3, 1.0)}
ALL = [Point(*values) for values in product(*OUTER.values(), *INNER.values())]
START = Point("a", 1.0, 0.1, 1.0)
TABLES = st.lists(st.integers(0, 100), min_size=len(ALL), max_size=len(ALL)).map(
    lambda scores: dict(zip(ALL, (score / 100 for score in scores), strict=True))
)


@dataclass
class Asked:
    """Answers from a table, and what was asked. `shy`: where an answer may be vague, so much of the way up to the floor."""

    table: Callable[[Point], float]
    points: list[Point]
    shy: float = 0.0

    def __call__(self, point: Point, floor: float) -> float:
        self.points.append(point)
        score = self.table(point)
        # At most the floor: the sum may be rounded up beyond it.
        return min(floor, score + self.shy * (floor - score)) if score <= floor < math.inf else score


def run(table: Callable[[Point], float], *, margin: float = 0.1, shy: float = 0.0) -> tuple[Point, Asked]:
    asked = Asked(table, [], shy)
    return descend(START, OUTER, INNER, asked, margin=margin), asked


@given(TABLES, st.floats(0.01, 2.0), st.sampled_from([0.0, 0.5, 1.0]))
def test_nothing_that_was_asked_is_better_than_the_result(
    table: dict[Point, float], margin: float, shy: float
) -> None:
    """Nor can an answer that was cut short win; and nothing is asked twice."""
    found, asked = run(table.__getitem__, margin=margin, shy=shy)
    assert table[found] == max(table[point] for point in asked.points)
    assert asked.points[0] == START
    assert len(asked.points) == len(set(asked.points))
    assert (found == START) == (table[found] == table[START])
    assert run(table.__getitem__, margin=margin, shy=shy) == (found, asked)


BEST = [Point("c", 2.0, 10.0, 0.0), Point("b", 0.5, 0.0, 0.3), START]


def test_a_hill_is_climbed_to_its_top_with_few_questions() -> None:
    for top in BEST:

        def hill(point: Point, top: Point = top) -> float:
            far = [
                values.index(getattr(point, name)) - values.index(getattr(top, name)) for name, values in GRID
            ]
            return 1 - sum(map(abs, far)) / 20

        found, asked = run(hill)
        assert found == top
        assert len(asked.points) < len(ALL) * 0.6


GRID = list({**OUTER, **INNER}.items())


def test_without_a_reason_nothing_changes() -> None:
    assert run(lambda point: 0.5)[0] == START


def test_a_candidate_that_is_far_off_is_looked_at_once() -> None:
    def table(point: Point) -> float:
        return {"a": 0.8, "b": 0.75, "c": 0.6}[point.where] + (
            0.15 if point.weight == 10.0 and point.where == "b" else 0
        )

    found, asked = run(table)
    assert (found.where, found.weight) == ("b", 10.0)
    assert sum(point.where == "c" for point in asked.points) <= 2
    assert run(table, margin=0.04)[0].where == "a"


def test_a_direction_that_falls_is_left() -> None:
    def table(point: Point) -> float:
        return {0.0: 1.0, 0.1: 0.9, 1.0: 0.2, 10.0: 0.3}[point.weight]

    found, asked = run(table)
    assert found.weight == 0.0
    assert not any(point.weight == 10.0 for point in asked.points)


def test_inner_coordinates_are_searched_anew_for_each_candidate() -> None:
    """The best weight may be another one in another place."""

    def table(point: Point) -> float:
        return {"a": {0.1: 0.8}, "b": {0.1: 0.75, 1.0: 0.78, 10.0: 0.9}}.get(point.where, {}).get(
            point.weight, 0.7
        )

    assert replace(run(table)[0], hold=0.0) == Point("b", 1.0, 10.0, 0.0)
