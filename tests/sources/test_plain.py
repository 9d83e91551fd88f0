"""Where the quick reader answers at all, it answers what feedparser would."""

from __future__ import annotations

import time
from typing import Any

import pytest
from feedparser.api import StrictFeedParser
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources import feed
from agent.sources.items import Context
from agent.sources.markup import find_root, tame, to_bytes
from agent.sources.plain import MAX_PLAIN, read_plain
from agent.sources.plain_names import MEANT, NAMESPACES, ROLES, TAKEN
from tests.sources.conftest import NOW, item, rss
from tests.sources.test_feed import SPEC

BASE = "https://paper.example/feeds/all.xml"
PREFIXES = {
    "atom": "http://www.w3.org/2005/Atom",
    "content": "http://purl.org/rss/1.0/modules/content/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "dcterms": "http://purl.org/dc/terms/",
    "media": "http://search.yahoo.com/mrss/",
    "itunes": "http://www.itunes.com/dtds/podcast-1.0.dtd",
    "feedburner": "http://rssnamespace.org/feedburner/ext/1.0",
    "sy": "http://purl.org/rss/1.0/modules/syndication/",
    "slash": "http://purl.org/rss/1.0/modules/slash/",
    "own": "urn:somebody:else",
}
XMLNS = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in PREFIXES.items())
RSS = f'<rss version="2.0" {XMLNS}><channel>%s</channel></rss>'
ATOM = f'<feed xmlns="http://www.w3.org/2005/Atom" {XMLNS}>%s</feed>'

NAMES = ["title", "link", "guid", "id", "description", "summary", "content", "pubDate", "published", "updated", "author", "category", "source", "comments", "enclosure", "rights", "image", "body", "abstract", "date", "links", "subtitle", "name"]  # fmt: skip
TAGS = (
    *NAMES, "content:encoded", "dc:date", "dc:title", "dc:creator", "dc:description", "dcterms:issued", "media:title",
    "media:description", "media:content", "media:thumbnail", "media:group", "itunes:summary", "itunes:image", "slash:comments",
    "feedburner:origLink", "atom:link", "atom:updated", "own:title", "own:publisher", "own:updated_parsed", "odd",
)  # fmt: skip
ATTRIBUTES = (
    "", "", "", "", ' isPermaLink="false"', ' isPermaLink="true"', ' type="html"', ' type="text"', ' type="xhtml"',
    ' href="https://paper.example/a?b=1&amp;c"', ' href="../up"', ' rel="self" href="x"', ' rel="enclosure"',
    ' url="https://else.example/"', ' xml:base="https://else.example/"', ' xml:lang="de"', ' mode="base64"',
)  # fmt: skip
TEXTS = (
    "", "", "word", " two words ", "&lt;b&gt;bold&lt;/b&gt; &amp;amp; more", "<![CDATA[<p>in &amp; out</p>]]>", "1 &lt; 2",
    "https://paper.example/story?a=1&amp;b=2", "/story/3", "https:////slashed.example/", "Caf\xc3\xa9", "smart \x93quote\x94",
    "Ünïcode", "Mon, 02 Mar 2026 10:00:00 GMT", "2 Mar 2026 10:00:00 -0530", "2026-03-02T10:00:00.5+01:00", "2026-03-02",
    "Mon, 02 Mar 2026 10:00:00 EST", "yesterday", "2026-02-31T10:00:00Z", "a<!-- aside -->b", "a<b>c</b>", "<name>Ann</name>",
)  # fmt: skip
elements = st.builds(
    lambda tag, attribute, text: f"<{tag}{attribute}>{text}</{tag}>",
    st.sampled_from(TAGS), st.sampled_from(ATTRIBUTES), st.sampled_from(TEXTS),
)  # fmt: skip
heads = st.builds(
    lambda tag, text: f"<{tag}>{text}</{tag}>",
    st.sampled_from((*TAGS, "ttl", "sy:updatePeriod", "sy:updateFrequency", "language", "item", "textInput")),
    st.sampled_from((*TEXTS, "30", "daily", "2")),
)
entries = st.lists(st.lists(elements, max_size=4).map("".join), max_size=2)


def by_feedparser(text: str) -> Any:
    root = find_root(text)
    assert root is not None
    return feed._call_feedparser(to_bytes(tame(text, root.start())), BASE)


def check(text: str) -> bool:
    """Whether the quick reader read it; if it did, feedparser must agree."""
    got = read_plain(text, BASE)
    if got is None:
        return False
    slow = by_feedparser(text)
    assert not slow.bozo and slow.version
    assert got.items == tuple(feed._item(entry) for entry in slow.entries)
    assert feed._ttl_s(got.pace) == feed._ttl_s(slow.feed)
    return True


@settings(max_examples=400, deadline=None)
@given(st.lists(heads, max_size=3).map("".join), entries, st.booleans())
def test_it_never_differs_from_feedparser(head: str, inside: list[str], atom: bool) -> None:
    tag = "entry" if atom else "item"
    check((ATOM if atom else RSS) % (head + "".join(f"<{tag}>{one}</{tag}>" for one in inside)))


