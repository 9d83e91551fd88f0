"""Nothing that a feed says may break us: whatever the bytes, articles or an error of ours, soon and in little memory."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from agent.errors import SourceError, TooLarge
from agent.sources.base import SourceSpec
from agent.sources.body import parse_body
from agent.sources.items import MAX_PUBLISHER, MAX_TEXT, MAX_TITLE, MAX_URL, Context
from agent.sources.text import canonical_url
from agent.types import Article
from tests.sources.conftest import NOW, Site, item, rss
from tests.sources.feeds_made import FORMATS, SPACES, Accidents, accidents, json_feeds, xml_feeds

CONTEXT = Context(SourceSpec("paper", "https://feeds.paper.example/world.xml"), NOW)
SECONDS = 2.0  # of one small input, thread time: some 2 ms on a quiet machine


def profile(max_examples: int) -> settings:
    """The same inputs in every run; only what an assertion says can fail."""
    return settings(
        max_examples=max_examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


def hold(body: bytes, name: str = "") -> tuple[Article, ...]:
    """Read `body` and hold it to everything that is promised."""
    started = time.thread_time()
    articles = _read(body, name)
    assert time.thread_time() - started < SECONDS
    for article in articles:
        assert_well_formed(article)
    assert len({a.id for a in articles}) == len(articles)
    if len(body) % 4 == 0:
        assert _read(body, name) == articles
    return articles


def _read(body: bytes, name: str) -> tuple[Article, ...]:
    try:
        return parse_body(body, CONTEXT, name=name, base_url="https://paper.example/feeds/").articles
    except SourceError as problem:
        assert str(problem).strip() and not _unfit(str(problem))
        return ()


def assert_well_formed(a: Article) -> None:
    assert a.title or a.text
    assert len(a.title) <= MAX_TITLE and not _unfit(a.title)
    assert len(a.text) <= MAX_TEXT and not _unfit(a.text.replace("\n", ""))
    assert a.publisher and len(a.publisher) <= max(MAX_PUBLISHER, 253) and not _unfit(a.publisher)
    assert len(a.url) <= MAX_URL and not _unfit(a.url) and " " not in a.url
    if a.url:
        assert urlsplit(a.url).scheme in ("http", "https") and urlsplit(a.url).hostname
        assert canonical_url(a.url) == a.url
    assert a.published_at.tzinfo is UTC and datetime(1990, 1, 1, tzinfo=UTC) <= a.published_at <= NOW
    assert a.fetched_at == NOW and a.source == "paper"
    assert len(a.id) == 32 and len(a.sha256) == 64 and 0 <= a.simhash < 1 << 64


def _unfit(text: str) -> str:
    """The control, format, surrogate and unassigned characters in `text`."""
    if text.isascii() and text.isprintable():
        return ""
    return "".join(c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Cn"))


def test_broken_xml_raises_nothing_but_our_errors() -> None:
    tried = read = 0

    @profile(650)
    @given(xml_feeds(), accidents())
    def check(body: bytes, harm: Accidents) -> None:
        nonlocal tried, read
        for bytes_ in (body, *harm(body)):
            tried += 1
            read += bool(hold(bytes_))

    check()
    print(f"{tried} feeds, {read} of them with articles")
    assert tried >= 4500 and read > tried // 10


def test_broken_json_raises_nothing_but_our_errors() -> None:
    tried = read = 0

    @profile(200)
    @given(json_feeds(), accidents())
    def check(feed: tuple[bytes, str], harm: Accidents) -> None:
        nonlocal tried, read
        body, name = feed
        for bytes_ in (body, *harm(body)):
            tried += 1
            read += bool(hold(bytes_, name))

    check()
    print(f"{tried} feeds, {read} of them with articles")
    assert tried >= 1400 and read > tried // 10


WHOLE = (
    ("The mayor resigned", "She did not say why, the council said on Monday."),
    ("The bridge & the road", "<![CDATA[<p>It is <b>not</b> open.</p> </item></entry></channel></rss></feed> he said.]]>"),
    ("A third", "<!-- </item></entry> -->Nobody &amp; nothing was harmed, caf\u00e9s aside."),
)  # fmt: skip


def whole_feeds() -> Iterator[tuple[str, bytes]]:
    for name, (whole, one) in FORMATS.items():
        items = (
            one.format(
                title.replace("&", "&amp;"), text, f"https://p.example/{n}", "2026-03-01T10:00:00Z", n, ""
            )
            for n, (title, text) in enumerate(WHOLE)
        )
        text = whole.format(SPACES, "".join(items))
        yield name, text.encode()
        if name == "rss 2.0":
            yield f"{name} utf-16", text.encode("utf-16")
            yield f"{name} with an odd entity", text.replace("A third", "A&nbsp;third &odd").encode()
    lines = [{"id": n, "title": title, "text": text} for n, (title, text) in enumerate(WHOLE)]
    yield "feed.jsonl", "\n".join(map(json.dumps, lines)).encode()
    feed = {
        "version": "https://jsonfeed.org/version/1",
        "items": [{"id": 1, "content_text": "It is not so."}],
    }
    yield "feed.json", json.dumps(feed).encode()


@pytest.mark.parametrize(
    ("name", "body"), list(whole_feeds()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_feed_cut_anywhere_yields_no_half_sentence(name: str, body: bytes) -> None:
    whole = {(a.title, a.text) for a in hold(body, name)}
    assert len(whole) == (1 if name == "feed.json" else 3)
    most = 0
    for at in range(0, len(body), max(1, len(body) // 80)):
        cut = {(a.title, a.text) for a in hold(body[:at], name)}
        assert cut <= whole, f"cut at {at}"
        most = max(most, len(cut))
    assert most >= len(whole) - 1


def test_a_long_text_ends_with_a_whole_sentence() -> None:
    (article,) = hold(rss(item(1, description="The mayor did not resign. " * 1000)))
    assert MAX_TEXT - 30 < len(article.text) <= MAX_TEXT and article.text.endswith("resign.")


def test_what_is_repaired_is_read_in_full() -> None:
    titles = [
        "AT&T &nbsp;rises &odd;",
        "Smile &#55357;&#56832; &#x1F;&#0;",
        "5 < 6 <b>bold",
        "<x:y>unbound</x:y> prefix",
    ]
    body = rss(*(item(n, title=title) for n, title in enumerate(titles)))
    assert [a.title for a in hold(body)] == [
        "AT&T rises &odd;",
        "Smile \U0001f600",
        "5 < 6 bold",
        "unbound prefix",
    ]
    unclosed = rss(item(1), item(2)).replace(b"</item>", b"").replace(b"</description>", b"")
    assert [a.title for a in hold(unclosed)] == ["Story number 1", "Story number 2"]
    after = b"</rss><script>document.write('<item>no</item>')</script>"
    assert len(hold(rss(item(1, title="a & b"), item(2)).replace(b"</rss>", after))) == 2
    assert len(hold(b"<!DOCTYPE html>\n" + rss(item(1)))) == 1
    assert len(hold(b"<html><body>" + rss(item(1))[38:] + b"</body></html>")) == 1


@pytest.mark.parametrize(
    "name", ["links", "source", "content", "published_parsed", "updated_parsed", "id", "title", "entries"]
)
def test_an_element_by_the_name_of_one_of_the_parsers_keys(name: str) -> None:
    for odd in (f'<{name} a="b"/>', f"<{name}>x</{name}>", f'<q:{name} xmlns:q="" a="b">x</q:{name}>'):
        assert len(hold(rss(item(1) + odd, item(2)))) == 2
        hold(rss(odd + "<title>t</title>", head=odd + "<ttl a='b'/>"))


def test_an_entity_of_the_feed_is_read_and_a_bomb_is_not() -> None:
    named = rss(item(1, title="By &who;")).replace(b"<rss", b'<!DOCTYPE rss [<!ENTITY who "the mayor">]><rss')
    assert [a.title for a in hold(named)] == ["By the mayor"]
    for size in (10, 1000):
        lots = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * size if n else "ha"}">' for n in range(8))
        bomb = rss(item(1, title="x &e7; y")).replace(b"<rss", f"<!DOCTYPE rss [{lots}]><rss".encode())
        assert all(len(a.title) < 100 for a in hold(bomb))


def test_nothing_outside_is_opened(site: Site, tmp_path: Path) -> None:
    secret = tmp_path / "secret.xml"
    secret.write_text("<item><title>the secret</title></item>")
    for url in (secret.as_uri(), str(secret), site.url + "/x"):
        for doctype in (
            f'<!DOCTYPE rss [<!ENTITY e SYSTEM "{url}">]>',
            f'<!DOCTYPE rss [<!ENTITY e PUBLIC "-//x//EN" "{url}">]>',
            f'<!DOCTYPE rss SYSTEM "{url}">',
            f'<!DOCTYPE rss [<!ENTITY % e SYSTEM "{url}"> %e;]>',
            f'<?xml-stylesheet href="{url}"?>',
        ):
            for inside in (
                "&e;",
                f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="{url}"/>',
                f'<?e "{url}"?>',
            ):
                body = rss(item(1) + f"<x>{inside}</x>", item(2, title=f"x {inside} y")).replace(
                    b"<rss", doctype.encode() + b"<rss"
                )
                assert "the secret" not in str(hold(body))
        assert hold(url.encode()) == ()
        assert "the secret" not in str(hold(json.dumps({"title": url, "$ref": url}).encode(), "a.jsonl"))
    assert site.seen == []


def test_a_gzip_body_is_read_whole_or_not_at_all() -> None:
    packed = gzip.compress(rss(item(1), item(2)))
    assert len(hold(packed)) == 2
    assert not any(hold(packed[:at]) for at in range(0, len(packed), 7))
    with pytest.raises(TooLarge):
        parse_body(gzip.compress(b"<rss>" + b" " * 16_000_000), CONTEXT)


@pytest.mark.parametrize(
    ("hiding", "error"),
    [
        ("<?x > <![CDATA[ ?>{}", TooLarge),  # an instruction that goes on behind what looks like its end
        ("<!--> <![CDATA[ -->{}", TooLarge),
        ("<![CDATA[ ]]&gt; ]]>{}", TooLarge),
        ("<!-- -- >{}&nbsp;", SourceError),  # the end of a comment for a lenient parser, none for us
    ],
)
def test_nesting_cannot_be_hidden(hiding: str, error: type[SourceError]) -> None:
    deep = rss(item(1) + hiding.format("<a>" * 1500 + "</a>" * 1500))
    before = b"<!DOCTYPE rss [<!ENTITY b 'x>y<!--'> <!ENTITY c \"<a>\">]>"
    for body in (deep, deep.replace(b"<rss", before + b"<rss")):
        with pytest.raises(error):
            parse_body(body, CONTEXT)


def test_attributes_do_not_hide_the_end_of_a_tag() -> None:
    with pytest.raises(TooLarge):
        parse_body(rss(item(1) + "<a b='/>'>" * 1500 + "</a>" * 1500), CONTEXT)


# Each was slow or large once, here or in a parser that we use; run in one process with bounds on both.
LARGE = """
import resource, sys, time, json
from datetime import datetime, UTC
from agent.errors import SourceError
from agent.sources.base import SourceSpec
from agent.sources.body import parse_body
from agent.sources.items import Context
from tests.sources.conftest import item, rss
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
context = Context(SourceSpec("x", "https://x.example/"), datetime(2026, 3, 4, tzinfo=UTC))
m = 1 << 20
line = b'{"title": "a"}\\n'
shapes = {
    "accents": rss(item(1, title="a" + "\\u0315\\u0316" * 50_000)),
    "accents in a url": rss(item(1, link="https://a.example/" + "\\u0315\\u0316" * 50_000)),
    "a word in a child of an author": rss(item(1) + "<author><!-- --><b/>" + "a" * 300_000 + "@</author>"),
    "categories": rss(item(1) + "".join(f"<media:category>a{n}</media:category>" for n in range(10_000))),
    "names": rss(item(1) + "".join(f"<a xmlns:p{n}='urn:{n}'/>" for n in range(2_000)) + "<q:b xmlns:q='urn:q'/>" * 30_000),
    "names in a broken one": rss(item(1) + "&nbsp;" + "".join(f"<a xmlns:p{n}='urn:{n}'/>" for n in range(2_000)) + "<q:b xmlns:q='urn:q'/>" * 30_000),
    "a tag": rss(item(1) + "<a b='" + "x" * 14 * m + "'/>"),
    "a comment": rss(item(1) + "<!--" + "x" * 14 * m + "-->"),
    "a name": rss(item(1) + "<" + "x" * 14 * m + "/>"),
    "a text": rss(item(1, description="word " * m + "\\U0001f600")),
    "CDATA": rss(item(1, description="<![CDATA[" + "<p>" * m)),
    "tags": rss(item(1) + "<a/>" * m),
    "broken tags": rss(item(1) + "&nbsp;" + "<a " * 3 * m),
    "quotes": rss(item(1) + "&nbsp;" + "<a \\"' \\" " * 100_000),
    "less than": rss(item(1, description="&nbsp;" + "< " * 2 * m)),
    "ampersands": rss(item(1, description="& " * 300_000)),
    "references": rss(item(1, description="&#55357;" * 300_000)),
    "comments": rss(item(1) + "<!-- " * 500_000),
    "blanks": b"<?xml version='1.0'?>" + b" " * 10 * m + rss(item(1))[38:],
    "doctype": b"<!DOCTYPE rss [" + b"<!ENTITY a '<'>" * 900 + rss(item(1))[38:],
    "declarations": b"<!a[<!-- >" * 500_000 + b"<rss/>",
    "no end": b"<rss><channel>" + b"<item>" * 150_000,
    "closing": rss(item(1)) + b"</x>" * 150_000,
    "halves": rss(item(1, description="&lt;a \\"" * 200_000)),
    "empty lines": b"\\n" * 5 * m,
    "bad lines": line + b"{}\\n" * 4 * m,
    "lines": line * m,
    "objects": b'{"version": "jsonfeed.org", "items": [' + b"{}," * 4 * m + b"{}]}",
    "deep": b'{"a":' * 2 * m,
    "number": b'{"title": ' + b"9" * 10 * m + b"}",
    "gzip": __import__("gzip").compress(b"<rss>" + b"<a>" * 6 * m),
    "bytes": bytes(range(128, 256)) * 100_000,
}
for name, body in shapes.items():
    started = time.process_time()
    try:
        found = len(parse_body(body, context, name="x.jsonl" if "line" in name else "").articles)
    except SourceError as problem:
        found = type(problem).__name__
    print(json.dumps([name, time.process_time() - started, found]), flush=True)
"""


@pytest.mark.timeout(600)
def test_large_shapes_are_quick_and_small() -> None:
    """A gibibyte of address space for bodies of up to 15 MB, and 10 s of processor each, where 1 s is usual."""
    done = subprocess.run(
        [sys.executable, "-c", LARGE],
        capture_output=True,
        text=True,
        timeout=500,
        cwd=Path(__file__).parent.parent.parent,
    )
    rows = [json.loads(row) for row in done.stdout.splitlines()]
    assert done.returncode == 0, f"after {rows[-1:]}: {done.stderr[-600:]}"
    assert len(rows) == 32
    assert {name: seconds for name, seconds, _ in rows if seconds > 10} == {}


def test_dates_are_bounded_whatever_they_say() -> None:
    later = (NOW + timedelta(days=1)).isoformat()
    for date in (
        later,
        "9999-12-31T23:59:59-23:59",
        "0001-01-01T00:00:00+23:59",
        "1" * 5000,
        "Mon, " * 5000,
        "T" * 5000,
    ):
        (article,) = hold(rss(item(1, pubDate=date)))
        assert article.published_at == NOW
        (article,) = hold(json.dumps({"title": "a", "published": date}).encode(), "a.jsonl")
        assert article.published_at == NOW
