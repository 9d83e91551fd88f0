"""Charts: valid XML inside their frame, whatever the figures are."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from agent.page.course import Course, Line, course, symbol
from agent.page.svg import Mark, bar, interval, scale, sign

number = st.floats(-10, 10)
share = st.floats(0, 1)
ELEMENTS = {"svg", "title", "path", "circle", "rect", "text"}


def read(drawn: Markup) -> ElementTree.Element:
    """The chart as XML; every coordinate lies within its frame (a sign's half width beyond it)."""
    root = ElementTree.fromstring(drawn)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for element in root.iter():
        assert element.tag in ELEMENTS
        for x, y in _points(element):
            assert -6 <= x <= width + 6 and -6 <= y <= height + 6, (element.tag, element.attrib)
    return root


def _points(element: ElementTree.Element) -> list[tuple[float, float]]:
    a = element.attrib
    if element.tag == "circle":
        return [(float(a["cx"]), float(a["cy"]))]
    if element.tag == "rect":
        x, y = float(a["x"]), float(a["y"])
        return [(x, y), (x + float(a["width"]), y + float(a["height"]))]
    moves = re.findall(r"[ML](-?[0-9.]+) (-?[0-9.]+)", a.get("d", ""))
    return [(float(x), float(y)) for x, y in moves]


@given(
    number, number, st.none() | st.tuples(number, number), st.none() | number, st.booleans(), number, number
)
def test_intervals_stay_in_their_frame(
    before: float,
    after: float,
    whisker: tuple[float, float] | None,
    wanted: float | None,
    missed: bool,
    low: float,
    high: float,
) -> None:
    found = read(
        interval(Mark(before, after, whisker, wanted, missed, low, high, ("a", "b")), '<said> & "more"')
    )
    assert found.findtext("title") == '<said> & "more"'
    classes = {element.attrib.get("class") for element in found.iter()}
    assert ("missed" in classes) == missed and ("after" in classes) != missed
    assert ("whisker" in classes) == (whisker is not None) and ("wanted" in classes) == (wanted is not None)


def test_the_dot_stands_where_the_figure_is() -> None:
    def dot(after: float) -> float:
        found = read(interval(Mark(None, after), "x")).find("circle[@class='after']")
        assert found is not None
        return float(found.attrib["cx"])

    left, middle, right = dot(0.0), dot(0.5), dot(1.0)
    assert left < middle < right and middle == (left + right) / 2 == 120


@given(share, st.none() | share)
def test_bars_are_as_long_as_their_share(value: float, tick: float | None) -> None:
    found = read(bar(value, "x", tick)).find("rect[@class='bar']")
    assert abs((0.0 if found is None else float(found.attrib["width"])) - 240 * value) < 0.1


@given(
    st.lists(
        st.tuples(st.none() | share, st.none() | share, st.integers(0, 10**6), st.integers(0, 10**6)),
        max_size=30,
    ),
    st.sampled_from([330, 880]),
)
def test_courses_draw_every_figure_once(
    rows: list[tuple[float | None, float | None, int, int]], width: int
) -> None:
    lines = (Line("a", tuple(row[0] for row in rows)), Line("b", tuple(row[1] for row in rows)))
    labels = tuple(str(i) for i in range(len(rows)))
    drawn = course(
        Course(labels, lines, tuple(r[2] for r in rows), tuple(r[3] for r in rows)), width, "over time"
    )
    found = read(drawn)
    points = [e for e in found.iter() if (e.attrib.get("class") or "").startswith("point")]
    if (width - 60) / max(1, len(rows)) >= 9:
        assert len(points) == sum(value is not None for row in rows for value in row[:2])
    bars = [e for e in found.iter() if e.attrib.get("class") in ("weights", "overlay")]
    assert len(bars) == sum(count > 0 for row in rows for count in row[2:])
    words = [e.text for e in found.iter("text")]
    assert not labels or labels[-1] in words, "the newest has its label"


def test_labels_keep_apart() -> None:
    many = tuple(str(i) for i in range(200))
    drawn = course(Course(many, (), (1,) * 200, (0,) * 200), 330, "x")
    ends = [float(e.attrib["x"]) for e in read(drawn).iter("text") if e.attrib["text-anchor"] == "middle"]
    assert len(ends) >= 5 and min(abs(a - b) for a, b in pairwise(ends)) >= 30


def test_signs_are_ornament() -> None:
    for drawn in (
        *map(symbol, range(5)),
        *map(sign, ("before", "after", "whisker", "wanted", "missed")),
        scale(("a", "b", "c")),
    ):
        assert read(drawn).attrib["aria-hidden"] == "true"
