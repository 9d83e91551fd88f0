"""Text that is safe to show and to hash, and URLs by which pages and publishers are told apart."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.text import (
    canonical_url,
    clean_line,
    clean_text,
    content_sha256,
    registered_domain,
    url_key,
    visible,
    words,
)


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("plain", "plain"),
        ("5 < 6 > 4 & 7", "5 < 6 > 4 & 7"),
        ("<p>One.</p><p>Two.</p>", "One.\nTwo."),
        ("a<br/>b<BR>c", "a\nb\nc"),
        ("a <b>bold</b>, <a href='x>y' title=\"a\">link</a>", "a bold, link"),
        ("<img alt='a > b'>end", "end"),
        ("x<script>if (a<b) {}</script>y<style>p{}</style>z", "xyz"),
        ("x<!-- a <b> c -->y<!-- never closed", "xy"),
        ("<![CDATA[a &amp; b]]>", "a & b"),
        ("&lt;b&gt;twice&lt;/b&gt; &amp;amp; more", "twice & more"),
        ("caf&eacute; &#8220;x&#x201d; &nbsp; y", "café “x” y"),
        ("&#" + "9" * 5000 + ";x", "x"),
        ("a\u202eb\u200bc\ufeffd\x1b[2J\x07\x85e\U000e0041", "abcd[2J e"),
        ("e\u0301", "é"),
        ("\ud800x", "x"),
        ("  many \t\r\n\r\n  blanks\u00a0here  ", "many\nblanks here"),
    ],
)
def test_clean_text(markup: str, text: str) -> None:
    assert clean_text(markup) == text


@given(st.text())
def test_clean_text_leaves_nothing_invisible(markup: str) -> None:
    text = clean_text(markup)
    assert not {unicodedata.category(c) for c in text.replace("\n", "")} & {"Cc", "Cf", "Cs", "Cn"}
    assert text == text.strip() and "  " not in text and "\n\n" not in text
    text.encode()
    assert "\n" not in clean_line(markup)


@pytest.mark.parametrize(
    "piece",
    ["<", "<a ", "<!--", "<![", "&", "</", '<a b="', "<a b='", "<script>", "&#", "&lt;", "<a/", "\u202e"],
)
def test_clean_text_is_linear(piece: str) -> None:
    started = time.process_time()
    clean_text(piece * (200_000 // len(piece)))
    assert time.process_time() - started < 2


def test_content_hash_sees_words_only() -> None:
    assert content_sha256("A Title!", "some  text.") == content_sha256("a title", "Some\ntext")
    assert content_sha256("a", "b c") != content_sha256("a b", "c")
    assert words("U.S. GDP rose 3.5%, Meloni's aide said") == [
        "u.s",
        "gdp",
        "rose",
        "3.5",
        "meloni's",
        "aide",
        "said",
    ]


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("HTTP://Example.ORG:80/a", "http://example.org/a"),
        ("https://example.org:443", "https://example.org/"),
        ("https://example.org:8443/a?b=1&utm_source=x&fbclid=y#z", "https://example.org:8443/a?b=1"),
        ("https://user:pw@example.org/?q=a%20b&b", "https://example.org/?q=a%20b&b"),
        ("https://[2606:4700::1]/x", "https://[2606:4700::1]/x"),
        (" https://example.org/a b ", "https://example.org/a%20b"),
        ("javascript:alert(1)", ""),
        ("/relative", ""),
        ("http://[broken", ""),
        ("http://x:99999999/", ""),
        ("", ""),
    ],
)
def test_canonical_url(url: str, canonical: str) -> None:
    assert canonical_url(url) == canonical


@given(
    st.text()
    | st.builds("https://{}/{}?{}".format, st.text(max_size=9), st.text(max_size=9), st.text(max_size=9))
)
def test_canonical_url_is_idempotent_and_never_raises(url: str) -> None:
    canonical = canonical_url(url)
    assert canonical_url(canonical) == canonical
    assert registered_domain(canonical) == registered_domain(url)
    assert url_key(canonical) == url_key(url)


def test_one_page_under_many_links_has_one_key() -> None:
    same = ["http://www.a.example/x/?b=1&a=2", "https://a.example/x?a=2&b=1&utm_campaign=z#top"]
    assert len({url_key(u) for u in same}) == 1
    assert url_key("https://a.example/x?a=2") != url_key("https://a.example/x?a=3")


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("https://feeds.paper.co.uk/x", "paper.co.uk"),
        ("https://www.abc.net.au/", "abc.net.au"),
        ("https://paper.co.uk", "paper.co.uk"),
        ("https://a.b.c.example.com/", "example.com"),
        ("https://www.spiegel.de/", "spiegel.de"),
        ("https://t.co/x", "t.co"),
        ("https://one.blogs.example/", "blogs.example"),
        ("https://93.184.216.34/", "93.184.216.34"),
        ("https://[2606:4700::1]/", "2606:4700::1"),
        ("https://localhost/", "localhost"),
        ("https://news.gov.in/", "news.gov.in"),
        ("https://www.city.kawasaki.jp/", "city.kawasaki.jp"),  # an exception of the list
        ("https://a.b.paper.com.ng:8443/x", "paper.com.ng"),
        ("https://one.github.io/", "github.io"),  # free for the taking: one voice
        ("https://www.Bücher.example/", "xn--bcher-kva.example"),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example"),
        ("https://аpple.example/", "xn--pple-43d.example"),  # its first letter is Cyrillic
        ("https://co.uk/", "co.uk"),
        ("https://paper.example./x", "paper.example"),
        ("https://user@paper.example/", "paper.example"),
        ("/no/url", ""),
    ],
)
def test_registered_domain(url: str, domain: str) -> None:
    assert registered_domain(url) == domain


def test_a_pile_of_accents_is_cut_and_other_signs_are_not() -> None:
    pile = "a" + "\u0315\u0316" * 50_000
    assert len(visible(pile)) < 40
    for text in ("e\u0301" * 1000, "─" * 500, "😀" * 500, "กำ" * 500):
        assert visible(text) == unicodedata.normalize("NFC", text)


def test_what_is_hidden_and_never_ends_hides_nothing_but_code() -> None:
    assert clean_line("safe<object x='1'> words<iframe> and <b>more</b>") == "safe words and more"
    assert clean_line("safe<object>not this</OBJECT> words") == "safe words"
    assert clean_line("safe<script>code() <b>more</b>") == "safe"
    started = time.process_time()
    assert clean_line("a<iframe>" * 100_000) == "a" * 100_000
    assert time.process_time() - started < 5
