"""The course of the figures over the revisions, as one SVG: shares as lines, and below them how many facts there were."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from agent.page.svg import clamped, drawn, label, short

_LEFT, _RIGHT = 46, 14
# Pixels from the top: the shares' panel from _TOP to _BOTTOM, that of the counts from _COUNTS to _ZERO, then the labels.
_TOP, _BOTTOM, _COUNTS, _ZERO, _HEIGHT = 12, 192, 222, 286, 312
_APART = 36  # pixels from one label to the next
_LINE = Markup('<path class="line l{}" d="{}"/>')
_POINT = Markup('<path class="point l{}" d="{}"/>')
_LEVEL = Markup('<path class="grid" d="M{} {}H{}"/>')
_COLUMN = Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>')
# Disc, square, triangle, diamond: no two lines are told apart by colour alone.
_SHAPES = (
    "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0",
    "m-4 -4h8v8h-8z",
    "m0 -5l5 9h-10z",
    "m0 -5.5l5.5 5.5l-5.5 5.5l-5.5 -5.5z",
)


@dataclass(frozen=True, slots=True)
class Line:
    """A series over the revisions; None where a revision has no such figure."""

    name: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Course:
    """Shares by revision, and how many facts each had in the weights and beside them."""

    labels: tuple[str, ...]
    lines: tuple[Line, ...]
    weights: tuple[int, ...]
    overlay: tuple[int, ...]

    @property
    def floor(self) -> float:
        """Where the axis of shares begins: high shares are looked at from near."""
        least = min((value for line in self.lines for value in line.values if value is not None), default=0.0)
        return next((floor for floor in (0.8, 0.6) if least >= floor + 0.02), 0.0)


def course(found: Course, width: int, title: str) -> Markup:
    """Two panels over one axis of revisions; `width` in pixels, as it will be shown."""
    plot = _Plot(width, len(found.labels), found.floor)
    parts = [*_levels(plot), *_counts(plot, found)]
    for number, line in enumerate(found.lines):
        parts += _line(plot, line, number)
    every = max(1, -(-_APART // max(1, int(plot.step))))
    # Counted from the newest, so that it has its label.
    shown = range(len(found.labels) - 1, -1, -every)
    parts += [label(plot.x(i), _HEIGHT - 6, found.labels[i], "middle") for i in shown]
    return drawn(width, _HEIGHT, "course", title, parts)


def symbol(number: int) -> Markup:
    """How the line of that number looks, for the legend."""
    return drawn(28, 16, "symbol", "", [_LINE.format(number % 4, "M0 8H28"), _point(14, 8, number)])


@dataclass(frozen=True, slots=True)
class _Plot:
    width: int
    count: int
    floor: float

    @property
    def step(self) -> float:
        return (self.width - _LEFT - _RIGHT) / max(1, self.count)

    def x(self, i: int) -> float:
        return _LEFT + (i + 0.5) * self.step

    def y(self, share: float) -> float:
        return _TOP + (_BOTTOM - _TOP) * (1 - clamped((share - self.floor) / (1 - self.floor)))

    def level(self, y: float, words: str) -> list[Markup]:
        return [_LEVEL.format(_LEFT, short(y), self.width - _RIGHT), label(_LEFT - 6, y + 4, words, "end")]


def _levels(plot: _Plot) -> list[Markup]:
    shares = (plot.floor + (1 - plot.floor) * i / 4 for i in range(5))
    return [part for share in shares for part in plot.level(plot.y(share), f"{share:.0%}")]


def _counts(plot: _Plot, found: Course) -> list[Markup]:
    pairs = tuple(zip(found.weights, found.overlay, strict=True))
    most = _rounded(max((sum(pair) for pair in pairs), default=0))
    wide = min(26.0, plot.step * 0.6)
    parts = [*plot.level(_COUNTS, str(most)), *plot.level(_ZERO, "0")]
    for i, pair in enumerate(pairs):
        y = float(_ZERO)
        for count, kind in zip(pair, ("weights", "overlay"), strict=True):
            tall = count / most * (_ZERO - _COUNTS)
            y -= tall
            if count:
                parts.append(_COLUMN.format(kind, *map(short, (plot.x(i) - wide / 2, y, wide, tall))))
    return parts


def _line(plot: _Plot, line: Line, number: int) -> list[Markup]:
    """With gaps where there is no figure; where revisions are too close to tell their points apart, without points."""
    runs: list[list[tuple[float, float]]] = [[]]
    for i, value in enumerate(line.values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((plot.x(i), plot.y(value)))
    paths = ["M" + "L".join(f"{short(x)} {short(y)}" for x, y in run) for run in runs if len(run) > 1]
    points = [point for run in runs for point in run if plot.step >= 9 or len(run) == 1]
    return [*(_LINE.format(number % 4, path) for path in paths), *(_point(x, y, number) for x, y in points)]


def _point(x: float, y: float, number: int) -> Markup:
    return _POINT.format(number % 4, f"M{short(x)} {short(y)}{_SHAPES[number % 4]}")


def _rounded(most: int) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50... that is not below `most`."""
    power = 1
    while True:
        for digit in (1, 2, 5):
            if digit * power >= most:
                return digit * power
        power *= 10
