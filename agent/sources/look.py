"""What a person should know about sources before relying on them: each polled once, from scratch, for
looking only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from agent.sources.base import Fetched, Source, SourceSpec
from agent.sources.fetch import KINDS
from agent.sources.http import Client
from agent.sources.pages import NEEDED, missing
from agent.sources.poll import poll
from agent.sources.text import words

USEFUL_WORDS = 12  # a sentence: with fewer there is nothing to read but the headline
STALE_DAYS = 60
_MAX_NOTES = 3
# What to do, by what the message of a failure says. A message that is not here says it itself.
_ADVICE = (
    ("names a feed at", "`factd feeds add` with this url takes the feed that the page names"),
    ("is an HTML page", "look on the site for its feed, often marked RSS"),
    ("(HTTP 401)", "factd cannot log in; take another source"),
    ("(HTTP 402)", "factd cannot pay; take another source"),
    ("(HTTP 403)", "the site turns feed readers away; try again later, or take another source"),
    ("(HTTP 404)", "look on the site for the feed's new address"),
    ("(HTTP 429)", "wait; factd itself asks seldom enough"),
    ("(HTTP 5", "the fault is the site's; try again later"),
    ("does not resolve", "check its url in the settings: there is no such host, or no network"),
    ("cannot fetch", "check its url in the settings, and the network"),
    ("neither RSS nor Atom", "check its url in the settings"),
    ("this is no XML", "check its url in the settings"),
    ("the XML is broken", "the fault is the site's; tell them, or take another source"),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is not well, and what to do about it ("" where `what` says so itself)."""

    what: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One source as it is now. `kind` is the class of source that reads it; `with_text` counts the items
    that have a sentence or more besides their title; `publishers` are the voices, the most frequent first.
    """

    name: str
    url: str
    kind: str
    status: Literal["ok", "warn", "fail"]
    message: str
    items: int = 0
    newest_at: datetime | None = None
    with_text: int = 0
    publishers: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def look(
    specs: Sequence[SourceSpec], client: Client, now: datetime, kinds: tuple[Source, ...] = KINDS
) -> Iterator[Finding]:
    """Fetch every one of `specs` now, whatever is remembered of it, and yield what was found, in any order."""
    for spec, fetched in poll(specs, {}, client, now, kinds=kinds):
        yield finding(spec, fetched, kinds)


def finding(spec: SourceSpec, fetched: Fetched, kinds: tuple[Source, ...] = KINDS) -> Finding:
    """What the outcome of one poll says of its source."""
    kind = next((type(k).__name__.removesuffix("Source").lower() for k in kinds if k.accepts(spec)), "none")
    if fetched.status != "ok":
        advice = next((advice for sign, advice in _ADVICE if sign in fetched.message), "")
        return Finding(
            spec.name, spec.url, kind, "fail", fetched.message, problems=(Problem(fetched.message, advice),)
        )
    articles = fetched.articles
    # One that carries no date counts as published when it was fetched.
    dated = [a.published_at for a in articles if a.published_at != a.fetched_at]
    with_text = sum(len(words(a.text)) >= USEFUL_WORDS for a in articles)
    problems = tuple(_problems(spec, fetched, len(dated), max(dated, default=None), with_text))
    return Finding(
        spec.name,
        spec.url,
        kind,
        "warn" if problems else "ok",
        fetched.message,
        len(articles),
        max(dated, default=None),
        with_text,
        tuple(name for name, _ in Counter(a.publisher for a in articles).most_common()),
        problems,
    )


def _problems(
    spec: SourceSpec, fetched: Fetched, dated: int, newest_at: datetime | None, with_text: int
) -> Iterator[Problem]:
    articles, polled_at = fetched.articles, fetched.state.polled_at
    if not articles:
        yield Problem("it has no items", "look again in a day; a feed that stays empty can go")
        return
    if fetched.state.url != spec.url:
        yield Problem(f"it has moved to {fetched.state.url}", "write that url into the settings")
    if not dated:
        yield Problem("no item has a date", "each counts as published when it is first seen")
    stale = newest_at and polled_at and polled_at - newest_at > timedelta(days=STALE_DAYS)
    if stale and spec.url.lower().startswith("http"):  # files may be an archive
        yield Problem(f"the newest item is of {newest_at:%Y-%m-%d}", "nobody may be writing it any more")
    if spec.body and (why := missing(*NEEDED)):
        yield Problem(why)
    if 2 * with_text < len(articles) and not spec.body:
        yield Problem(
            f"{len(articles) - with_text} of {len(articles)} items are headlines without text",
            "`body: true` on this source reads the pages behind them (docs/sources.md)",
        )
    for note in fetched.notes[:_MAX_NOTES]:
        yield Problem(note)
    if len(fetched.notes) > _MAX_NOTES:
        yield Problem(f"{len(fetched.notes) - _MAX_NOTES} more remarks of this sort")
