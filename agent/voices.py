"""Who says what, since when, and how many independent voices that makes.

A *voice* is a publisher with a story of its own: copies of one wire story are one voice however many print them, and so are
ten stories of one publisher. The greatest number of publishers that can each be given a different story is the number of
voices, a maximum matching of publishers and stories. Everything here is a pure function of its arguments and does not depend
on their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter

from agent.types import Claim

SUPPORT = ("state", "change")


@dataclass(frozen=True, slots=True)
class Evidence:
    """A claim, who makes it and in which story. `at` is the world's time of it, `known_at` when it was published.

    `object` is the claim's, folded, so that spellings of one name are one. `dated` is false where the article bore no date and
    that of its arrival stands in.
    """

    claim: Claim
    object: str
    publisher: str
    story: str
    at: datetime
    known_at: datetime
    dated: bool = True

    @property
    def supports(self) -> bool:
        return self.claim.kind in SUPPORT


def voices(evidence: Iterable[Evidence]) -> tuple[str, ...]:
    """The publishers of a largest set of independent voices, sorted."""
    stories: dict[str, set[str]] = {}
    for item in evidence:
        stories.setdefault(item.publisher, set()).add(item.story)
    teller: dict[str, str] = {}
    return tuple(publisher for publisher in sorted(stories) if _match(publisher, stories, teller, set()))


def _match(publisher: str, stories: Mapping[str, set[str]], teller: dict[str, str], tried: set[str]) -> bool:
    """Kuhn's augmenting path; who has been given a story once keeps one, so the result is a prefix-greedy maximum."""
    for story in sorted(stories[publisher] - tried):
        tried.add(story)
        if story not in teller or _match(teller[story], stories, teller, tried):
            teller[story] = publisher
            return True
    return False


def corroborated_at(evidence: Sequence[Evidence], needed: int) -> datetime | None:
    """The newest time from which on `needed` voices speak; None if there are fewer. One stray late mention cannot move it."""
    times = sorted({item.at for item in evidence}, reverse=True)
    return next((at for at in times if len(voices(e for e in evidence if e.at >= at)) >= needed), None)


def first_corroborated_at(evidence: Sequence[Evidence], needed: int, by: str = "at") -> datetime | None:
    """The earliest time by which `needed` voices have spoken, by `at` or by `known_at`."""
    when = attrgetter(by)
    times = sorted({when(item) for item in evidence})
    return next((at for at in times if len(voices(e for e in evidence if when(e) <= at)) >= needed), None)


def standing(evidence: Iterable[Evidence]) -> list[Evidence]:
    """What each publisher still stands by: its support for the object that it named last.

    A publisher that later says its object has ended, or that names two at once, stands by nothing. Undated articles count
    only for a publisher that has no dated one.
    """
    by_publisher: dict[str, list[Evidence]] = {}
    for item in evidence:
        by_publisher.setdefault(item.publisher, []).append(item)
    return [kept for items in by_publisher.values() for kept in _last_word(items)]


def _last_word(items: Sequence[Evidence]) -> list[Evidence]:
    dated = [item for item in items if item.dated and item.supports]
    support = dated or [item for item in items if item.supports]
    support = [item for item in support if not _overruled(item, support)]
    if not support:
        return []
    last = max(item.at for item in support)
    named = {item.object for item in support if item.at == last}
    ended = {item.object for item in items if item.claim.kind == "end" and item.at >= last}
    if len(named) != 1 or named & ended:
        return []
    others = [item.at for item in support if item.object not in named]
    since = max(others, default=None)
    return [e for e in support if e.object in named and (since is None or e.at > since)]


def _overruled(item: Evidence, support: Iterable[Evidence]) -> bool:
    """Within one article "B has taken over" outweighs "A, chief executive": the headline lags behind the news."""
    return item.claim.kind == "state" and any(
        other.claim.kind == "change"
        and other.claim.article_id == item.claim.article_id
        and other.object != item.object
        and other.at == item.at
        for other in support
    )
