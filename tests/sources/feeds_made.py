"""Strategies for the tests of broken feeds: whole documents of every format that we read, and ways to break them."""

from __future__ import annotations

import codecs
import gzip
import json
from collections.abc import Callable, Iterable

from hypothesis import strategies as st

TITLES = (
    *(
        "Mayor of Elmford resigns",
        "Council &amp; mayor agree",
        "<![CDATA[<b>Bridge</b> &amp; road]]>",
        "Caf&#233; 5 &lt; 6",
    ),
    *(
        "Fire in Elmford &lt;i&gt;today&lt;/i&gt;",
        "",
        " ",
        "日本の首相",
        "a\u202eb\u200bc",
        "&#x1F600; smile",
        "Ünder",
    ),
)
TEXTS = (
    *("The council did not meet on Monday.", "&lt;p&gt;One.&lt;p&gt;Two &amp;amp; three.&lt;br/&gt;", "", "x" * 300),
    *("<![CDATA[<p>She <em>did not</em> resign, </item> he said.</p><script>x()</script>]]>", "AT&amp;T &quot;rose&quot;"),
    *("<![CDATA[&nbsp;&hellip; half]]> and <![CDATA[<item> more]]>", "a\u0301" * 40, "&lt;a href=&quot;x&quot;&gt;link&lt;/a&gt;"),
    "<!-- <item> -->After a comment.",
)  # fmt: skip
LINKS = (
    *("https://paper.example/1", "/rel?x=1&amp;y=2", "http://[", "javascript:alert(1)", "//host.example/p", "", "x y"),
    *("HTTP://User:Pw@A.EXAMPLE:80/#f", "http://a.example:99999/", "https://a.example/\u202e日本", "data:text/html,x"),
    *("https://x.example/" + "y" * 2500, "http://" + "h" * 300 + ".example/", "?utm_source=x"),
)  # fmt: skip
DATES = (
    *("Mon, 02 Mar 2026 10:00:00 GMT", "2026-03-01T08:00:00+02:00", "Tue, 31 Feb 2026 25:61:00 GMT", "2026-02-30", ""),
    *("yesterday", "0000-00-00", "9999-12-31T23:59:59-12:00", "-1", "T10:30", "1e9", "12/31/26", "Mon, 02 Mar 26 10:00 EST"),
    *("2026-W10-1", "20260302", "1772445600", "Mon, 02 Mar 2026 10:00:00 +9999", "Thu, 01 Jan 1970 00:00:00 GMT"),
)  # fmt: skip
EXTRAS = (
    *("", '<source url="http://wire.example/">Wire</source>', "<dc:creator>A. Writer</dc:creator>", "<category>x</category>"),
    *('<enclosure url="http://a.example/x.mp3" length="1" type="audio/mpeg"/>', "<unknown:tag>x</unknown:tag>"),
    *("<author><name>A</name></author>", '<media:content url="x"><media:title>T</media:title></media:content>'),
    *("<content:encoded><![CDATA[<div>Longer text, in full.</div>]]></content:encoded>", "<?php echo 1 > 0 ?>"),
)  # fmt: skip
SPACES = (
    ' xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:content="http://purl.org/rss/1.0/modules/content/"'
    ' xmlns:media="http://search.yahoo.com/mrss/" xmlns:unknown="urn:x"'
)
# title, text, link, date, guid, extra -> the item; what stands around the items
RSS = "<item><title>{0}</title><link>{2}</link><guid>{4}</guid><pubDate>{3}</pubDate>{5}<description>{1}</description></item>"
RDF = '<item rdf:about="{4}"><title>{0}</title><link>{2}</link><description>{1}</description><dc:date>{3}</dc:date>{5}</item>'
ATOM = (
    '<entry><id>{4}</id><title type="html">{0}</title><link rel="alternate" href="{2}"/><updated>{3}</updated>{5}'
    '<summary type="html">{1}</summary></entry>'
)
ATOM_03 = (
    '<entry><id>{4}</id><title>{0}</title><link rel="alternate" type="text/html" href="{2}"/><issued>{3}</issued>'
    '<modified>{3}</modified>{5}<content type="text/html" mode="escaped">{1}</content></entry>'
)
XHTML = (
    '<entry xml:base="https://base.example/x/"><id>{4}</id><title>{0}</title><link href="{2}"/><published>{3}</published>{5}'
    '<content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>{1}</p><br/>more</div></content></entry>'
)
PREFIXED = "<a:entry><a:id>{4}</a:id><a:title>{0}</a:title><a:updated>{3}</a:updated><a:summary>{1}</a:summary></a:entry>"
CDF = '<ITEM HREF="{2}" LASTMOD="{3}"><TITLE>{0}</TITLE><ABSTRACT>{1}</ABSTRACT></ITEM>'
FORMATS = {
    "rss 0.91": ('<rss version="0.91"{0}><channel><title>F</title>{1}</channel></rss>', RSS),
    "rss 0.92": ('<rss version="0.92"{0}><channel><title>F</title>{1}</channel></rss>', RSS),
    "rss 2.0": ('<rss version="2.0"{0}><channel><title>F</title><ttl>60</ttl>{1}</channel></rss>', RSS),
    "rss 1.0": (
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/"{0}>'
        '<channel rdf:about="x"><title>F</title><items><rdf:Seq/></items></channel>{1}</rdf:RDF>',
        RDF,
    ),
    "atom 0.3": ('<feed version="0.3" xmlns="http://purl.org/atom/ns#"{0}><title>F</title>{1}</feed>', ATOM_03),
    "atom 1.0": ('<feed xmlns="http://www.w3.org/2005/Atom"{0}><title>F</title>{1}</feed>', ATOM),
    "atom xhtml": ('<feed xmlns="http://www.w3.org/2005/Atom"{0}><title>F</title>{1}</feed>', XHTML),
    "atom prefixed": ('<a:feed xmlns:a="http://www.w3.org/2005/Atom"{0}>{1}</a:feed>', PREFIXED),
    "cdf": ("<CHANNEL><TITLE>F</TITLE>{1}</CHANNEL>", CDF),
}  # fmt: skip
DECLARED = (
    "utf-8",
    "iso-8859-1",
    "windows-1252",
    "utf-16",
    "koi8-r",
    "gb2312",
    "shift_jis",
    "utf-7",
    "zip",
    "x",
    "",
)
WRITTEN = (
    "utf-8",
    "utf-8",
    "utf-8",
    "cp1252",
    "utf-16",
    "utf-16-be",
    "utf-32",
    "koi8-r",
    "gb18030",
    "shift_jis",
)
DOCTYPES = (
    *("", "", "", '<!DOCTYPE rss PUBLIC "-//Netscape//DTD RSS 0.91//EN" "http://my.netscape.com/rss.dtd">', "<!DOCTYPE html>"),
    *('<!DOCTYPE rss [<!ENTITY who "the mayor">]>', '<!DOCTYPE x [<!ENTITY a "<b>"> <!-- ]]> " --> <?x ]> ?>]>', "<!DOCTYPE"),
)  # fmt: skip
FRAGMENTS = (
    *(b"<", b">", b"&", b'"', b"'", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"]]>", b"<![CDATA[", b"<!--", b"-->", b"<?x", b"?>"),
    *(b"</item>", b"<item>", b"</entry>", b"<entry>", b"</channel>", b"</rss>", b"<title>", b"</title>", b"<p><br><b>"),
    *(b"&nbsp;", b"&who;", b"&undefined;", b"&#xD83D;&#xDE00;", b"&#55357;", b"&#0;", b"&#x1b;", b"&#99999999999;", b"&#x110000;"),
    *(b"<q:x>", b"<a b='/>'>", b"<a b=c d=\"e>", b"<a b='1' b='2'>", b"<!ENTITY x 'y'>", b"<!DOCTYPE html><html><body>"),
    *(b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xe2\x80\xae", b"\x1b[2J", b"\\ud800", b"NaN", b"1e999", b"[" * 3000),
    *(b"9" * 5000, b"<d>" * 1500, b'{"', b"null,", b"\r\n", b"\xe2\x80\xa8", b"<script>", b"<svg>", b'xmlns="" '),
)  # fmt: skip


@st.composite
def xml_feeds(draw: st.DrawFn) -> bytes:
    """A feed that is well-formed but for what DOCTYPES do, in an encoding that may not be the one it declares."""
    whole, one = FORMATS[draw(st.sampled_from(sorted(FORMATS)))]
    parts = [st.sampled_from(choices) for choices in (TITLES, TEXTS, LINKS, DATES)]
    guids = st.sampled_from(("", "g-1", "g-2", "http://paper.example/1", "\u202e"))
    items = draw(st.lists(st.tuples(*parts, guids, st.sampled_from(EXTRAS)), max_size=3))
    text = whole.format(SPACES, "".join(one.format(*item) for item in items))
    declared = draw(st.sampled_from(DECLARED))
    head = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    text = head + draw(st.sampled_from(DOCTYPES)) + text
    return text.encode(draw(st.sampled_from(WRITTEN)), "replace")


json_texts = st.sampled_from([*TITLES, *TEXTS, "\ud800 lone", "\x00\x1b[2J"])
json_values = st.one_of(
    json_texts,
    st.sampled_from(LINKS),
    st.sampled_from(DATES),
    st.none(),
    st.integers(),
    st.floats(),
    st.just([{}]),
    st.just({"a": []}),
)
json_items = st.dictionaries(
    st.sampled_from(
        [
            "id",
            "url",
            "link",
            "title",
            "text",
            "summary",
            "content_text",
            "content_html",
            "date_published",
            "published",
            "publisher",
        ]
    ),
    json_values,
    max_size=6,
)


@st.composite
def json_feeds(draw: st.DrawFn) -> tuple[bytes, str]:
    """A JSON Feed or JSONL, and its file name."""
    items = draw(st.lists(json_items, max_size=4))
    ascii_only = draw(st.booleans())
    if draw(st.booleans()):
        text = "\n".join(json.dumps(item, ensure_ascii=ascii_only) for item in items)
        return text.encode("utf-8", "surrogatepass"), "news.jsonl"
    feed = {"version": "https://jsonfeed.org/version/1.1", "title": "F", "items": items}
    indent = draw(st.sampled_from((None, 1)))
    text = json.dumps(feed, ensure_ascii=ascii_only, indent=indent)
    return text.encode("utf-8", "surrogatepass"), "feed.json"


Accidents = Callable[[bytes], list[bytes]]


@st.composite
def accidents(draw: st.DrawFn) -> Accidents:
    """A function from a body to six broken ones, after one to three accidents each."""
    step = st.tuples(
        st.integers(0, len(ACCIDENTS) - 1), st.floats(0, 1), st.floats(0, 1), st.integers(0, 1 << 16)
    )
    series = draw(st.lists(st.lists(step, min_size=1, max_size=3), min_size=6, max_size=6))

    def harm(body: bytes) -> list[bytes]:
        return [_after(body, steps) for steps in series]

    return harm


def _after(body: bytes, steps: Iterable[tuple[int, float, float, int]]) -> bytes:
    for which, one, other, number in steps:
        at, to = sorted((int(one * len(body)), int(other * len(body))))
        body = ACCIDENTS[which](body, at, to, number)
    return body


def _flip(body: bytes, at: int, to: int, number: int) -> bytes:
    changed = bytearray(body)
    for step in range(1 + number % 8):
        if changed:
            changed[(at + step * (1 + number)) % len(changed)] ^= 1 << (number + step) % 8
    return bytes(changed)


def _insert(body: bytes, at: int, to: int, number: int) -> bytes:
    return body[:at] + FRAGMENTS[number % len(FRAGMENTS)] + body[at:]


def _without_closing(body: bytes, at: int, to: int, number: int) -> bytes:
    tags = (
        b"</item>",
        b"</entry>",
        b"</title>",
        b"</description>",
        b"</summary>",
        b"</channel>",
        b"]]>",
        b'"',
        b">",
    )
    tag = tags[number % len(tags)]
    return body.replace(tag, b"", 1 + number % 3)


def _as_gzip(body: bytes, at: int, to: int, number: int) -> bytes:
    packed = gzip.compress(body, mtime=0)
    return packed if number % 3 else packed[: number % len(packed)]


def _mark(body: bytes, at: int, to: int, number: int) -> bytes:
    marks = (
        codecs.BOM_UTF8,
        codecs.BOM_UTF16_LE,
        codecs.BOM_UTF16_BE,
        codecs.BOM_UTF32_LE,
        b"\n\n",
        b"PHP Warning\n",
    )
    return marks[number % len(marks)] + body


ACCIDENTS = (
    lambda body, at, to, number: body[:to],  # cut off
    lambda body, at, to, number: body[:at] + body[to:],  # lost in the middle
    lambda body, at, to, number: body[:to] + body[at:],  # sent twice
    lambda body, at, to, number: body[:at] + body[at:to].swapcase() + body[to:],
    lambda body, at, to, number: body.decode("utf-8", "replace").encode(
        WRITTEN[number % len(WRITTEN)], "replace"
    ),
    lambda body, at, to, number: body.decode("cp1252", "replace").encode(),  # encoded twice
    _flip,
    _flip,
    _insert,
    _insert,
    _insert,
    _without_closing,
    _as_gzip,
    _mark,
)
