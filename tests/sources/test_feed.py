"""Feeds good, odd and hostile: what is read, what is refused and why, and that nothing else is raised."""

from __future__ import annotations

import ast
import contextlib
import html
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import agent.sources
from agent.errors import SourceError, TooLarge
from agent.sources.base import SourceSpec
from agent.sources.body import parse_body
from agent.sources.feed import parse_feed
from agent.sources.items import MAX_TEXT, Context, Parsed
from agent.types import Article
from tests.sources.conftest import NOW, item, rss

SPEC = SourceSpec("paper", "https://feeds.paper.example/world.xml")
CONTEXT = Context(SPEC, NOW)
ATOM = b"""<?xml version="1.0" encoding="utf-8"?><feed xmlns="http://www.w3.org/2005/Atom"><title>t</title><entry>
<id>tag:a,1</id><title type="html">Mayor &amp;amp; council</title><link rel="alternate" href="/story?id=7"/>
<updated>2026-03-01T08:00:00+02:00</updated><content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml">
<p>One.</p><p>Two.</p></div></content></entry></feed>"""


def read(body: bytes, spec: SourceSpec = SPEC, **more: str) -> Parsed:
    return parse_feed(body, Context(spec, NOW), **more)


def one(body: bytes, spec: SourceSpec = SPEC, **more: str) -> Article:
    (article,) = read(body, spec, **more).articles
    return article


def test_an_item_becomes_an_article() -> None:
    article = one(rss(item(7)))
    assert article.title == "Story number 7"
    assert article.text.startswith("Something happened 7 times")
    assert article.url == "https://www.paper.example/story/7"
    assert article.published_at == datetime(2026, 3, 2, 10, 7, tzinfo=UTC)
    assert article.fetched_at == NOW
    assert (article.source, article.publisher) == ("paper", "paper.example")
    assert len(article.sha256) == 64 and 0 < article.simhash < 2**64


def test_atom_with_relative_link_and_markup() -> None:
    article = one(ATOM, base_url="https://site.example/feeds/all")
    assert article.url == "https://site.example/story?id=7"
    assert article.title == "Mayor & council" and article.text == "One.\nTwo."
    assert article.published_at == datetime(2026, 3, 1, 6, 0, tzinfo=UTC)


def test_the_id_is_stable_over_fetches_and_edits_and_belongs_to_the_source() -> None:
    first = one(rss(item(1)))
    edited = parse_feed(rss(item(1, title="Another title")), Context(SPEC, NOW + timedelta(days=1))).articles[
        0
    ]
    assert first.id == edited.id and first.sha256 != edited.sha256
    assert one(rss(item(1)), SourceSpec("other", SPEC.url)).id != first.id


def test_without_guid_the_page_and_then_the_content_is_the_identity() -> None:
    bare = "<title>A</title><link>{}</link><description>b</description>"
    plain = one(rss(bare.format("http://www.a.example/x/")))
    assert plain.id == one(rss(bare.format("https://a.example/x?utm_source=rss#top"))).id
    assert plain.id != one(rss(bare.format("http://a.example/y"))).id
    nameless = "<title>A</title><description>{}</description>"
    assert one(rss(nameless.format("b"))).id == one(rss(nameless.format("<i>b</i>"))).id


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("", NOW),
        ("yesterday, surely", NOW),
        ("Thu, 01 Jan 1970 00:00:00 GMT", NOW),
        ("Mon, 02 Mar 9999 10:00:00 GMT", NOW),
        ("Sun, 08 Mar 2026 12:00:00 GMT", NOW),
        ("Mon, 02 Mar 2026 10:00:00 -0500", datetime(2026, 3, 2, 15, 0, tzinfo=UTC)),
        ("2026-03-02T10:00:00Z", datetime(2026, 3, 2, 10, 0, tzinfo=UTC)),
    ],
)
def test_dates(date: str, expected: datetime) -> None:
    assert one(rss(item(1, pubDate=date))).published_at == expected


