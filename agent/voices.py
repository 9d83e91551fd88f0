"""Who says what, since when, and how many independent voices that makes.

A *voice* is a publisher with a story of its own: copies of one wire story are one voice however many print
them, and so are ten stories of one publisher. The greatest number of publishers that can each be given a
different story is the number of voices, a maximum matching of publishers and stories. Everything here is a
pure function of its arguments and does not depend on their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from operator import attrgetter

from agent.types import Claim

SUPPORT = ("state", "change")


@dataclass(frozen=True, slots=True)
class Evidence:
    """A claim, who makes it and in which story.

    `object` is the claim's, folded, so that spellings of one name are one. `at` is the world's time of it,
    `known_at` when it was published. `dated` is false where the article bore no date and that of its arrival
    stands in.
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

    @property
    def ends(self) -> bool:
        """Whether it says, at a time one can trust, that the object holds no longer."""
        return self.claim.kind == "end" and self.dated

    def named(self, folded: str) -> Evidence:
        """The same with its object under another folded name."""
        return replace(self, object=folded)


def voices(evidence: Iterable[Evidence]) -> tuple[str, ...]:
    """The publishers of a largest set of independent voices, sorted."""
    stories: dict[str, set[str]] = {}
    for item in evidence:
        stories.setdefault(item.publisher, set()).add(item.story)
    teller: dict[str, str] = {}
    return tuple(publisher for publisher in sorted(stories) if _match(publisher, stories, teller, set()))


def _match(publisher: str, stories: Mapping[str, set[str]], teller: dict[str, str], tried: set[str]) -> bool:
    """Kuhn's augmenting path: who has been given a story may be given another, but never loses its place."""
    for story in sorted(stories[publisher] - tried):
        tried.add(story)
        if story not in teller or _match(teller[story], stories, teller, tried):
            teller[story] = publisher
            return True
    return False


def corroborated_at(evidence: Sequence[Evidence], needed: int) -> datetime | None:
    """The newest time from which on `needed` voices speak; None if there are fewer.

    So one stray late mention of a former holder does not make the former holder the newest.
    """
    if len(voices(evidence)) < needed:
        return None
    times = sorted({item.at for item in evidence}, reverse=True)
    return next((at for at in times if len(voices(e for e in evidence if e.at >= at)) >= needed), None)


def first_corroborated_at(evidence: Sequence[Evidence], needed: int, by: str = "at") -> datetime | None:
    """The earliest time by which `needed` voices have spoken, by `at` or by `known_at`."""
    if len(voices(evidence)) < needed:
        return None
    when: Callable[[Evidence], datetime] = attrgetter(by)
    times = sorted({when(item) for item in evidence})
    return next((at for at in times if len(voices(e for e in evidence if when(e) <= at)) >= needed), None)


def standing(evidence: Iterable[Evidence]) -> list[Evidence]:
    """What each publisher still stands by: its support for the object that it named last.

    A publisher that later says its object has ended, or that names two at once, stands by nothing. Undated
    articles count only for a publisher that has no dated one, since nobody knows what they come after.
    """
    by_publisher: dict[str, list[Evidence]] = {}
    for item in evidence:
        by_publisher.setdefault(item.publisher, []).append(item)
    return [kept for items in by_publisher.values() for kept in _last_word(items)]


def _last_word(items: Sequence[Evidence]) -> list[Evidence]:
    support = [item for item in items if item.supports]
    support = _without_lag([item for item in support if item.dated] or support)
    if not support:
        return []
    last = max(item.at for item in support)
    named = {item.object for item in support if item.at == last}
    ended = {item.object for item in items if item.ends and item.at >= last}
    if len(named) != 1 or named & ended:
        return []
    since = max((item.at for item in support if item.object not in named), default=None)
    return [item for item in support if item.object in named and (since is None or item.at > since)]


def _without_lag(support: Sequence[Evidence]) -> list[Evidence]:
    """Within one article "B has taken over" outweighs "chief executive A": other sentences lag behind it."""
    changed: dict[tuple[str, datetime], set[str]] = {}
    for item in support:
        if item.claim.kind == "change":
            changed.setdefault((item.claim.article_id, item.at), set()).add(item.object)
    return [
        item
        for item in support
        if item.claim.kind == "change"
        or not changed.get((item.claim.article_id, item.at), set()) - {item.object}
    ]
