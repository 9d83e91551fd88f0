"""What a parser found -> `Article`: cleaning, identity, date and publisher, decided once for every format."""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple

from agent.sources.base import SourceSpec
from agent.sources.pages import Page
from agent.sources.similar import simhash, words_simhash
from agent.sources.text import (
    canonical_domain,
    canonical_key,
    canonical_url,
    clean_line,
    clean_text,
    content_sha256,
    registered_domain,
    words,
    words_sha256,
)
from agent.types import Article

MAX_ITEMS = 2000  # of one body; the rest is left out with a note
MAX_TITLE = 500
MAX_TEXT = 20_000
MAX_URL = 2_000  # a longer one is none
MAX_PUBLISHER = 200
_SENTENCE_END = re.compile(r"(?:[.!?…][\"'”’)\]]*+(?=\s)|\n)")
_LAST_SENTENCE = 2_000  # how far before the limit a sentence's end is looked for
_OLDEST_AT = datetime(1990, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Item:
    """One entry as its format gave it: markup and entities still in.

    `site` is the URL, `publisher` the name of the voice that the item itself credits; `site_title` is how
    headlines credit it.
    """

    guid: str = ""
    url: str = ""
    title: str = ""
    text: str = ""
    published_at: datetime | None = None
    publisher: str = ""
    site: str = ""
    site_title: str = ""


@dataclass(frozen=True, slots=True)
class Parsed:
    """The articles of one body. `ttl_s` is how long the feed asks to be left alone, 0 if it does not say."""

    articles: tuple[Article, ...]
    ttl_s: float = 0.0
    notes: tuple[str, ...] = ()


class Context(NamedTuple):
    """What the items of one body share."""

    spec: SourceSpec
    fetched_at: datetime


def to_articles(items: Iterable[Item], context: Context) -> tuple[tuple[Article, ...], tuple[str, ...]]:
    """The distinct articles of one body, in its order, and notes on what was left out."""
    articles: list[Article] = []
    notes: list[str] = []
    blank = 0
    for item in items:
        if len(articles) == MAX_ITEMS:
            notes.append(f"only the first {MAX_ITEMS} items were read")
            break
        article = to_article(item, context)
        if article is None:
            blank += 1
        else:
            articles.append(article)
    if blank:
        notes.append(f"{blank} item{'s' * (blank > 1)} without title and text left out")
    return distinct(articles), tuple(notes)


def to_article(item: Item, context: Context) -> Article | None:
    """One item as an Article; None if nothing readable is in it."""
    title = _cut(clean_line(item.title), MAX_TITLE)
    credit = clean_line(item.site_title)
    if credit:
        title = title.removesuffix(f" - {credit}").rstrip() or title
    text = _whole_sentences(clean_text(item.text), MAX_TEXT)
    if not title and not text:
        return None
    url = canonical_url(item.url)
    url = url if len(url) <= MAX_URL else ""
    title_words, text_words = words(title), words(text)
    return Article(
        id=_identity(context.spec.name, item.guid.strip(), url, title, text),
        source=context.spec.name,
        publisher=_publisher(item, url, context.spec),
        url=url,
        title=title,
        text=text,
        published_at=_plausible(item.published_at, context.fetched_at),
        fetched_at=context.fetched_at,
        sha256=words_sha256(title_words, text_words),
        simhash=words_simhash([*title_words, *text_words]),
    )


def page_item(page: Page) -> Item:
    """A web page as an item. Its publisher is the site it lies on, as in a feed; its name only where it gives
    no address.
    """
    site = html.escape(page.site, quote=False)
    return Item(
        url=page.url,
        title=html.escape(page.title, quote=False),
        text=html.escape(page.text, quote=False),
        published_at=page.published_at,
        publisher="" if canonical_url(page.url) else site,
        site_title=site,
    )


def with_body(article: Article, text: str, fetched_at: datetime) -> Article:
    """`article` with the plain `text` of its page in place of its own, as a later wording of it."""
    text = _whole_sentences(clean_text(html.escape(text, quote=False)), MAX_TEXT)
    return replace(
        article,
        text=text,
        fetched_at=fetched_at,
        sha256=content_sha256(article.title, text),
        simhash=simhash(f"{article.title}\n{text}"),
    )


def distinct(articles: Iterable[Article]) -> tuple[Article, ...]:
    """The first of each: by id (the guid, mostly), then by canonical URL and title, then by content.

    Not by URL alone: in some feeds every item links to the home page, or to a place in one page.
    """
    seen: set[tuple[str, ...]] = set()
    kept: list[Article] = []
    for article in articles:
        keys: set[tuple[str, ...]] = {("id", article.id), ("sha256", article.sha256)}
        if article.url and article.title:
            keys.add(("page", canonical_key(article.url), article.title.casefold()))
        if not keys & seen:
            kept.append(article)
        seen |= keys
    return tuple(kept)


def _identity(source: str, guid: str, url: str, title: str, text: str) -> str:
    # Unique inside a source only: no feed may take the place of another's article by naming its guid or url.
    if guid:
        parts = ("guid", source, guid)
    elif url:
        parts = ("url", source, canonical_key(url))
    else:
        parts = ("content", title, text)
    return hashlib.sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _publisher(item: Item, url: str, spec: SourceSpec) -> str:
    """Whom the item credits, else the site it links to."""
    return (
        (spec.publisher or "").strip()
        or _cut(clean_line(item.publisher), MAX_PUBLISHER)
        or registered_domain(item.site)
        or canonical_domain(url)
        or registered_domain(spec.url)
        or spec.name
    )


def _plausible(published_at: datetime | None, fetched_at: datetime) -> datetime:
    """`published_at`, never later than we saw it. Missing, naive or older than news feeds: `fetched_at`."""
    if published_at is None or published_at.tzinfo is None or published_at < _OLDEST_AT:
        return fetched_at
    return min(published_at.astimezone(UTC), fetched_at)


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return text[:limit].rpartition(" ")[0] or text[:limit]


def _whole_sentences(text: str, limit: int) -> str:
    """`text` up to the last sentence that ends before `limit`: half of one may say the opposite."""
    if len(text) <= limit:
        return text
    tail = max(0, limit - _LAST_SENTENCE)
    ends = [end.end() for end in _SENTENCE_END.finditer(text, tail, limit)]
    return text[: ends[-1]].rstrip() if ends else _cut(text, limit)