@pytest.mark.parametrize(
    ("publisher", "extra", "link", "expected"),
    [
        (
            "Set By Hand",
            "<source url='https://wire.example/'>Wire</source>",
            "https://a.example/1",
            "Set By Hand",
        ),
        (
            None,
            "<source url='https://www.wire.example/rss'>Wire</source>",
            "https://news.example/1",
            "wire.example",
        ),
        (None, "", "https://www.daily.co.uk/1", "daily.co.uk"),
        (None, "", "javascript:alert(1)", "paper.example"),
    ],
)
def test_the_publisher_is_the_voice_behind_the_item(
    publisher: str | None, extra: str, link: str, expected: str
) -> None:
    spec = SourceSpec("agg", SPEC.url, publisher=publisher)
    assert one(rss(item(1, link=link) + extra), spec).publisher == expected


def test_an_aggregators_credit_in_the_headline_goes() -> None:
    extra = "<source url='https://wire.example/'>The Wire</source>"
    assert one(rss(item(1, title="Mayor resigns - The Wire") + extra)).title == "Mayor resigns"


def test_duplicates_within_a_body_are_one() -> None:
    same_guid = item(1), item(1, title="Edited", link="https://b.example/")
    same_page = item(2), item(3, title="Story number 2", link="http://paper.example/story/2/?utm_medium=rss")
    same_text = item(4), item(5, title="Story  NUMBER 4!", description=item(4).split("description>")[1][:-2])
    articles = read(rss(*same_guid, *same_page, *same_text)).articles
    assert [a.title for a in articles] == ["Story number 1", "Story number 2", "Story number 4"]


def test_different_stories_of_one_page_are_not_one() -> None:
    live = "https://www.paper.example/live#{}"
    assert len(read(rss(item(1, link=live.format(1)), item(2, link=live.format(2)))).articles) == 2


def test_text_is_plain_and_bounded() -> None:
    markup = "<p>A&nbsp;b</p><script>x()</script>\u202e\u200b<p>c&#x1b;[2J</p>"
    assert one(rss(item(1, description=html.escape(markup)))).text == "A b\nc[2J"
    long = one(rss(item(1, description="word " * 10_000))).text
    assert MAX_TEXT - 10 < len(long) <= MAX_TEXT and long.endswith("word")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (rss(item(1, title="Café “x”")).replace(b"utf-8", b"iso-8859-1"), "text/xml; charset=iso-8859-1"),
        (b"\xef\xbb\xbf" + rss(item(1, title="Café “x”")), ""),
        (rss(item(1, title="Café “x”")).decode().encode("utf-16"), ""),
        (rss(item(1, title="Café “x”")).decode().encode("utf-16-be"), "application/xml"),
        (rss(item(1, title="Café “x”")).decode().replace("utf-8", "windows-1252").encode("cp1252"), ""),
        (rss(item(1, title="Café “x”")).decode().replace("utf-8", "iso-8859-1").encode("cp1252"), ""),
        (rss(item(1, title="Café “x”")).decode().encode("cp1252"), "text/xml"),
        (rss(item(1, title="Café “x”")), "text/xml; charset=unicode_escape"),
        (b"\n\n" + rss(item(1, title="Café\x0b “x”")), ""),
    ],
)
def test_encodings_are_found_whatever_they_claim_to_be(body: bytes, content_type: str) -> None:
    assert one(body, content_type=content_type).title == "Café “x”"


def test_a_truncated_feed_gives_its_whole_entries_only() -> None:
    whole = rss(item(1), item(2), item(3, description="The mayor did not resign on Monday, she said."))
    parsed = read(whole[: whole.index(b"not resign")])
    assert [a.title for a in parsed.articles] == ["Story number 1", "Story number 2"]
    assert any("cut off" in note for note in parsed.notes)


def test_a_feed_broken_in_the_middle_keeps_its_entries() -> None:
    parsed = read(rss(item(1, title="A & B <unclosed"), item(2)))
    assert len(parsed.articles) == 2 and "broken" in parsed.notes[0]


def test_an_empty_feed_is_no_error_and_a_blank_item_is_noted() -> None:
    assert read(rss()) == Parsed(())
    parsed = read(rss("<guid>1</guid>", item(2)))
    assert len(parsed.articles) == 1 and "1 item without title and text" in parsed.notes[0]


def test_how_long_a_feed_asks_to_be_left_alone() -> None:
    assert read(rss(item(1), head="<ttl>90</ttl>")).ttl_s == 5400
    assert read(rss(item(1), head="<ttl>soon</ttl>")).ttl_s == 0
    syndication = (
        "<x:updatePeriod xmlns:x='http://purl.org/rss/1.0/modules/syndication/'>daily</x:updatePeriod>"
    )
    assert read(rss(item(1), head=syndication)).ttl_s == 86400


