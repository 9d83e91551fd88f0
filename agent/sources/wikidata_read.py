"""A statement of Wikidata -> an ordinary `Article`, in a sentence that the reader of news knows for certain."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from agent.sources.items import Context, Item, to_article
from agent.types import Article
from agent.wikibase import Refused, Statement, judge

PUBLISHER = "wikidata.org"
_PAGE = "https://www.wikidata.org/wiki/"
# Anybody can write a label, and a label with a sentence in it would be read as one.
_NAME = re.compile(r"[^\W_](?:[^\W_]|[ .,'’&/-])*")
_TELLS = re.compile(
    r"(?i)\b(?:is|are|was|were|has|had|will|not|names?|named|said|says|becomes?|became|appointed|elected|resigned|"
    r"former|acting|ex|who|that)\b|[.,] [A-Z][a-z]+ [a-z]{3,}"
)
_MOST_WORDS = 7


@dataclass(frozen=True, slots=True)
class Wanted:
    """One question to an item: the property, and the sentence for its answer, with `{object}` left open.

    `subject` is the name that the item has here.
    """

    relation: str
    property_id: str
    subject: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Followed:
    """What is followed, by item (Q17)."""

    items: Mapping[str, tuple[Wanted, ...]]


@dataclass(frozen=True, slots=True)
class Found:
    """The statements of one item and property. `names` are the English names of values, `changed_at` the item's last edit."""

    item: str
    wanted: Wanted
    statements: tuple[Statement, ...]
    names: Mapping[str, str]
    changed_at: datetime | None


def to_articles(found: Iterable[Found], context: Context) -> tuple[tuple[Article, ...], tuple[str, ...]]:
    """An article for each statement that may be believed, and a note for each item and relation that has others."""
    articles: list[Article] = []
    notes: list[str] = []
    for one in found:
        kept, refused = judge(one.statements, context.fetched_at)
        for statement in kept:
            why = _unfit(one.names.get(statement.value, ""))
            if why:
                refused.append(Refused(statement, why))
            elif (article := _article(one, statement, context)) is not None:
                articles.append(article)
        if refused:
            notes.append(f"{one.wanted.subject}, {one.wanted.relation}: {_told(refused)}")
    return tuple(articles), tuple(notes)


def _article(one: Found, statement: Statement, context: Context) -> Article | None:
    """Its date is that since when the statement holds, or else that of the item's last edit.

    The same statement is the same article however often it is read. Another value, or another beginning, is another
    one.
    """
    # "Washington, D.C." would be read as two names.
    name, since_at = one.names[statement.value].partition(",")[0], statement.start_at
    sentence = one.wanted.sentence.replace("{object}", name)
    since = f", since {since_at:%Y-%m-%d}" if since_at else ""
    item = Item(
        guid=f"{statement.id} {statement.value} {since_at or ''}",
        url=f"{_PAGE}{one.item}",
        title=sentence,
        text=f"{sentence} (Wikidata statement {statement.id}{since})",
        publisher=PUBLISHER,
    )
    article = to_article(item, context)
    at = since_at or one.changed_at
    # A reign of fifty years is not undated, as a feed's item of that age would be.
    return article and replace(
        article, published_at=min(at, context.fetched_at) if at else context.fetched_at
    )


def _unfit(name: str) -> str:
    if not name:
        return "its value has no English name"
    if not _NAME.fullmatch(name) or _TELLS.search(name) or len(name.split()) > _MOST_WORDS:
        return f"its value's name is no plain name ({name[:60]!a})"
    return ""


def _told(refused: Iterable[Refused]) -> str:
    """`3 times: it has an end time (P582); Q17$...: it has no reference but wikis`."""
    of_reason = Counter(r.reason for r in refused)
    ids = {r.reason: r.statement.id for r in refused}
    return "; ".join(
        f"{ids[reason]}: {reason}" if count == 1 else f"{count} statements: {reason}"
        for reason, count in of_reason.items()
    )
