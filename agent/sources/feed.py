"""RSS and Atom -> Articles, by feedparser under guard; the plain ones without it (`plain.py`).

feedparser opens any path or URL that it is handed as bytes or str, so there is one call, on a BytesIO. Its
own patterns are quadratic in places (measured on 6.0.14): 20 kB of blank lines before the root take 2 s, and
one 100 kB word in <author> 65 s, 20,000 categories 12 s; nesting, attributes and very many tags are slow too.
`_tame` removes the first three, `_measure` refuses the others.
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

from agent.errors import SourceError, TooLarge
from agent.sources.decode import decode
from agent.sources.items import Context, Item, Parsed, to_articles
from agent.sources.plain import read_plain
from agent.sources.text import clean_line

MAX_DEPTH = 1000
MAX_TAGS = 200_000  # 5 s of parsing
MAX_ENTITIES = 1_000_000
MAX_ATTRIBUTES = 500  # of one tag; quadratic
MAX_PROLOGUE = 16_384
_ROOT = re.compile(r"<[A-Za-z_][^\s<>/]{0,200}")
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|[\ud800-\udfff]")
# Elements that we do not read and feedparser is quadratic in: it looks for e-mail addresses in people's names
# and compares each category with all before. Their text goes, with CDATA, comments and instructions in it,
# and so do the attributes of categories.
_UNREAD = re.compile(
    r"(<(?:[\w.-]+:)?(?:author|creator|publisher|owner|contributor|managingeditor|webmaster|category|subject"
    r"|keywords)\b[^<>]*+>)"
    r"(?:[^<]++|<!\[CDATA\[(?:[^\]]++|\](?!\]>))*+|<!--(?:[^-]++|-(?!->))*+|<\?[^<>]*+)*+",
    re.IGNORECASE,
)
_CATEGORY = re.compile(
    r"""<((?:[\w.-]+:)?(?:category|subject|keywords)\b)(?:[^<>"'/]++|"[^"<]*+"|'[^'<]*+'|/(?!>))*+(/?>)""",
    re.IGNORECASE,
)
_BLANKS = re.compile(r"\s{2,}")
_HTML_ROOT = re.compile(r"<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_LINK = re.compile(r"<link\b[^<>]{0,2000}>", re.IGNORECASE)
_HREF = re.compile(r"""href\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)
_FEED_TYPE = re.compile(r"application/(?:rss|atom)\+xml|application/feed\+json", re.IGNORECASE)
_CLOSED = re.compile(r"</(?:[\w-]+:)?(?:rss|feed|rdf|channel)\s*>\s*(?:<!--[^>]*>\s*)*$", re.IGNORECASE)
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
    root = _ROOT.search(text)
    _refuse_html(text)
    if not text.startswith("<") or root is None:
        raise SourceError(f"this is no XML: it begins with {text[:40]!a}")
    plain = read_plain(text, base_url)
    if plain is not None:
        articles, more = to_articles(plain.items, context)
        return Parsed(articles, _ttl_s(plain.pace), more)
    _measure(text)
    text = _tame(text, root.start())
    result = _call_feedparser(text, base_url)
    entries = list(result.entries)
    notes: list[str] = []
    if result.bozo:
        reason = clean_line(str(result.get("bozo_exception", "")))[:160]
        if not entries:
            raise SourceError(f"the XML is broken ({reason}) and no entry could be read")
        notes.append(f"the XML is broken ({reason}); what could be read was")
        if _breaks_off(text):
            entries.pop()
            notes.append("the last entry is cut off and was left out")
    if not entries and not result.version:
        raise SourceError(f"this is XML but neither RSS nor Atom: its root is {root[0][:60]!a}")
    articles, more = to_articles(map(_item, entries), context)
    return Parsed(articles, _ttl_s(result.feed), (*notes, *more))


def _call_feedparser(text: str, base_url: str) -> Any:
    document = f'<?xml version="1.0" encoding="utf-8"?>{text}'.encode("utf-8", "replace")
    headers = {"content-type": "application/xml; charset=utf-8", "content-location": base_url}
    try:
        return feedparser.parse(
            io.BytesIO(document), response_headers=headers, sanitize_html=False, resolve_relative_uris=False
        )
    except Exception as problem:  # it lets through whatever its parts raise, KeyError and AttributeError too
        raise SourceError(
            f"the feed parser gave up: {type(problem).__name__}: {str(problem)[:160]!a}"
        ) from problem


def _refuse_html(text: str) -> None:
    head = text[:4096]
    page = _HTML_ROOT.search(head)
    feed = re.search(r"<(?:[\w-]+:)?(?:rss|feed|rdf)\b", head, re.IGNORECASE)
    if page is None or (feed is not None and feed.start() < page.start()):
        return
    found = named_feed(text)
    hint = f"; the page names a feed at {found[:300]!a}" if found else " and it names no feed"
    raise SourceError(f"this is an HTML page, not a feed{hint}")


def named_feed(page: str) -> str:
    """The link of the first feed that an HTML page names in its head, as it is written there; "" if none."""
    links = [link[0] for link in _LINK.finditer(page[:200_000]) if _FEED_TYPE.search(link[0])]
    return next((html.unescape(href[1]) for link in links if (href := _HREF.search(link))), "")


def _measure(text: str) -> None:
    """Refuse what would take the parser long. One linear pass over the tags, comments and CDATA aside."""
    if text.count("&") > MAX_ENTITIES:
        raise TooLarge(
            f"the XML has more than {MAX_ENTITIES} entities; split the feed or ask for fewer items"
        )
    depth = tags = at = 0
    while (at := text.find("<", at)) >= 0:
        if text.startswith("<!--", at):
            at = text.find("-->", at)
        elif text.startswith("<![CDATA[", at):
            at = text.find("]]>", at)
        else:
            end = text.find(">", at)
            if text.startswith("</", at):
                depth -= 1
            elif text[at + 1 : at + 2] not in ("!", "?") and text[end - 1] != "/":
                depth += 1
            if text.count("=", at, max(at, end)) > MAX_ATTRIBUTES:
                raise TooLarge(f"a tag has more than {MAX_ATTRIBUTES} attributes; no feed needs them")
            tags += max(1, text.count("<", at, end if end > 0 else len(text)))
            at = end
        if depth > MAX_DEPTH:
            raise TooLarge(f"the XML is nested more than {MAX_DEPTH} deep; no feed is")
        if tags > MAX_TAGS:
            raise TooLarge(f"the XML has more than {MAX_TAGS} tags; split the feed or ask for fewer items")
        if at < 0:
            return
        at += 1


def _tame(text: str, root_at: int) -> str:
    """`text` less its declaration (decoded already), forbidden characters, blank runs, names, categories."""
    prologue = _BLANKS.sub("\n", _DECLARATION.sub("", text[:root_at]))
    if len(prologue) > MAX_PROLOGUE:
        raise TooLarge(f"more than {MAX_PROLOGUE} characters stand before the root element")
    return prologue.lstrip() + _UNREAD.sub(r"\1", _CATEGORY.sub(r"<\1\2", _NOT_XML.sub("", text[root_at:])))


def _breaks_off(text: str) -> bool:
    if _CLOSED.search(text[-2000:]):
        return False
    lower = text.lower()
    opened = max(lower.rfind("<item"), lower.rfind("<entry"))
    return max(lower.rfind("</item"), lower.rfind("</entry")) < opened


def _item(entry: Any) -> Item:
    # dict.get, for FeedParserDict.get falls back between keys, with a DeprecationWarning.
    def get(key: str) -> Any:
        return dict.get(entry, key)

    source = get("source") or {}
    texts = [_text(get("summary")), *(_text(part.get("value")) for part in get("content") or ())]
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
    for link in links or ():
        if link.get("rel", "alternate") == "alternate":
            yield _text(link.get("href"))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _time(parsed: Any) -> datetime | None:
    """feedparser's struct_time, which is in UTC."""
    if parsed is None:
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
