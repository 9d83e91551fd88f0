"""RSS and Atom -> Articles, by feedparser under guard; the plain ones without it (`plain.py`).

feedparser opens any path or URL that it is handed as bytes or str, so there is one call, on a BytesIO. Its
own patterns are quadratic in places (measured on 6.0.14): 20 kB of blank lines before the root take 2 s, and
one 100 kB word in <author> 65 s, 20,000 categories 12 s; nesting, attributes and very many tags are slow too.
`markup.py` removes the first three and refuses the others; `repair.py` mends what is not well-formed.
"""

from __future__ import annotations

import calendar
import html
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import feedparser

from agent.errors import SourceError
from agent.sources.decode import decode
from agent.sources.items import Context, Item, Parsed, to_articles
from agent.sources.markup import MANY, check, find_root, tame, to_bytes
from agent.sources.plain import read_plain
from agent.sources.repair import repair
from agent.sources.text import clean_line

_HTML_ROOT = re.compile(r"<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_LINK = re.compile(r"<link\b[^<>]{0,2000}>", re.IGNORECASE)
_HREF = re.compile(r"""href\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)
_FEED_TYPE = re.compile(r"application/(?:rss|atom)\+xml|application/feed\+json", re.IGNORECASE)
_PERIOD_S = {
    "hourly": 3600.0,
    "daily": 86400.0,
    "weekly": 604800.0,
    "monthly": 2592000.0,
    "yearly": 31536000.0,
}


def parse_feed(body: bytes, context: Context, *, content_type: str = "", base_url: str = "") -> Parsed:
    """The articles of an RSS or Atom document. `base_url` resolves relative links.

    A feed that is well-formed and empty is no error. One that breaks off is read as far as it goes; the entry
    it breaks in is left out, since half a sentence may say the opposite of the whole.

    Raises:
        SourceError: empty, an HTML page (names the feed that the page links to), no XML, no feed, or broken
            with nothing in it.
        TooLarge: too deep, or too many tags, to be parsed in seconds.
    """
    text = decode(body, content_type).lstrip("\ufeff \t\r\n")
    if not text:
        raise SourceError("the body is empty: a feed was expected")
    root = find_root(text)
    page = _page(text)
    if not text.startswith("<") or root is None:
        raise SourceError(f"this is no XML: it begins with {text[:40]!a}")
    if root[0].lower() == "<opml":
        raise SourceError(
            "this is an OPML list of feeds, not a feed; `factd feeds import` takes over what it names"
        )
    plain = read_plain(text, base_url)
    if plain is not None:
        articles, more = to_articles(plain.items, context)
        return Parsed(articles, _ttl_s(plain.pace), more)
    text = tame(text, root.start())
    document = to_bytes(text)
    notes: list[str] = []
    reason = check(document)
    whole = True
    if reason:
        fixed = repair(text)
        document, whole = to_bytes(fixed.text), fixed.closed
        if reason != MANY:
            notes.append(f"the XML is broken ({reason}); what could be read was")
        if fixed.cut:
            notes.append("the last entry is cut off and was left out")
    result = _call_feedparser(document, base_url)
    entries = list(result.entries)
    if not entries and page and not result.version:
        raise SourceError(page)
    if not entries and (result.bozo or not whole):
        raise SourceError(f"the XML is broken ({reason or _reason(result)}) and no entry could be read")
    if not entries and not result.version:
        raise SourceError(f"this is XML but neither RSS nor Atom: its root is {root[0][:60]!a}")
    articles, more = to_articles(map(_item, entries), context)
    return Parsed(articles, _ttl_s(result.feed), (*notes, *more))


def _reason(result: Any) -> str:
    return clean_line(str(result.get("bozo_exception", "")))[:160]


def _call_feedparser(document: bytes, base_url: str) -> Any:
    headers = {"content-type": "application/xml; charset=utf-8", "content-location": base_url}
    try:
        return feedparser.parse(
            io.BytesIO(document), response_headers=headers, sanitize_html=False, resolve_relative_uris=False
        )
    except Exception as problem:  # it lets through whatever its parts raise, KeyError and AttributeError too
        raise SourceError(
            f"the feed parser gave up: {type(problem).__name__}: {str(problem)[:160]!a}"
        ) from problem


def _page(text: str) -> str:
    """What to say if `text` is an HTML page, "" where it is none. Raises it as SourceError where no feed is in it:
    some servers wrap a feed in a page, or put a page's doctype before it."""
    head = text[:4096]
    page = _HTML_ROOT.search(head)
    feed = re.search(r"<(?:[\w-]+:)?(?:rss|feed|rdf|opml)\b", head, re.IGNORECASE)
    if page is None or (feed is not None and feed.start() < page.start()):
        return ""
    found = named_feed(text)
    hint = f"; the page names a feed at {found[:300]!a}" if found else " and it names no feed"
    message = f"this is an HTML page, not a feed{hint}"
    if feed is None:
        raise SourceError(message)
    return message


def named_feed(page: str) -> str:
    """The link of the first feed that an HTML page names in its head, as it is written there; "" if none."""
    links = [link[0] for link in _LINK.finditer(page[:200_000]) if _FEED_TYPE.search(link[0])]
    return next((html.unescape(href[1]) for link in links if (href := _HREF.search(link))), "")


def _item(entry: Any) -> Item:
    # dict.get, for FeedParserDict.get falls back between keys, with a DeprecationWarning. Any value may be of another
    # type than usual: an unknown element with attributes, <links a="b"/>, is kept under its own name.
    def get(key: str) -> Any:
        return dict.get(entry, key)

    source = next(_dicts([get("source")]), {})
    texts = [_text(get("summary")), *(_text(part.get("value")) for part in _dicts(get("content")))]
    return Item(
        guid=_text(get("id")),
        url=_text(get("feedburner_origlink")) or _text(get("link")) or next(_alternates(get("links")), ""),
        title=_text(get("title")),
        text=max(texts, key=len),
        published_at=_time(get("published_parsed")) or _time(get("updated_parsed")),
        site=_text(source.get("href")) or _text(source.get("link")),
        site_title=_text(source.get("title")),
    )


def _alternates(links: Any) -> Iterator[str]:
    for link in _dicts(links):
        if link.get("rel", "alternate") == "alternate":
            yield _text(link.get("href"))


def _dicts(values: Any) -> Iterator[dict[str, Any]]:
    return (value for value in values if isinstance(value, dict)) if isinstance(values, list) else iter(())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _time(parsed: Any) -> datetime | None:
    """feedparser's struct_time, which is in UTC."""
    if not isinstance(parsed, tuple):
        return None
    try:
        return datetime.fromtimestamp(calendar.timegm(parsed), UTC)
    except (ValueError, OverflowError, OSError, TypeError):
        return None


def _ttl_s(feed: Any) -> float:
    """RSS <ttl> in minutes, or the syndication module's period over frequency."""
    try:
        minutes = float(_text(feed.get("ttl")) or 0)
        period_s = _PERIOD_S.get(_text(feed.get("sy_updateperiod")).strip().lower(), 0.0)
        times = max(1.0, float(_text(feed.get("sy_updatefrequency")) or 1))
    except ValueError:
        return 0.0
    asked_s = max(60 * minutes, period_s / times)
    return asked_s if 0 < asked_s < float("inf") else 0.0
