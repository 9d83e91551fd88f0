"""The charts of a page, made from its view: an interval for every metric, bars for weights and relations, the course."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from agent.page.course import Course, Line, course, symbol
from agent.page.metrics import MetricRow, spoken
from agent.page.svg import Mark, bar, interval, scale, sign
from agent.page.view import Norm, View

# Wide screens, and narrow ones: text in a chart that is only scaled would become too small to read.
_WIDE, _NARROW = 880, 330
NEWEST = 200  # revisions that are drawn
_KEY = (
    ("before", "before"),
    ("after", "after"),
    ("whisker", "95 % interval"),
    ("wanted", "what the gate wants"),
    ("missed", "after, and missed"),
)
_COURSE = ("efficacy", "paraphrase", "same_subject_unchanged", "others_unchanged")


@dataclass(frozen=True, slots=True)
class Drawings:
    """By metric, weight and relation the chart of its row; `scale` is the axis of shares. `course` names the metrics of the course, of
    which the `newest` revisions are drawn; `legend` has the looks of its lines, `key` what the signs of an interval mean.
    """

    metrics: dict[str, Markup]
    norms: dict[str, Markup]
    relations: dict[str, Markup]
    scale: Markup
    wide: Markup
    narrow: Markup
    legend: tuple[tuple[Markup, str], ...]
    course: tuple[str, ...]
    key: tuple[tuple[Markup, str], ...]
    newest: int = NEWEST


def drawings(view: View, words: Callable[[object], str] = str) -> Drawings:
    """`words` makes a name from outside fit for a title."""
    found = _course(view)
    title = f"{', '.join(map(spoken, _COURSE))} and number of facts over {len(found.labels)} revisions; the table below has the figures"
    return Drawings(
        metrics={row.name: _metric(row, words) for row in view.metrics},
        norms=_norms(view.norms, words),
        relations={
            share.relation: bar(
                share.after,
                f"{words(spoken(share.relation))}: {share.before:.1%} right before, {share.after:.1%} after",
                share.before,
            )
            for share in view.relations
        },
        scale=scale(("0 %", "50 %", "100 %")),
        wide=course(found, _WIDE, title),
        narrow=course(found, _NARROW, title),
        legend=tuple((symbol(number), spoken(line.name)) for number, line in enumerate(found.lines)),
        course=tuple(line.name for line in found.lines),
        key=tuple((sign(name), meaning) for name, meaning in _KEY),
    )


def _metric(row: MetricRow, words: Callable[[object], str]) -> Markup:
    whisker = None if row.low is None or row.high is None else (row.low, row.high)
    low, high = (0.0, 1.0) if row.share else _span(row)
    ends = None if row.share else (_number(low, False), _number(high, False))
    missed = row.outcome in ("refused", "below")
    mark = Mark(row.before, row.after, whisker, row.wanted, missed, low, high, ends)
    said = [words(row.label)]
    for name, value in (("before", row.before), ("after", row.after)):
        said.append(f"{name} {_number(value, row.share)}")
    if whisker is not None:
        said.append(f"95 % interval {_number(row.low, row.share)} to {_number(row.high, row.share)}")
    if row.wanted is not None:
        said.append(f"wanted at {'most' if row.at_most else 'least'} {_number(row.wanted, row.share)}")
    return interval(mark, ", ".join(said))


def _norms(norms: Sequence[Norm], words: Callable[[object], str]) -> dict[str, Markup]:
    """Over the largest; what is allowed is a tick where it is in sight."""
    largest = max((norm.value or 0.0 for norm in norms), default=0.0)
    found = {}
    for norm in norms:
        allowed = norm.wanted if norm.wanted is not None and norm.wanted <= 2 * largest else None
        most = max(largest, allowed or 0.0)
        said = f"{words(norm.name)}: {_number(norm.value, False)}"
        if norm.wanted is not None:
            said += f", at most {norm.wanted:g} allowed"
        share = (norm.value or 0.0) / most if most else 0.0
        found[norm.name] = bar(share, said, None if allowed is None else allowed / most)
    return found


def _span(row: MetricRow) -> tuple[float, float]:
    """An axis that holds everything there is to draw, with a margin."""
    values = [v for v in (row.before, row.after, row.low, row.high, row.wanted) if v is not None]
    if not values:
        return (0.0, 1.0)
    margin = (max(values) - min(values)) * 0.15 or abs(values[0]) * 0.1 or 1.0
    low = min(values) - margin
    return (max(0.0, low) if min(values) >= 0 else low, max(values) + margin)


def _course(view: View) -> Course:
    shown = view.history[-NEWEST:]
    lines = (Line(name, tuple(past.after.get(name) for past in shown)) for name in _COURSE)
    return Course(
        labels=tuple(str(past.id) for past in shown),
        lines=tuple(line for line in lines if any(value is not None for value in line.values)),
        weights=tuple(past.weights for past in shown),
        overlay=tuple(past.overlay for past in shown),
    )


def _number(value: float | None, share: bool) -> str:
    if value is None:
        return "unknown"
    return f"{value:.1%}" if share else f"{value:.3g}"
