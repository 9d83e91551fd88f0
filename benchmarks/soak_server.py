"""What the publishers of a soak answer: drawn from a seed, and mostly well. `benchmarks.soak_http` serves it, an address each.

    http://127.0.0.N:PORT/feed/NAME/PLACE.xml    a feed; a smaller PLACE than today's answers 301 or 308
    http://127.0.0.N:PORT/page/GUID              the page behind an item, as the item reads today

Hours are simulated ones, told by the soak. Nothing is kept but counts.
"""

from __future__ import annotations

import gzip
import hashlib
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from html import escape
from urllib.parse import quote, unquote

from benchmarks.soak_news import OFF_H, News, Story

START = datetime(2026, 1, 5, tzinfo=UTC)
WINDOW = 15
GONE = "410 gone"
# What may be thrown instead of a feed, and how often against one another.
FAULTS: Mapping[str, int] = {
    "500": 3,
    "502": 2,
    "503 with Retry-After": 3,
    "timeout": 2,
    "connection reset": 3,
    "XML cut off": 3,
    "gzip broken off": 2,
    "wrong charset": 3,
    "302 or 307, for a time": 3,
    "301 or 308, for good": 2,
    "empty body": 2,
    "HTML page in place of the feed": 2,
}
PAGE_FAULT = "500 for the page of an item"
_HTML = b"<!doctype html><html><head><title>Welcome</title></head><body><p>We are rebuilding our site.</p></body></html>"


@dataclass(slots=True)
class Publishers:
    """What the server knows. `hour` tells the simulated one; `share` of the answers are faults. `thrown` counts what was sent, `printed` items by
    sort and oddity, each once; `places` where feeds have moved to.
    """

    news: News
    hour: Callable[[], float]
    seed: int = 0
    share: float = 0.25
    thrown: Counter[str] = field(default_factory=Counter)
    printed: dict[str, str] = field(default_factory=dict)
    places: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    late: Counter[str] = field(default_factory=Counter)
    hours: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.hours = {feed: [story.at_h for story in own] for feed, own in self.news.stories.items()}

    def shown(self, feed: str) -> Sequence[Story]:
        """The newest items of a feed, oldest first."""
        upto = bisect_right(self.hours[feed], self.hour())
        return self.news.stories[feed][max(0, upto - WINDOW) : upto]

    def fault(self, feed: str) -> str:
        """What this request gets instead of the feed, "" for nothing else."""
        self.asked[feed] += 1
        if self.hour() >= self.news.gone_h.get(feed, float("inf")):
            return GONE
        rng = random.Random(f"{self.seed}:{feed}:{self.asked[feed]}")
        return rng.choices(list(FAULTS), list(FAULTS.values()))[0] if rng.random() < self.share else ""


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes to send; `hold`: nothing more comes, and the connection stays; `reset`: it is torn down."""

    data: bytes
    hold: bool = False
    reset: bool = False


def message(status: str, body: bytes = b"", *lines: str) -> bytes:
    """An HTTP answer that ends its connection."""
    head = [f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(head).encode() + body


def answer(site: Publishers, host: str, head: str) -> Answer:
    """What a request's head gets."""
    path = head.split(" ", 2)[1]
    kind, _, rest = path.removeprefix("/").partition("/")
    if kind == "page":
        return Answer(_page(site, unquote(rest)))
    if kind in ("feed", "elsewhere"):
        name, _, place = rest.removesuffix(".xml").partition("/")
        if name in site.hours and place.isdigit():
            return _feed(site, host, name, int(place), head.lower(), moved=kind == "elsewhere")
    return Answer(message("404 Not Found"))


def _feed(site: Publishers, host: str, name: str, place: int, head: str, *, moved: bool) -> Answer:
    if place < site.places[name]:
        site.thrown["asked at an old place"] += 1
        return Answer(
            message(
                "301 Moved Permanently", b"", f"Location: http://{host}/feed/{name}/{site.places[name]}.xml"
            )
        )
    fault = "" if moved else site.fault(name)
    if fault:
        site.thrown[fault] += 1
        if fault == GONE:
            site.late[name] += 1
        return _FAULTS[fault](site, host, name)
    body = rendered(site, host, name)
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    plain = name.endswith("-1")  # every third feed of a paper gives no validators
    if not plain and etag in head and "if-none-match" in head:
        site.thrown["304"] += 1
        return Answer(message("304 Not Modified", b"", f"ETag: {etag}"))
    site.thrown["200"] += 1
    newest = max((story.at_h for story in site.shown(name)), default=0.0)
    lines = [] if plain else [f"ETag: {etag}", f"Last-Modified: {format_datetime(_at(newest), usegmt=True)}"]
    if "gzip" in head:
        return Answer(
            message("200 OK", gzip.compress(body, 1, mtime=0), _XML, "Content-Encoding: gzip", *lines)
        )
    return Answer(message("200 OK", body, _XML, *lines))


