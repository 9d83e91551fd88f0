"""What a page that is read again says of a claim, and what becomes of the proposal that rests on it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.support import Look, look, lost, objection, to_look_at
from agent.types import Article, Claim, ClaimKind, Page
from agent.voices import Evidence

NOW = datetime(2025, 7, 1, 12, tzinfo=UTC)
SENTENCE = "Ana Lopes has been sworn in as premier of Zorland."
TITLE = "New premier takes office in rainy Mipa"
ARTICLE = Article("a", "s", "p", "", TITLE, SENTENCE, NOW, NOW, "0")
CLAIM = Claim("c", "Zorland", "leader", "Ana Lopes", "change", "a", SENTENCE, NOW)


def found(kind: ClaimKind) -> Claim:
    return Claim("x", "Zorland", "leader", "Ana Lopes", kind, "a", "", NOW)


@pytest.mark.parametrize(
    ("text", "kinds", "expected"),
    [
        (f"Menu\n{TITLE}\n{SENTENCE}\nMore", (), "stands"),
        (f"{TITLE}\nSworn in: Ana  LOPES has been sworn in, as premier of Zorland.", (), "stands"),
        (f"{TITLE}\nPremier Ana Lopes of Zorland smiled.", ("state",), "stands"),
        (f"{TITLE}\nThe vote was postponed.", (), "changed"),
        (f"{TITLE}\nThe vote was postponed.", ("hedged",), "changed"),
        (f"{TITLE}\n{SENTENCE}\nLopes resigned.", ("state", "end"), "changed"),
        (f"{TITLE}\n{SENTENCE}\nCorrection: her name is Eva Lopes.", (), "corrected"),
        (
            f"{TITLE}\n{SENTENCE}\nAn earlier version of this article named another office.",
            ("state",),
            "corrected",
        ),
        (f"{TITLE}\nThis story has been withdrawn.", (), "corrected"),
        (f"{TITLE}\n{SENTENCE}\nMarkets await a correction, analysts say.", (), "stands"),
        ("We value your privacy. Accept all cookies?", (), "unread"),
        ("", (), "unread"),
    ],
)
def test_what_a_page_says(text: str, kinds: tuple[ClaimKind, ...], expected: Look) -> None:
    assert look(CLAIM, ARTICLE, Page("read", text), [found(kind) for kind in kinds]) == expected


def test_a_page_that_is_gone_or_cannot_be_read() -> None:
    assert look(CLAIM, ARTICLE, Page("gone"), []) == "gone"
    assert look(CLAIM, ARTICLE, Page("unread"), []) == "unread"


def test_a_correction_that_the_article_had_from_the_first_is_no_news() -> None:
    text = f"{SENTENCE}\nCorrection: an earlier report named another town."
    old = Article("a", "s", "p", "", TITLE, text, NOW, NOW, "0")
    assert look(CLAIM, old, Page("read", f"{TITLE}\n{text}"), []) == "stands"


def evidence(*told: tuple[str, int]) -> list[Evidence]:
    """(publisher, days ago), each in an article and a story of its own."""
    return [
        Evidence(
            Claim(f"c{n}", "Z", "leader", "X", "state", f"a{n}", "", NOW),
            "x", who, f"s{n}", NOW - timedelta(days=days), NOW - timedelta(days=days),
        )
        for n, (who, days) in enumerate(told)
    ]  # fmt: skip


def test_the_newest_pages_of_each_publisher_are_looked_at() -> None:
    told = evidence(("A", 9), ("A", 3), ("A", 5), ("B", 1))
    assert to_look_at(told) == ("a1", "a2", "a3")


@pytest.mark.parametrize(
    ("looks", "gone"),
    [
        ({}, {}),
        ({"c0": "gone", "c1": "stands"}, {}),  # the newer page decides
        ({"c0": "stands", "c1": "gone"}, {"A": "gone"}),
        ({"c0": "stands", "c1": "unread"}, {}),
        ({"c0": "changed", "c1": "unread"}, {"A": "changed"}),
        ({"c2": "corrected", "c1": "unread"}, {"B": "corrected"}),
    ],
)
def test_the_newest_page_that_could_be_read_decides(looks: dict[str, Look], gone: dict[str, Look]) -> None:
    assert lost(evidence(("A", 9), ("A", 3), ("B", 4)), looks) == gone


def test_a_proposal_goes_back_only_where_too_few_remain() -> None:
    three = evidence(("A", 3), ("B", 2), ("C", 1))
    assert objection(three, {}, 2) == objection(three, {"A": "gone"}, 2) == ""
    why = objection(three, {"A": "gone", "B": "corrected"}, 2)
    assert "A: its page is gone; B: its page carries a correction; only C of 2 needed remain" in why
    assert objection(three, dict.fromkeys("ABC", "changed"), 1).endswith("nobody else says so")


@given(
    st.lists(st.tuples(st.sampled_from("ABC"), st.integers(0, 5)), max_size=6),
    st.integers(1, 3),
)
def test_pages_that_cannot_be_read_never_send_anything_back(told: list[tuple[str, int]], needed: int) -> None:
    items = evidence(*told)
    looks: dict[str, Look] = {item.claim.id: "unread" for item in items}
    assert objection(items, lost(items, looks), needed) == ""
