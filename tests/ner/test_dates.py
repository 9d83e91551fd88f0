"""When a sentence says that something happened, told from the article's own date."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.ner.qualify import past_date
from agent.types import Claim
from tests.ner.conftest import NOW

Read = Callable[..., list[Claim]]

PLAIN = [
    ("<P0> was appointed <R1> of <O2> in march", "2026-03-15"),
    ("<P0> was appointed <R1> of <O2> in march 2021 .", "2021-03-15"),
    ("<P0> , who was appointed in mid-november , spoke", "2025-11-15"),
    ("<P0> took office on 5 may .", "2026-05-05"),
    ("<P0> took office on may 5th , 2024 , and", "2024-05-05"),
    ("<P0> was sworn in on 1 december as <R1>", "2025-12-01"),
    ("<P0> became <R1> of <O2> last year", "2025-07-01"),
    ("<P0> became <R1> of <O2> last month", "2026-07-15"),
    ("<P0> was named <R1> two years ago", "2024-08-20"),
    ("<P0> was named <R1> a month ago", "2026-07-21"),
    ("in march , <P0> was appointed <R1> of <O2>", "2026-03-15"),
    ("on 5 may 2023 <P0> became <R1>", "2023-05-05"),
    ("<P0> has been <R1> of <O2> since 2019", "2019-07-01"),
    ("<P0> has been <R1> since sept. 2020", "2020-09-15"),
    ("<P0> was appointed <R1> in 2019", "2019-07-01"),
]
NOT_PLAIN = [
    "<P0> was appointed <R1> of <O2>",
    "<P0> was appointed <R1> in august",  # the article's own month: nobody knows whether before the others
    "<P0> was appointed <R1> on 5 september",  # last year's, or a slip of the future
    "<P0> was appointed <R1> from 1 january",
    "<P0> was appointed <R1> on monday",
    "<P0> took over and said that sales fell in march",
    "<P0> took over , after profits fell in march",
    "<P0> took over who left in march",
    "<P0> may become <R1> in march",
    "<P0> was appointed <R1> on 31 june",
    "<P0> was appointed <R1> in march 2031",
    "<P0> was appointed <R1> in 2026",
    "<P0> took the march on 5 towns",
]


@pytest.mark.parametrize(("line", "day"), PLAIN)
def test_a_plain_date_counts(line: str, day: str) -> None:
    found = past_date(line, NOW)
    assert found is not None and found.date().isoformat() == day


@pytest.mark.parametrize("line", NOT_PLAIN)
def test_what_is_not_plain_leaves_the_articles_date(line: str) -> None:
    assert past_date(line, NOW) is None


WORDS = st.sampled_from(
    [
        "appointed",
        "became",
        "took",
        "office",
        "in",
        "on",
        "since",
        "last",
        "year",
        "month",
        "ago",
        "two",
        "31",
        "5",
        "may",
        "march",
        "feb.",
        "2019",
        "2031",
        ",",
        "<P0>",
        "and",
        "mid-june",
        "of",
        "back",
        "ten",
        "0",
    ]
)


@given(st.lists(WORDS, max_size=14), st.datetimes(datetime(1995, 1, 1), datetime(2090, 1, 1)))
@settings(max_examples=300, deadline=None)
def test_a_date_is_never_after_the_article(words: list[str], at: datetime) -> None:
    published_at = at.replace(tzinfo=UTC)
    found = past_date(" ".join(words), published_at)
    assert found is None or (found <= published_at and found.tzinfo is UTC)


def test_a_long_line_is_quick() -> None:
    started = time.process_time()
    for piece in ("appointed ", "was appointed a b c d e f ", "in march ", "since last 5 "):
        past_date(piece * 400, NOW)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("Lena Marchetti was appointed chief executive of Boeing in March.", "2026-03-15"),
        ("Lena Marchetti became chief executive of Boeing on May 5, 2024.", "2024-05-05"),
        ("Boeing appointed Lena Marchetti as chief executive last year.", "2025-07-01"),
    ],
)
def test_through_the_reader(read: Read, text: str, day: str) -> None:
    (claim,) = read(text)
    assert claim.kind == "change" and claim.as_of.date().isoformat() == day


def test_who_holds_an_office_holds_it_on_the_articles_day(read: Read) -> None:
    (claim,) = read("Boeing CEO Lena Marchetti founded a charity in March.")
    assert NOW - claim.as_of < timedelta(days=1)