_XML = "Content-Type: application/rss+xml; charset=utf-8"


def _cut(site: Publishers, host: str, name: str) -> Answer:
    body = rendered(site, host, name)
    return Answer(message("200 OK", body[: max(200, len(body) * 2 // 3)], _XML))


def _half_packed(site: Publishers, host: str, name: str) -> Answer:
    body = gzip.compress(rendered(site, host, name), 1, mtime=0)
    return Answer(message("200 OK", body[: len(body) // 2], _XML, "Content-Encoding: gzip"))


def _charset(site: Publishers, host: str, name: str) -> Answer:
    """Latin-1 bytes under the name of UTF-8."""
    body = rendered(site, host, name).decode().encode("latin-1", "xmlcharrefreplace")
    return Answer(message("200 OK", body, _XML))


def _for_a_time(site: Publishers, host: str, name: str) -> Answer:
    status = ("302 Found", "307 Temporary Redirect")[site.asked[name] % 2]
    return Answer(message(status, b"", f"Location: http://{host}/elsewhere/{name}/{site.places[name]}.xml"))


def _for_good(site: Publishers, host: str, name: str) -> Answer:
    site.places[name] += 1
    status = ("301 Moved Permanently", "308 Permanent Redirect")[site.places[name] % 2]
    return Answer(message(status, b"", f"Location: http://{host}/feed/{name}/{site.places[name]}.xml"))


def _plain(*args: str, body: bytes = b"") -> Callable[[Publishers, str, str], Answer]:
    data = message(args[0], body, *args[1:])
    return lambda _site, _host, _name: Answer(data)


_FAULTS: Mapping[str, Callable[[Publishers, str, str], Answer]] = {
    "500": _plain("500 Internal Server Error"),
    "502": _plain("502 Bad Gateway"),
    "503 with Retry-After": _plain("503 Service Unavailable", "Retry-After: 14400"),
    "timeout": lambda *_: Answer(b"HTTP/1.1 200 OK\r\n", hold=True),
    "connection reset": lambda *_: Answer(b"", reset=True),
    "XML cut off": _cut,
    "gzip broken off": _half_packed,
    "wrong charset": _charset,
    "302 or 307, for a time": _for_a_time,
    "301 or 308, for good": _for_good,
    "empty body": _plain("200 OK", _XML),
    "HTML page in place of the feed": _plain("200 OK", "Content-Type: text/html", body=_HTML),
    GONE: _plain("410 Gone"),
}


def rendered(site: Publishers, host: str, feed: str) -> bytes:
    """A feed as it is at this hour, in RSS, newest first."""
    paper, hour = site.news.feeds[feed], site.hour()
    items = []
    for story in reversed(site.shown(feed)):
        site.printed[story.guid] = story.sort
        item = _item(story, paper, host, hour)
        items += [item, item] if story.doubled else [item]
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<rss version="2.0"><channel><title>{feed}</title>'
        f"<link>http://{host}/</link><description>News</description>{''.join(items)}</channel></rss>\n"
    ).encode()


def _item(story: Story, paper: str, host: str, hour: float) -> str:
    at = dated(story, paper)
    date = f"<pubDate>{format_datetime(at)}</pubDate>" if at else ""
    return (
        f"<item><guid isPermaLink='false'>{story.guid}</guid><title>{escape(story.title)}</title>"
        f"<link>http://{host}/page/{quote(story.guid)}</link>{date}<description>{escape(story.text(hour))}</description></item>\n"
    )


def dated(story: Story, paper: str) -> datetime | None:
    """The date that the item bears; a paper's clock may be off."""
    match story.dated:
        case "missing":
            return None
        case "1970":
            return datetime(1970, 1, 1, tzinfo=UTC)
        case "2099":
            return datetime(2099, 12, 31, tzinfo=UTC)
        case "years ago":
            return _at(story.at_h) - timedelta(days=900)
        case _:
            return _at(story.at_h + OFF_H.get(paper, 0.0))


def _at(hour: float) -> datetime:
    return START + timedelta(hours=hour)


def _page(site: Publishers, guid: str) -> bytes:
    story = next((s for s in site.news.stories.get(guid.partition(":")[0], ()) if s.guid == guid), None)
    if story is None:
        return message("404 Not Found")
    site.asked["page"] += 1
    if random.Random(f"{site.seed}:page:{site.asked['page']}").random() < site.share / 2:
        site.thrown[PAGE_FAULT] += 1
        return message("500 Internal Server Error")
    site.thrown["200 for the page of an item"] += 1
    text = f"<p>{escape(story.text(site.hour()))}</p>"
    body = f"<!doctype html><html><head><title>{escape(story.title)}</title></head><body>{text}</body></html>"
    return message("200 OK", body.encode(), "Content-Type: text/html; charset=utf-8")


__all__ = ["FAULTS", "GONE", "PAGE_FAULT", "START", "Publishers", "answer", "dated", "rendered"]