ENTRY = (
    "<id>urn:x:1</id><title type='html'>A &amp;lt;b&amp;gt; title</title><link rel='alternate' href='/1'/>"
    "<link rel='enclosure' href='/1.mp3'/><updated>2026-03-02T10:00:00Z</updated>"
    "<author><name>Ann</name><email>a@x.example</email></author><summary type='html'>&lt;p&gt;Text&lt;/p&gt;</summary>"
    "<content type='html'>&lt;p&gt;A longer text&lt;/p&gt;</content>"
)
COMMON = {
    "rss": rss(item(1), item(2), head="<ttl>60</ttl>").decode(),
    "atom": ATOM % f"<title>A</title><id>urn:x</id><entry>{ENTRY}</entry>",
    "media and creators": RSS % (
        f"<item>{item(1)}<dc:creator>Ann</dc:creator><category domain='x'>News</category>"
        "<media:content url='https://i.example/a.jpg'><media:credit>Bob</media:credit></media:content>"
        "<media:description>A caption</media:description></item>"
    ),
    "wordpress": RSS % (
        "<sy:updatePeriod>hourly</sy:updatePeriod><sy:updateFrequency>2</sy:updateFrequency>"
        f"<image><url>u</url><title>t</title><link>l</link></image><item>{item(1)}<slash:comments>3</slash:comments>"
        "<content:encoded><![CDATA[<p>All of it, and then some more of it until it is longer.</p>]]></content:encoded></item>"
    ),
    "an aggregator": RSS % (
        f"<item>{item(1)}<source url='https://else.example/'>Elsewhere</source><own:publisher kind='x'>E</own:publisher></item>"
    ),
    "empty": RSS % "<title>None yet</title>",
}  # fmt: skip


@pytest.mark.parametrize("text", COMMON.values(), ids=COMMON.keys())
def test_it_reads_what_everybody_writes(text: str) -> None:
    assert check(text)


UNUSUAL = {
    "broken": rss(item(1)).decode()[:-20],
    "a doctype": "<!DOCTYPE rss [<!ENTITY a 'b'>]>" + RSS % f"<item>{item(1)}</item>",
    "xhtml": ATOM
    % "<entry><content type='xhtml'><div xmlns='http://www.w3.org/1999/xhtml'>x</div></content></entry>",
    "a base": (ATOM % f"<entry>{ENTRY}</entry>").replace("<feed ", "<feed xml:base='https://else.example/' "),
    "a base of an entry": ATOM % f"<entry xml:base='https://else.example/'>{ENTRY}</entry>",
    "another date": RSS % "<item><title>x</title><pubDate>March the second</pubDate></item>",
    "another root": "<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'/>",
    "a prefix that misleads": (RSS % f"<item>{item(1)}</item>").replace(
        PREFIXES["dc"], "urn:not:dublin:core"
    ),
    "a namespace by default": RSS % f"<item>{item(1)}<title xmlns='urn:x'>other</title></item>",
    "userland": RSS % "<item><x:title xmlns:x='http://backend.userland.com/rss'>x</x:title></item>",
    "items in items": RSS % f"<item>{item(1)}<item>{item(2)}</item></item>",
    "items outside": "<rss version='2.0'><channel/><item><title>x</title></item></rss>",
    "very long": RSS % f"<item><description>{'x' * MAX_PLAIN}</description></item>",
}


@pytest.mark.parametrize("text", UNUSUAL.values(), ids=UNUSUAL.keys())
def test_it_leaves_the_rest_to_feedparser(text: str) -> None:
    assert read_plain(text, BASE) is None


def test_it_knows_every_element_that_feedparser_does_something_for() -> None:
    handled = {name.partition("_")[2].partition("_")[2].lower() for name in dir(StrictFeedParser) if name.startswith(("_start_", "_end_"))}  # fmt: skip
    assert "description" in handled and handled <= MEANT
    prefixes = {name.partition("_")[0] for name in handled if "_" in name} | {""}
    known = {uri.lower(): prefix.lower() for uri, prefix in StrictFeedParser.namespaces.items() if uri}
    known = {
        uri: prefix for uri, prefix in known.items() if prefix in prefixes and "userland.com/rss" not in uri
    }
    assert known.items() <= NAMESPACES.items() and prefixes <= TAKEN
    meant = {role for role in ROLES.values() if role}
    assert meant == {
        "title",
        "media_title",
        "link",
        "guid",
        "summary",
        "content",
        "published",
        "updated",
        "source",
        "origlink",
    }


@pytest.mark.parametrize(
    "inside",
    [
        "<a>" * 100_000,
        "<a " + " ".join(f'a{n}=""' for n in range(50_000)) + "/>",
        "<a/>" * 200_000,
        "&amp;" * 300_000,
    ],
    ids=["deep", "attributes", "many", "entities"],
)
def test_it_is_quick_about_hostile_ones(inside: str) -> None:
    began = time.process_time()
    read_plain(RSS % f"<item>{inside}</item>", BASE)
    deep = inside.count("<a>")
    read_plain(RSS % f"<item>{inside}{'</a>' * deep}</item>", BASE)
    assert time.process_time() - began < 5


def test_a_feed_gives_the_same_articles_either_way() -> None:
    plain = rss(*(item(n) for n in range(30)))
    unusual = plain.replace(b"<rss ", f"<rss xml:base='{BASE}' ".encode())
    assert read_plain(plain.decode()) is not None and read_plain(unusual.decode()) is None
    context = Context(SPEC, NOW)
    quick, slow = (feed.parse_feed(body, context, base_url=BASE) for body in (plain, unusual))
    assert quick == slow and len(quick.articles) == 30
