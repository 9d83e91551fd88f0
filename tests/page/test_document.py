"""`report.json`: all that the page shows, in one text for one report."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.page.document import document, to_text
from agent.page.html import html
from agent.page.inputs import Inputs
from agent.page.view import view
from agent.types import Report
from tests.page.parsed import parsed
from tests.page.samples import METRICS, inputs


def read(found: Inputs) -> Any:
    return json.loads(to_text(document(view(found))))


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [s for key, inner in value.items() for s in (key, *strings(inner))]
    if isinstance(value, list):
        return [s for inner in value for s in strings(inner)]
    return [value] if isinstance(value, str) else []


def test_it_has_every_figure() -> None:
    record = read(inputs())
    assert record["version"] == 1 and record["outcome"] == "passed" and record["fresh"] is True
    assert (record["revision"]["weights"], record["revision"]["overlay"]) == (1, 1)
    rows = {row["name"]: row for row in record["metrics"]}
    assert rows.keys() == {*METRICS, "odd metric"}
    for name, (before, after, n, interval) in METRICS.items():
        row = rows[name]
        assert (row["before"], row["after"], row["n"], (row["low"], row["high"])) == (
            before,
            after,
            n,
            interval,
        )
    assert rows["efficacy"]["wanted"] == 0.95 and rows["perplexity"]["wanted"] == 12.5 * 1.05
    assert rows["same_subject_unchanged"]["outcome"] == "below"


def test_it_has_every_word_of_the_page() -> None:
    """Each word that came in stands in the record, and everything that is on the page came in."""
    given_words: set[str] = set()

    def marked(text: str) -> str:
        given_words.add(f"«{text}»")
        return f"«{text}»"

    found = inputs(marked)
    said = set(strings(read(found)))
    unused = {"«/tmp/texts»"}
    inside = {word for word in given_words if any(word in one for one in said)}
    assert given_words - inside <= unused, given_words - inside
    words = parsed(html(view(found))).words
    assert {word for word in given_words if word in words} <= inside


def test_answers_are_there_once_and_whole() -> None:
    found = inputs(lambda text: text + " and so on" * 1000)
    assert found.report is not None
    asked = read(found)["asked"]
    assert [(a["kind"], a["prompt"], a["before"], a["after"], a["right"]) for a in asked] == [
        (a.kind, a.prompt, a.before, a.after, a.right) for a in found.report.asked
    ]


def test_the_order_is_fixed() -> None:
    found = inputs()
    assert found.report is not None
    turned = replace(
        found,
        report=replace(
            found.report,
            before=dict(reversed(found.report.before.items())),
            after=dict(reversed(found.report.after.items())),
            norms=dict(reversed(found.report.norms.items())),
        ),
        members=tuple(reversed(found.members)),
        history=tuple(reversed(found.history)),
        moved=dict(reversed(found.moved.items())),
    )
    assert to_text(document(view(turned))) == to_text(document(view(found)))
    assert html(view(turned)) == html(view(found))


def test_numbers_that_json_lacks() -> None:
    odd = Report({"x": float("nan")}, {"x": float("inf")}, {"x": 1}, True, norms={"w": float("-inf")},
                 intervals={"x": (float("nan"), 1.0)})  # fmt: skip
    record = read(replace(inputs(), report=odd, moved={"x": (float("nan"), 1.0)}))
    (row,) = record["metrics"]
    assert row["before"] is None and row["after"] is None and row["low"] is None
    assert (
        record["norms"] == [{"name": "w", "value": None, "wanted": 0.05}]
        and record["moved"][0]["then"] is None
    )


@settings(max_examples=15, deadline=None)
@given(st.text())
def test_any_words_come_back(odd: str) -> None:
    text = to_text(document(view(inputs(lambda text: text + odd))))
    assert text.isascii()
    record = json.loads(text)
    assert record["facts"][1]["subject"] == "Zorland" + odd