@pytest.mark.parametrize(
    "body",
    [
        b"<rss><channel>" + b"<a>" * 2000,
        b"<rss><channel>" + b"<a/>" * 250_000,
        b"<rss><channel>" + b"&" * 1_100_000,
        b"<rss " + b" ".join(b"a%d='1'" % n for n in range(1000)) + b">",
        b"<!-- " + b"x" * 20_000 + b" --><rss/>",
    ],
)
def test_shapes_that_would_hold_the_parser_are_refused(body: bytes) -> None:
    with pytest.raises(TooLarge):
        read(body)


@pytest.mark.parametrize(
    "body",
    [
        b"<?xml version='1.0'?>" + b"\n" * 300_000 + rss(item(1))[38:],
        rss(item(1) + "<author>" + "a" * 300_000 + "@</author>"),
        rss(item(1) + "<dc:creator><![CDATA[" + "a" * 300_000 + "@]]></dc:creator>"),
        rss(item(1) + "".join(f"<category>a{n}</category>" for n in range(20_000))),
        rss(item(1, description="&lt;a " * 50_000 + "end")),
        rss(item(1) + "<x>" + "&lt;!-- " * 50_000 + "</x>"),
    ],
)
def test_what_is_quadratic_elsewhere_is_quick_here(body: bytes) -> None:
    started = time.process_time()
    assert len(read(body).articles) == 1
    assert time.process_time() - started < 3


def test_entities_neither_explode_nor_reach_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the secret")
    for url in (secret.as_uri(), str(secret)):
        body = rss(item(1, title="x &e; y")).replace(
            b"<rss", f'<!DOCTYPE rss [<!ENTITY e SYSTEM "{url}">]><rss'.encode()
        )
        assert "secret" not in str(read(body))
    lots = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "ha"}">' for n in range(9))
    bomb = rss(item(1, title="x &e8; y")).replace(b"<rss", f"<!DOCTYPE rss [{lots}]><rss".encode())
    with contextlib.suppress(SourceError):
        assert len(str(read(bomb))) < 100_000


def test_a_body_that_is_a_path_or_a_url_is_not_opened(tmp_path: Path) -> None:
    feed = tmp_path / "feed.xml"
    feed.write_bytes(rss(item(1)))
    for body in (str(feed).encode(), feed.as_uri().encode(), b"http://127.0.0.1:1/"):
        with pytest.raises(SourceError, match="no XML"):
            parse_body(body, CONTEXT)


def test_feedparser_has_one_call_on_bytes_in_memory() -> None:
    calls = []
    for path in Path(agent.sources.__file__).parent.parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("feedparser."):
                calls.append((path.name, ast.unparse(node.args[0])))
    assert calls == [("feed.py", "io.BytesIO(document)")]


fragments = st.sampled_from(
    [
        b"<rss>",
        b"<channel>",
        b"<item>",
        b"</item>",
        b"<entry>",
        b"<title>",
        b"</title>",
        b"<link href='",
        b"'/>",
        b"<guid>",
        b"<![CDATA[",
        b"]]>",
        b"<!--",
        b"-->",
        b"&#xD800;",
        b"&#99999999999;",
        b"&nbsp;",
        b"<pubDate>",
        b"2026-03-01",
        b"<?xml ",
        b"encoding='utf-16'?>",
        b"<!DOCTYPE x [",
        b"\xff\xfe",
        b"\x00",
        b"<source url='http://[",
        b"{",
        b'"items":[',
        b"<html>",
    ]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(st.one_of(fragments, st.binary(max_size=6)), max_size=30).map(b"".join),
    )
)
def test_no_bytes_raise_anything_but_our_errors(body: bytes) -> None:
    for prefix in (b"", rss()[:-17] + b"<item><title>t</title>"):
        try:
            parsed = parse_body(prefix + body, CONTEXT)
        except SourceError as problem:
            assert str(problem).strip()
        else:
            for article in parsed.articles:
                (
                    article.title.encode(),
                    article.text.encode(),
                    article.url.encode(),
                    article.publisher.encode(),
                )
                assert "\n" not in article.title and article.published_at <= NOW
