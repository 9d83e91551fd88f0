"""Search along one coordinate after another, dear ones outside and cheap ones inside. Pure: it asks a function and compares numbers.

A point is a frozen dataclass, a coordinate one of its fields.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

P = TypeVar("P")
# `score(point, floor)`: how good the point is. Where that is at most `floor`, any number from there up to `floor` will do.
Score = Callable[[P, float], float]
Grid = Mapping[str, Sequence[Any]]
_OUTER_ROUNDS, _INNER_ROUNDS = 2, 2


def descend(start: P, outer: Grid, inner: Grid, score: Score[P], *, margin: float) -> P:
    """The best point found from `start`; of two equally good ones the one that was met first, so that without a reason nothing changes.

    `outer`: candidates of coordinates that are dear to change, in any order; `inner`: of cheap ones, ascending. The inner ones are searched
    at `start` and again at each outer candidate that comes within `margin` of the best with the inner coordinates of the best; what is
    worse is dropped after that one look. Along an inner coordinate each direction ends where it has fallen by more than `margin`.
    """
    walk = _Walk(score, inner, margin)
    best, high = walk.along(start, walk.ask(start, -math.inf))
    for _ in range(_OUTER_ROUNDS):
        began = best
        for name, values in outer.items():
            for value in values:
                other = replace(best, **{name: value})  # type: ignore[type-var]
                look = walk.ask(other, high - margin)
                if look <= high - margin:
                    continue
                point, reached = walk.along(other, look)
                if reached > high:
                    best, high = point, reached
        if best == began:
            break
    return best


@dataclass(slots=True)
class _Walk(Generic[P]):
    """Every point is asked once. An answer cut short at a floor stands for good: the best was at least that floor by then, and only rises."""

    score: Score[P]
    inner: Grid
    margin: float
    seen: dict[P, float] = field(default_factory=dict)

    def ask(self, point: P, floor: float) -> float:
        if point not in self.seen:
            self.seen[point] = self.score(point, floor)
        return self.seen[point]

    def along(self, point: P, high: float) -> tuple[P, float]:
        """The best point that only the inner coordinates lead to, and its score."""
        for _ in range(_INNER_ROUNDS):
            began = point
            for name, values in self.inner.items():
                here = getattr(point, name)
                below, above = [v for v in values if v < here], [v for v in values if v > here]
                at = point
                for direction in (below[::-1], above):
                    for value in direction:
                        other = replace(at, **{name: value})  # type: ignore[type-var]
                        reached = self.ask(other, high)
                        if reached > high:
                            point, high = other, reached
                        elif reached <= high - self.margin:
                            break
            if point == began:
                break
        return point, high
