"""Small charts as SVG elements for the inside of an HTML page. Colours are classes of `report.css`, never attributes.

Each has a title in words: a chart says nothing that its title, or the table around it, does not say. All text is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, _HEIGHT, _MARGIN = 240, 26, 8
_GRID = Markup('<path class="grid" d="{}"/>')
_WANTED = Markup('<path class="wanted" d="M{0} 2V{1}"/><path class="flag" d="M{2} 1h8l-4 5z"/>')
_WHISKER = Markup('<path class="whisker" d="M{0} {2}H{1}M{0} {3}V{4}M{1} {3}V{4}"/>')
_CIRCLE = Markup('<circle class="{}" cx="{}" cy="{}" r="{}"/>')
_CROSS = Markup('<path class="missed" d="M{0} {1}l10 10M{0} {2}l10 -10"/>')
_RECT = Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="2"/>')
_TEXT = Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>')
_TITLED = Markup(
    '<svg class="{}" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img"><title>{}</title>{}</svg>'
)
_HIDDEN = Markup('<svg class="{}" viewBox="0 0 {w} {h}" width="{w}" height="{h}" aria-hidden="true">{}</svg>')


@dataclass(frozen=True, slots=True)
class Mark:
    """A figure before and after on an axis from `low` to `high`, with the whisker of the value after and a threshold.

    With `ends` the axis is the row's own, and these are its labels; without, it is that of `scale`.
    """

    before: float | None
    after: float | None
    whisker: tuple[float, float] | None = None
    wanted: float | None = None
    missed: bool = False
    low: float = 0.0
    high: float = 1.0
    ends: tuple[str, str] | None = None

    def x(self, value: float) -> float:
        span = self.high - self.low
        share = clamped((value - self.low) / span) if span > 0 else 0.5
        return _MARGIN + share * (WIDTH - 2 * _MARGIN)


def interval(mark: Mark, title: str) -> Markup:
    """A ring for before, a dot (a cross where the threshold is missed) with a whisker for after, a dashed line for what is wanted."""
    y = _HEIGHT / 2
    height = _HEIGHT if mark.ends is None else _HEIGHT + 12
    if mark.ends is None:
        parts = [
            _GRID.format("".join(f"M{short(x)} 0V{_HEIGHT}" for x in (_MARGIN, WIDTH / 2, WIDTH - _MARGIN)))
        ]
    else:
        parts = [_GRID.format(f"M{_MARGIN} {short(y)}H{WIDTH - _MARGIN}")]
        parts += [label(0, height - 2, mark.ends[0], "start"), label(WIDTH, height - 2, mark.ends[1], "end")]
    if mark.wanted is not None:
        x = mark.x(mark.wanted)
        parts.append(_WANTED.format(short(x), _HEIGHT - 2, short(x - 4)))
    if mark.whisker is not None:
        left, right = map(mark.x, mark.whisker)
        parts.append(_WHISKER.format(*map(short, (left, right, y, y - 5, y + 5))))
    if mark.before is not None:
        parts.append(_CIRCLE.format("before", short(mark.x(mark.before)), short(y), 4.5))
    if mark.after is not None and mark.missed:
        parts.append(_CROSS.format(*map(short, (mark.x(mark.after) - 5, y - 5, y + 5))))
    elif mark.after is not None:
        parts.append(_CIRCLE.format("after", short(mark.x(mark.after)), short(y), 5))
    return drawn(WIDTH, height, "interval", title, parts)


def sign(kind: str) -> Markup:
    """One of the signs of an interval, for the legend."""
    signs = {
        "before": _CIRCLE.format("before", 12, 8, 4.5),
        "after": _CIRCLE.format("after", 12, 8, 5),
        "whisker": _WHISKER.format(1, 23, 8, 3, 13),
        "wanted": _WANTED.format(12, 15, 8),
        "missed": _CROSS.format(7, 3, 13),
    }
    return drawn(24, 16, "symbol", "", [signs[kind]])


def scale(ends: tuple[str, str, str]) -> Markup:
    """The labels over a column of intervals: left end, middle and right end."""
    places = ((0.0, "start"), (WIDTH / 2, "middle"), (float(WIDTH), "end"))
    parts = [label(x, 12, words, anchor) for (x, anchor), words in zip(places, ends, strict=True)]
    return drawn(WIDTH, 16, "interval scale", "", parts)


def bar(share: float, title: str, tick: float | None = None) -> Markup:
    """A bar over `share` (0 to 1) of the width, with a tick at another share."""
    parts = [_RECT.format("track", 0, 3, WIDTH, 12)]
    if share > 0:
        parts.append(_RECT.format("bar", 0, 3, short(clamped(share) * WIDTH), 12))
    if tick is not None:
        x = 1.5 + clamped(tick) * (WIDTH - 3)
        parts.append(Markup('<path class="tick" d="M{} 0V18"/>').format(short(x)))
    return drawn(WIDTH, 18, "bars", title, parts)


def label(x: float, y: float, words: str, anchor: str) -> Markup:
    """Text at a point; `anchor` is start, middle or end."""
    return _TEXT.format(short(x), short(y), anchor, words)


def drawn(width: int, height: int, kind: str, title: str, parts: Sequence[Markup]) -> Markup:
    """The element. Without a title it is ornament, and readers of screens pass over it."""
    inside = Markup("").join(parts)
    if title:
        return _TITLED.format(kind, title, inside, w=width, h=height)
    return _HIDDEN.format(kind, inside, w=width, h=height)


def clamped(share: float) -> float:
    return min(1.0, max(0.0, share))


def short(value: float) -> str:
    """A coordinate to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")
