"""Articles as JSON: one object a line (JSONL), or a JSON Feed (version 1 or 1.1).

A JSONL line is {"id", "publisher", "published", "title", "summary" | "text", "link" | "url"}; all but a title
or text may be left out.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import chain
from typing import Any

from agent.errors import SourceError, TooLarge
from agent.sources.decode import decode
from agent.sources.items import Context, Item, Parsed, to_articles

_MAX_NOTES = 20
MAX_BAD = 50_000  # lines; behind them nothing is looked for
MAX_VALUES = 500_000  # objects and lists of one body; an empty one is two characters and 64 bytes


class _Bad:
    """The lines that were no article: the first few in words, all of them counted."""

    def __init__(self) -> None:
        self.number = 0
        self.notes: list[str] = []

    def add(self, note: str) -> None:
        self.number += 1
        if len(self.notes) < _MAX_NOTES:
            self.notes.append(note)

    def all(self) -> tuple[str, ...]:
        more = (f"{self.number} bad lines in all",) if self.number > _MAX_NOTES else ()
        return (*self.notes, *more)


def parse_jsonl(body: bytes, context: Context, *, content_type: str = "") -> Parsed:
    """The articles of a JSONL body. A bad line is skipped, with a note that gives its number.

    Raises:
        SourceError: the body is empty, or not one line of it is an article.
        TooLarge: a line of more than MAX_VALUES objects and lists.
    """
    bad = _Bad()
    items = _lines(decode(body, content_type), bad)
    first = next(items, None)
    if first is None:
        raise SourceError(
            f"no line is a JSON object with a title or text{': ' + bad.notes[0] if bad.notes else ''}"
        )
    articles, more = to_articles(chain((first,), items), context)
    return Parsed(articles, notes=(*bad.all(), *more))


def parse_json_feed(body: bytes, context: Context, *, content_type: str = "") -> Parsed:
    """The articles of a JSON Feed (https://www.jsonfeed.org/version/1.1/).

    Raises:
        SourceError: not JSON, or not a JSON Feed.
        TooLarge: more than MAX_VALUES objects and lists.
    """
    try:
        feed = _load(decode(body, content_type))
    except ValueError as problem:
        raise SourceError(f"this is no JSON: {problem}") from problem
    items = feed.get("items") if isinstance(feed, dict) else None
    if not isinstance(items, list) or "jsonfeed.org" not in _text(feed.get("version")):
        raise SourceError(
            'this is JSON but no JSON Feed: "version" must name jsonfeed.org and "items" be a list'
        )
    articles, notes = to_articles((_feed_item(item) for item in items if isinstance(item, dict)), context)
    return Parsed(articles, notes=notes)


def _lines(text: str, bad: _Bad) -> Iterator[Item]:
    for number, line in enumerate(io.StringIO(text, newline="\n"), 1):
        if line.isspace():
            continue
        if bad.number == MAX_BAD:
            bad.notes.append(f"nothing behind line {number} was read")
            return
        try:
            record = _load(line)
        except ValueError as problem:
            bad.add(f"line {number}: no JSON ({problem})")
            continue
        if not isinstance(record, dict) or not any(
            _text(record.get(key)) for key in ("title", "text", "summary")
        ):
            bad.add(f'line {number}: no object with a "title", "text" or "summary"')
            continue
        yield Item(
            guid=_text(record.get("id")),
            url=_text(record.get("url")) or _text(record.get("link")),
            title=_text(record.get("title")),
            text=_text(record.get("text")) or _text(record.get("summary")),
            published_at=read_time(_text(record.get("published"))),
            publisher=_text(record.get("publisher")),
        )


def _feed_item(item: dict[str, Any]) -> Item:
    texts = (_text(item.get(key)) for key in ("content_text", "content_html", "summary"))
    return Item(
        guid=_text(item.get("id")),
        url=_text(item.get("url")),
        title=_text(item.get("title")),
        text=next(filter(None, texts), ""),
        published_at=read_time(_text(item.get("date_published")) or _text(item.get("date_modified"))),
    )


def read_time(text: str) -> datetime | None:
    """ISO 8601 or RFC 822 -> UTC; without a zone it is taken as UTC. None for anything else."""
    text = text.strip()[:64]
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            at = read(text)
            return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        except (ValueError, OverflowError, TypeError, IndexError):
            continue
    return None


def _load(text: str) -> Any:
    """json.loads with every failure a ValueError: nesting raises RecursionError."""
    if text.count("{") + text.count("[") > MAX_VALUES:
        raise TooLarge(
            f"the JSON has more than {MAX_VALUES} objects and lists; split it or ask for fewer items"
        )
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _text(value: Any) -> str:
    if isinstance(value, bool | float) or value is None:
        return ""
    if isinstance(value, int):
        return str(value) if abs(value) < 1 << 63 else ""
    return value if isinstance(value, str) else ""
