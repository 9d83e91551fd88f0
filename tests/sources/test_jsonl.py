"""JSON lines and JSON Feeds, good lines beside bad ones."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import SourceError, TooLarge
from agent.sources.base import SourceSpec
from agent.sources.items import Context
from agent.sources.jsonl import parse_json_feed, parse_jsonl, read_time
from tests.sources.conftest import NOW

CONTEXT = Context(SourceSpec("lines", "/data/news.jsonl"), NOW)
LINE = {
    "id": "7",
    "publisher": "The Wire",
    "published": "2026-03-01T10:00:00+01:00",
    "title": "A <b>title</b>",
    "summary": "Some text.",
    "link": "https://wire.example/7",
}


def test_a_line_is_an_article() -> None:
    (article,) = parse_jsonl(json.dumps(LINE).encode(), CONTEXT).articles
    assert (article.title, article.text, article.publisher) == ("A title", "Some text.", "The Wire")
    assert article.url == "https://wire.example/7"
    assert article.published_at == datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def test_bad_lines_are_skipped_and_named() -> None:
    lines = [
        json.dumps(LINE),
        "",
        "{oops",
        '"a string"',
        '{"id": "8"}',
        "[" * 100_000,
        json.dumps({"title": "B"}),
    ]
    parsed = parse_jsonl("\r\n".join(lines).encode(), CONTEXT)
    assert [a.title for a in parsed.articles] == ["A title", "B"]
    assert [note.partition(":")[0] for note in parsed.notes] == ["line 3", "line 4", "line 5", "line 6"]


def test_many_bad_lines_are_counted_not_listed() -> None:
    parsed = parse_jsonl((json.dumps(LINE) + "\nx" * 500).encode(), CONTEXT)
    assert len(parsed.notes) == 21 and parsed.notes[-1] == "500 bad lines in all"


@pytest.mark.parametrize("body", [b"", b"\n\n", b"nothing\n", b"[1, 2]\n", b"\xff\xfe\x00"])
def test_a_body_without_one_article_is_an_error(body: bytes) -> None:
    with pytest.raises(SourceError, match="no line"):
        parse_jsonl(body, CONTEXT)


def test_the_publisher_is_the_links_site_or_the_source() -> None:
    rest = {k: v for k, v in LINE.items() if k != "publisher"}
    assert parse_jsonl(json.dumps(rest).encode(), CONTEXT).articles[0].publisher == "wire.example"
    assert parse_jsonl(b'{"title": "B"}', CONTEXT).articles[0].publisher == "lines"


def test_a_json_feed_is_read() -> None:
    feed = {
        "version": "https://jsonfeed.org/version/1.1",
        "items": [
            {
                "id": 7,
                "title": "T",
                "content_html": "<p>One.<p>Two.",
                "url": "https://a.example/",
                "date_published": "2026-03-01",
            },
            "no item",
            {"id": "8", "content_text": "Only text"},
        ],
    }
    one, two = parse_json_feed(json.dumps(feed).encode(), CONTEXT).articles
    assert (one.title, one.text, one.publisher, two.text) == ("T", "One.\nTwo.", "a.example", "Only text")
    assert one.published_at == datetime(2026, 3, 1, tzinfo=UTC)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*LINE, "items", "version", "text", "url", "content_html"]), inner, max_size=5
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_no_json_raises_anything_but_our_errors(value: object) -> None:
    for body in (value, {"version": "https://jsonfeed.org/version/1", "items": value}):
        for parse in (parse_jsonl, parse_json_feed):
            with contextlib.suppress(SourceError):
                parse(json.dumps(body).encode(), CONTEXT)


@given(st.text(max_size=30))
def test_times_are_utc_or_none(text: str) -> None:
    at = read_time(text)
    assert at is None or at.tzinfo is UTC


def test_a_body_of_bad_lines_is_given_up_and_says_where() -> None:
    body = (json.dumps(LINE) + "\n" + "{}\n" * 60_000 + json.dumps({"title": "B"})).encode()
    parsed = parse_jsonl(body, CONTEXT)
    assert [a.title for a in parsed.articles] == ["A title"]
    assert "nothing behind line 50002 was read" in parsed.notes and "50000 bad lines in all" in parsed.notes


def test_json_of_a_million_objects_is_refused() -> None:
    body = b'{"version": "https://jsonfeed.org/version/1", "items": [' + b"{}," * 600_000 + b"{}]}"
    with pytest.raises(TooLarge, match="objects"):
        parse_json_feed(body, CONTEXT)
