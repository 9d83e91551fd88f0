"""Who says what, since when, and how many independent voices that makes.

A *voice* is a publisher with a story of its own: copies of one wire story are one voice however many print
them, and so are ten stories of one publisher. The greatest number of publishers that can each be given a
different story is the number of voices, a maximum matching of publishers and stories. A voice counts as much
as the heaviest source it came through, and of all largest sets the heaviest is taken: the publishers that can
be matched form a matroid, so taking the heaviest first finds it. Everything here is a pure function of its
arguments and does not depend on their order; further evidence never makes less of a set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import fsum
from operator import attrgetter

from agent.types import Claim

SUPPORT = ("state", "change")
_ALONE = 2  # wherever more than one publisher is asked for, no weight makes up for a second one
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Channel:
    """What the owner says of one source: whose voice all its items are, and how much that counts.

    `voice` is empty for an aggregator, whose items count as the publishers that they name. `weight` 0: read,
    but never a voice.
    """

    voice: str = ""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """A claim, who makes it and in which story.

    `object` is the claim's, folded, so that spellings of one name are one. `at` is the world's time of it,
    `known_at` when it was published. `dated` is false where the article bore no date and that of its arrival
    stands in. `weight` is that of the source it came through; `credited` the site that the item names where
    that is not the voice it counts as.
    """

    claim: Claim
    object: str
    publisher: str
    story: str
    at: datetime
    known_at: datetime
    dated: bool = True
    weight: float = 1.0
    credited: str = ""

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
    """The publishers of a largest set of independent voices, the heaviest such set, sorted."""
    return tuple(sorted(_weighed(evidence)))


def heft(evidence: Iterable[Evidence]) -> float:
    """What the voices weigh together: their number, where every source weighs 1."""
    return fsum(_weighed(evidence).values())


def enough(evidence: Iterable[Evidence], needed: int) -> bool:
    """Whether the voices weigh `needed` together, and are two at least where more than one is needed."""
    found = _weighed(evidence)
    return len(found) >= min(needed, _ALONE) and fsum(found.values()) >= needed - _ROUNDING


def _weighed(evidence: Iterable[Evidence]) -> dict[str, float]:
    """Each voice and its weight. Of two sets the one that is heavier, of equally heavy ones the first by name."""
    stories: dict[str, set[str]] = {}
    weights: dict[str, float] = {}
    for item in evidence:
        if item.weight > 0:
            stories.setdefault(item.publisher, set()).add(item.story)
            weights[item.publisher] = max(item.weight, weights.get(item.publisher, 0.0))
    teller: dict[str, str] = {}
    ranked = sorted(stories, key=lambda publisher: (-weights[publisher], publisher))
    return {name: weights[name] for name in ranked if _match(name, stories, teller, set())}


def _match(publisher: str, stories: Mapping[str, set[str]], teller: dict[str, str], tried: set[str]) -> bool:
    """Kuhn's augmenting path: who has been given a story may be given another, but never loses its place."""
    for story in sorted(stories[publisher] - tried):
        tried.add(story)
        if story not in teller or _match(teller[story], stories, teller, tried):
            teller[story] = publisher
            return True
    return False


def corroborated_at(evidence: Sequence[Evidence], needed: int) -> datetime | None:
    """The newest time from which on enough voices speak (`enough`); None if there are fewer.

    So one stray late mention of a former holder does not make the former holder the newest.
    """
    if not enough(evidence, needed):
        return None
    times = sorted({item.at for item in evidence}, reverse=True)
    return next((at for at in times if enough((e for e in evidence if e.at >= at), needed)), None)


def first_corroborated_at(evidence: Sequence[Evidence], needed: int, by: str = "at") -> datetime | None:
    """The earliest time by which enough voices have spoken, by `at` or by `known_at`."""
    if not enough(evidence, needed):
        return None
    when: Callable[[Evidence], datetime] = attrgetter(by)
    times = sorted({when(item) for item in evidence})
    return next((at for at in times if enough((e for e in evidence if when(e) <= at), needed)), None)


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
