"""The plain case of RSS 2.0 and Atom, by the C parser of the standard library: eight times as fast as feedparser.

Many feeds are well-formed and use a few dozen elements in the way that everybody does. Only those are read here, and
only as feedparser would read them; a test compares the two. Whatever is not on the lists below (another element,
attribute or date, markup that is not escaped, a DOCTYPE, xml:base, anything broken) makes `read_plain` return None, and
feedparser is asked. So a new case belongs here only if it is common, and never to repair something.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple
from xml.etree import ElementTree

from agent.sources.items import Item
from agent.sources.plain_names import ATOM, INSIDE, MEANT, NAMESPACES, PACE, ROLES, STATEFUL, SY, TAKEN, XML

Element = ElementTree.Element
MAX_PLAIN = 2_000_000  # characters; the tree takes some ten times as much memory

_LANG = f"{XML}lang"
_XMLNS = re.compile(r"""\bxmlns(?::([\w.-]+))?\s*=\s*(?:"([^"<]*)"|'([^'<]*)')""")
_TEXT_TYPES = frozenset(("", "text", "html", "plain", "text/plain", "text/html"))
_TEXT_ATTRIBUTES = frozenset(("type", _LANG, f"{XML}base", f"{XML}space"))
_LINK_ATTRIBUTES = frozenset(("href", "rel", "type", "hreflang", "title", "length", _LANG))
_PAGE_TYPES = frozenset(("text/html", "html", "application/xhtml+xml", "xhtml"))
_DTD = re.compile(r"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_DECLARATION = re.compile(r"^<\?xml[^>]{0,200}\?>")
# Windows-1252 that was taken for Latin-1; five of its places are empty.
_CP1252 = {c: bytes([c]).decode("cp1252") for c in range(128, 160) if c not in (129, 141, 143, 144, 157)}
_SLASHES = re.compile(r"^([A-Za-z][A-Za-z0-9+-.]*://)(/*)")
_AMPERSAND = re.compile(r"&([A-Za-z0-9_]+);")
_RFC822 = re.compile(
    r"(?:[A-Z][a-z]{2}, )?(\d{1,2}) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) (GMT|UTC|[A-Z][SD]T|[+-]\d{4})"
)
_W3DTF = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ZONE_H = {
    "GMT": 0,
    "UTC": 0,
    "Z": 0,
    "EST": -5,
    "EDT": -4,
    "CST": -6,
    "CDT": -5,
    "MST": -7,
    "MDT": -6,
    "PST": -8,
    "PDT": -7,
}


class PlainFeed(NamedTuple):
    """The items, and `ttl`, `sy_updateperiod` and `sy_updatefrequency` as they stand there."""

    items: tuple[Item, ...]
    pace: Mapping[str, str]


class _NotPlain(Exception):
    """Something that only feedparser knows how to read."""


def read_plain(text: str, base_url: str = "") -> PlainFeed | None:
    """The entries of a plain RSS 2.0 or Atom document, None if it is not one. `text` has no byte order mark."""
    if len(text) > MAX_PLAIN or _DTD.search(text):
        return None
    try:
        _check_namespaces(text)
        root = ElementTree.fromstring(_DECLARATION.sub("", text, count=1))
        base = _joined(base_url, base_url)
        top = _top(root)
        entry_tag = "item" if root.tag == "rss" else f"{ATOM}entry"
        items = tuple([_item(element, base) for element in top if element.tag == entry_tag])
        pace = _pace(element for element in top if element.tag != entry_tag)
    except (ElementTree.ParseError, _NotPlain, ValueError, OverflowError):
        return None
    return PlainFeed(items, pace)


def _top(root: Element) -> Element:
    """The element that holds the entries."""
    if any(name.rpartition("}")[2].lower() == "base" for name in root.attrib):
        raise _NotPlain
    if root.tag == f"{ATOM}feed":
        return root
    channels = list(root)
    if root.tag != "rss" or len(channels) != 1 or channels[0].tag != "channel" or channels[0].attrib:
        raise _NotPlain
    return channels[0]


def _pace(elements: Iterable[Element]) -> dict[str, str]:
    found: dict[str, str] = {}
    for element in elements:
        _check_inside(element)
        role = PACE.get(element.tag)
        if role is not None:
            if element.attrib:
                raise _NotPlain
            found[role] = _repaired((element.text or "").strip())
        elif _local(element) in STATEFUL:
            raise _NotPlain
    return found


def _check_namespaces(text: str) -> None:
    """No prefix may stand for something else than usual, for feedparser goes by the prefix where it does not know the URI."""
    for prefix, double, single in _XMLNS.findall(text):
        uri = double or single
        usual = NAMESPACES.get(uri.lower(), "sy" if uri == SY[1:-1] else None)
        if usual is None and prefix.lower() in TAKEN:
            raise _NotPlain
        if uri != uri.strip() or "&" in uri or "userland.com/rss" in uri.lower():
            raise _NotPlain


def _name(element: Element) -> str:
    """An element of a namespace that feedparser handles, or of none, as it names it; "" for any other."""
    uri, _, local = element.tag[1:].rpartition("}") if element.tag.startswith("{") else ("", "", element.tag)
    prefix = NAMESPACES.get(uri.lower()) if uri else ""
    return "" if prefix is None else f"{prefix}_{local}".lower().lstrip("_")


def _local(element: Element) -> str:
    return element.tag.rpartition("}")[2].lower()


def _check_inside(element: Element) -> None:
    for child in element:
        if child.tag not in INSIDE.get(element.tag, ()) or len(child):
            raise _NotPlain


@dataclass(slots=True)
class _Entry:
    """What feedparser's entry would hold, filled in the order of the document."""

    guid: str = ""
    title: str = ""
    titled: bool = False
    link: str | None = None
    hrefs: list[str] = field(default_factory=list)
    origlink: str = ""
    summary: str | None = None
    contents: list[str] = field(default_factory=list)
    times: dict[str, datetime | None] = field(default_factory=dict)
    site: str = ""
    site_title: str = ""


def _item(element: Element, base: str) -> Item:
    if not element.attrib.keys() <= {_LANG}:
        raise _NotPlain
    entry = _Entry()
    for child in element:
        role = ROLES.get(child.tag)
        if role is None:
            if len(child) or _name(child) in MEANT:
                raise _NotPlain
        elif not role:
            if len(child):
                _check_inside(child)
        elif len(child):
            raise _NotPlain
        else:
            _take(entry, role, child, base)
    return Item(
        guid=entry.guid,
        url=entry.origlink or entry.link or next(iter(entry.hrefs), ""),
        title=entry.title,
        text=max([entry.summary or "", *entry.contents], key=len),
        published_at=entry.times.get("published") or entry.times.get("updated"),
        site=entry.site,
        site_title=entry.site_title,
    )


def _take(entry: _Entry, role: str, element: Element, base: str) -> None:
    text = (element.text or "").strip()
    if role == "link":
        _take_link(entry, element, text, base)
    elif role in ("published", "updated"):
        entry.times[role] = _time(text)
    elif role == "guid":
        permanent = _is_permalink(element)
        entry.guid = _repaired(_joined(base, text) if permanent and text else text)
        if permanent and entry.link is None:
            entry.link = entry.guid
    elif role == "source":
        if not element.attrib.keys() <= {"url"}:
            raise _NotPlain
        entry.site, entry.site_title, entry.titled = element.get("url", ""), _repaired(text), False
    elif role == "origlink":
        if element.attrib:
            raise _NotPlain
        entry.origlink = _repaired(text)
    elif element.attrib.keys() <= _TEXT_ATTRIBUTES and element.get("type", "").lower() in _TEXT_TYPES:
        _take_text(entry, role, _repaired(text))
    else:
        raise _NotPlain


def _take_text(entry: _Entry, role: str, text: str) -> None:
    if role in ("title", "media_title"):
        if not entry.titled:
            entry.title = text
            entry.titled = bool(text) and role == "title"
    elif role == "summary" and (entry.summary is None or entry.contents):
        entry.summary = text
    else:
        entry.contents.append(text)
        entry.summary = text if entry.summary is None else entry.summary


def _take_link(entry: _Entry, element: Element, text: str, base: str) -> None:
    if not element.attrib.keys() <= _LINK_ATTRIBUTES:
        raise _NotPlain
    alternate = element.get("rel", "alternate").lower() == "alternate"
    href = element.get("href")
    if href:
        href = _joined(base, href)
        if alternate and element.get("type", "text/html").lower() in _PAGE_TYPES:
            entry.link = href
    elif href is None:
        href = _repaired(_joined(base, text) if text else "").replace("&amp;", "&")
        entry.link = href = _AMPERSAND.sub(r"&\g<1>", href)
    else:
        raise _NotPlain
    if alternate:
        entry.hrefs.append(href)


def _is_permalink(element: Element) -> bool:
    if not element.attrib:
        return True
    if element.attrib.keys() <= {"isPermaLink"}:
        return element.get("isPermaLink") == "true"
    raise _NotPlain


def _joined(base: str, url: str) -> str:
    """As feedparser resolves a URL, with its repair of too many slashes."""
    return urllib.parse.urljoin(base, _SLASHES.sub(r"\1", url))


def _repaired(text: str) -> str:
    """As feedparser undoes UTF-8 and Windows-1252 that were read as Latin-1."""
    if text.isascii():
        return text
    with suppress(UnicodeError):
        text = text.encode("iso-8859-1").decode("utf-8")
    return text.translate(_CP1252)


def _time(text: str) -> datetime | None:
    """The two forms that nearly every feed uses; None if there is no date at all."""
    if not text:
        return None
    found = _RFC822.fullmatch(text)
    if found:
        day, name, year, hour, minute, second, zone = found.groups()
        month = _MONTHS.index(name) + 1
    else:
        found = _W3DTF.fullmatch(text)
        if found is None:
            raise _NotPlain
        year, number, day, hour, minute, second, zone = found.groups()
        month = int(number)
    at = datetime(int(year), month, int(day), int(hour), int(minute), int(second), tzinfo=_zone(zone))
    return at.astimezone(UTC)


def _zone(name: str) -> timezone:
    if name in ("GMT", "+0000"):
        return UTC
    if name[0] not in "+-":
        if name not in _ZONE_H:
            raise _NotPlain
        return timezone(timedelta(hours=_ZONE_H[name]))
    sign = -1 if name[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(name[1:3]), minutes=int(name[-2:])))
