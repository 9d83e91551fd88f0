"""OPML in and out: what readers export, what attackers send, and what is chosen from it."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.errors import SourceError, TooLarge
from agent.sources.naming import name_for, same_source, settled
from agent.sources.opml import MAX_OUTLINES, Outline, choose, parse_opml, to_opml
from agent.sources.text import visible
from agent.types import SourceSpec


def opml(inside: str, head: str = '<?xml version="1.0"?>') -> bytes:
    return f'{head}<opml version="2.0"><head><title>t</title></head><body>{inside}</body></opml>'.encode()


def test_nested_outlines_come_out_in_order_and_folders_do_not() -> None:
    found = parse_opml(
        opml(
            '<outline text="World"><outline text="One" type="rss" xmlUrl="https://one.example/f"/>'
            '<outline text="Deep"><outline title="Two" text="2" xmlUrl=" https://two.example/f "/></outline>'
            '</outline><outline text="Three" XMLURL="https://three.example/f"/>'
            '<outline text="Old" type="rss" url="https://old.example/f"/>'
            '<outline text="A page" type="link" url="https://page.example/"/>'
            '<outline text="Empty" xmlUrl=""/>'
        )
    )
    assert found == (
        Outline("One", "https://one.example/f"),
        Outline("Two", "https://two.example/f"),
        Outline("Three", "https://three.example/f"),
        Outline("Old", "https://old.example/f"),
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1", "cp1252", "utf-8-sig"])
def test_odd_encodings(encoding: str) -> None:
    declared = encoding.removesuffix("-sig")
    text = opml(
        '<outline text="Café" xmlUrl="https://a.example/"/>', f'<?xml version="1.0" encoding="{declared}"?>'
    )
    assert parse_opml(text.decode().encode(encoding)) == (Outline("Café", "https://a.example/"),)


def test_bare_ampersands_and_html_names_are_mended() -> None:
    (found,) = parse_opml(
        opml('<outline text="R&D &eacute;&LT;&amp;lt;" xmlUrl="https://a.example/?a=1&b=2&amp;c=3&lt"/>')
    )
    assert found.url == "https://a.example/?a=1&b=2&c=3&lt"
    assert found.title.startswith("R&D é<")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b"   \n", "empty"),
        (b"{}", "broken in line 1, column 1"),
        (opml('<outline text="a>') + b"x", "broken in line"),
        (b'<opml>\n <body>\n  <outline text="a" text="b"/>', "line 3, column"),
        (opml("")[:-8], "broken in line 1"),
        (b"<rss><channel/></rss>", "no OPML: its root is <rss>"),
        (b"<html><body>", "broken"),
    ],
)
def test_what_is_no_list_is_a_clear_error(body: bytes, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        parse_opml(body)


@pytest.mark.parametrize(
    "declared",
    [
        '<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">',
        '<!ENTITY a SYSTEM "file:///etc/passwd">',
        '<!ENTITY % a SYSTEM "http://127.0.0.1/x.dtd"> %a;',
    ],
)
def test_no_entity_is_ever_declared(declared: str) -> None:
    body = f'<!DOCTYPE opml [{declared}]><opml><body><outline text="&b;" xmlUrl="https://x.example"/></body></opml>'
    with pytest.raises(SourceError, match="declares the entity"):
        parse_opml(body.encode())


def test_a_doctype_elsewhere_is_not_fetched() -> None:
    body = b'<!DOCTYPE opml SYSTEM "http://127.0.0.1:9/x.dtd"><opml><outline xmlUrl="https://x.example/"/></opml>'
    assert parse_opml(body) == (Outline("", "https://x.example/"),)


def test_depth_and_number_are_bounded() -> None:
    started = time.perf_counter()
    assert parse_opml(opml("<outline>" * 100_000 + "</outline>" * 100_000)) == ()
    with pytest.raises(TooLarge):
        parse_opml(opml('<outline xmlUrl="https://a.example"/>' * (MAX_OUTLINES + 1)))
    assert time.perf_counter() - started < 20


@given(
    st.binary(max_size=300)
    | st.text(max_size=300).map(lambda t: f"<opml>{t}</opml>".encode("utf-8", "replace"))
)
def test_any_bytes_are_outlines_or_a_source_error(body: bytes) -> None:
    with contextlib.suppress(SourceError):
        assert isinstance(parse_opml(body), tuple)


def test_duplicates_and_what_cannot_be_read_are_left_out_with_a_reason() -> None:
    known = (SourceSpec("mine", "https://www.a.example/feed/"),)
    chosen = choose(
        [
            Outline("A", "http://a.example/feed"),
            Outline("B", "https://b.example/feed"),
            Outline("B again", "https://b.example/feed/"),
            Outline("", "ftp://c.example/feed"),
            Outline("D", "javascript:alert(1)"),
            Outline("E", "/etc/passwd"),
            Outline("F", "https://"),
            Outline("G", "https://g.example/\u202efeed"),
            Outline("B", "feed://h.example/x"),
            Outline("mine", "feed:https://i.example/x"),
        ],
        known,
    )
    assert [(s.name, s.url) for s in chosen.new] == [
        ("B", "https://b.example/feed"),
        ("B 2", "http://h.example/x"),
        ("mine 2", "https://i.example/x"),
    ]
    reasons = {left.title: left.reason for left in chosen.left_out}
    assert reasons["A"] == "it is in the settings already, as mine"
    assert reasons["B again"] == "it is in this list already, as B"
    assert all("neither http nor https" in reasons[t] for t in ("", "D", "E"))
    assert "no web address" in reasons["F"] and "hidden" in reasons["G"]


NAMES = st.text(min_size=1, max_size=80)


@given(
    st.lists(
        st.tuples(NAMES, st.from_regex(r"https://[a-z]{1,5}\.example/[a-z?&=<>\"']{0,8}", fullmatch=True)),
        max_size=6,
    )
)
def test_what_is_exported_comes_back(entries: list[tuple[str, str]]) -> None:
    chosen = choose([Outline(title, url) for title, url in entries], ())
    names = [spec.name for spec in chosen.new]
    assert len(set(names)) == len(names) and all(n.isprintable() and n.strip() == n and n for n in names)
    text = to_opml((*chosen.new, SourceSpec("disk", "/a/folder")))
    assert text.isascii()
    back = choose(parse_opml(text.encode()), ()).new
    assert [spec.url for spec in back] == [spec.url for spec in chosen.new]


@given(NAMES, st.text(max_size=20))
def test_a_name_is_new_printable_and_never_empty(url: str, wanted: str) -> None:
    first = name_for(url, (), wanted)
    second = name_for(url, {first}, wanted)
    assert first and first.isprintable() and first != second


@given(st.text(max_size=60))
@example("~0")  # a home that nobody has
def test_a_settled_url_is_visible_and_settles_to_itself(url: str) -> None:
    try:
        once = settled(url)
    except SourceError:
        return
    assert once == visible(once) and settled(once) == once
    assert same_source(once, [SourceSpec("a", once)]) is not None
