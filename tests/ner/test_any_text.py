"""Any text is read, and soon: no exception, and no expression that tries every way to share out a line."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.ner.claims import Reader
from agent.ner.patterns import role_patterns
from tests.ner.conftest import NOW, article

LENGTH = 20_000
SECONDS = 15.0  # of a whole article of odd words; 1 to 2 on a quiet machine
NAMES = [f"{a}{b}" for a in ("An", "Bo", "Ca", "Da", "Eve", "Fin", "Gus", "Hal") for b in "bcdfgklmnrst"]
WORDS = (
    *("CEO", "president", "of", "the", "Ford", "Boeing", "Japan", "Japanese", "Jane Roe", "was", "named", "as", "today"),
    *("likely", "new", "new new", "former acting", "on Monday", "in 2019", ",", ".", "'s", "’s", '"', "((", "to", "its"),
    *("capital", "moved", "owned by", "&amp;", "<P0>", "<R1>", "U.S.", "A.", "-based", "a/b", "X" * 70, "日本", "الرئيس"),
    *("\u200b", "\u202e", "\u0315\u0316" * 20, "😀", "\x00", "\ufeff", "\n", "ÉÀ", "ß", "İ", "١٢", "1,2,3", "…", "—"),
)  # fmt: skip


@settings(
    max_examples=300, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
@given(
    text=st.one_of(
        st.lists(st.sampled_from(WORDS), max_size=150).map(" ".join),
        st.lists(st.sampled_from(WORDS), max_size=80).map("".join),
        st.tuples(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), st.integers(2, 120)).map(
            lambda given: "Jane Roe " + " ".join(given[0] * given[1])
        ),
        st.text(max_size=300),
    ),
    in_title=st.booleans(),
    capital=st.booleans(),
)
def test_generated_text_is_read_soon(text: str, in_title: bool, capital: bool, reader: Reader) -> None:
    text = text.upper() if capital else text
    started = time.thread_time()
    claims = reader.read(article("", text) if in_title else article(text))
    assert time.thread_time() - started < 5
    assert all(c.subject and c.object and 0 <= c.score <= 1 and c.as_of <= NOW for c in claims)


SHAPES = {
    "shared words": "Jane Roe today likely reportedly today likely was not named CEO. ",
    "modifiers": "Ford named Jane Roe new next new former acting new next new new new new. ",
    "short names": "Jane Roe met CEO Roe. CEO Roe spoke. ",
    "surnames": " ".join(f"CEO {name} spoke." for name in NAMES * 2)
    + " "
    + " ".join(f"CEO Jane {n} sat." for n in NAMES),
    "full names first": " ".join(f"CEO Jane {n}son sat." for n in NAMES * 4)
    + " "
    + " ".join(f"CEO {n}son left." for n in NAMES),
    "organisations": " ".join(f"{name}corp CEO Dana Pruitt spoke." for name in NAMES),
    "countries": "Japan-Mexico-Serbia-Ford president ",
    "one word": "CEO " + "X" * LENGTH,
    "hyphens": "CEO A-" + "B-" * LENGTH,
    "capitals": "CEO PRESIDENT JAPAN FORD JANE ROE NAMED ",
    "abbreviations": "CEO U.S. A. B. Inc. ",
    "quotes": "CEO \"'\"'((" + '"' * 500,
    "invisible": "C\u200bE\u200bO\u200b Ford\u202e CEO \u0315\u0316",
    "right to left": "الرئيس CEO רוה Ford president ",
    "accents": "CEO F" + "\u0315\u0316" * LENGTH,
    "a dateline": "AAAA-AAA AAAA AAAA AAAA, A." + "A." * LENGTH,
    "blanks": "CEO." + " " * LENGTH + "x",
    "exclamations": "CEO! ",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_an_article_of_one_shape_is_read_soon(shape: str, reader: Reader) -> None:
    text = (SHAPES[shape] * (LENGTH // len(SHAPES[shape]) + 1))[:LENGTH]
    started = time.thread_time()
    reader.read(article(text, text[:500]))
    assert time.thread_time() - started < SECONDS


LINES = (
    "today ",
    "likely ",
    "reportedly monday ",
    "new ",
    "next new ",
    "former , ",
    "acting and ",
    "the new ",
    "on in a ",
    ", <X5> ",
)
STARTS = (
    "",
    "<P1> ",
    "<P1> is ",
    "named <P1> ",
    "<O3> 's ",
    "<P1> , the ",
    "<P1> was named as ",
    "named <P1> , ",
)


@pytest.mark.parametrize("pattern", role_patterns(), ids=lambda p: p.name)
def test_no_pattern_tries_every_way_to_share_out_a_line(pattern: object) -> None:
    regex = pattern.regex  # type: ignore[attr-defined]
    for line in (start + unit * (2000 // len(unit)) for start in STARTS for unit in LINES):
        started = time.thread_time()
        assert sum(1 for _ in regex.finditer(line)) < 2000
        assert time.thread_time() - started < 2
