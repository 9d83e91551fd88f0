"""What the decider is given: claims, their articles, the stories these tell and the voices behind them, read
from the database. Without the model, so that commands which only look are quick.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from agent import decide
from agent.catalogue import Catalogue
from agent.credits import credited
from agent.policy import Policy
from agent.relations import Relation
from agent.sources.similar import clusters
from agent.sources.text import registered_domain
from agent.store import articles
from agent.store.db import Store
from agent.types import Article, Claim, Copy, Fact, Skip, SourceSpec
from agent.voices import Channel, Evidence

LOCAL = "a local file"
_SITES = {"wikidata": "wikidata.org"}


@dataclass(frozen=True, slots=True)
class Heard:
    """Everything that has been read. `stories` and `copies` by article id, `channels` by source name."""

    claims: tuple[Claim, ...]
    cited: Mapping[str, Article]
    stories: Mapping[str, str]
    channels: Mapping[str, Channel]
    copies: Mapping[str, Sequence[Copy]]

    def merged(
        self, policy: Policy, now: datetime, relations: Mapping[str, Relation], catalogue: Catalogue
    ) -> list[Fact | Skip]:
        """What it all adds up to (`decide.merge`)."""
        return decide.merge(
            self.claims, self.cited, policy, now,
            clusters=self.stories, relations=relations, catalogue=catalogue,
            channels=self.channels, copies=self.copies,
        )  # fmt: skip

    def evidence(self, claims: Iterable[Claim], now: datetime) -> list[Evidence]:
        """One for each voice behind each of `claims`; a claim whose article is gone has none."""
        return [
            evidence
            for claim in claims
            if claim.article_id in self.cited
            for evidence in decide.evidence_of(
                claim, self.cited, self.stories, now, self.channels, self.copies
            )
        ]


def heard(store: Store, sources: Iterable[SourceSpec], *, cited_by: Iterable[Claim] = ()) -> Heard:
    """All claims that hold, and what belongs to them; the articles of `cited_by` as well."""
    claims = articles.claims(store)
    wanted = {claim.article_id for claim in (*claims, *cited_by)}
    cited = {a.id: a for a in articles.articles_of(store, wanted)}
    known = channels(sources)
    told = told_by(stories(list(cited.values())), claims, cited, known)
    return Heard(claims, cited, told, known, articles.copies(store))


def channels(sources: Iterable[SourceSpec]) -> dict[str, Channel]:
    """By source name: whose voice it is."""
    return {
        source.name: Channel("" if source.aggregator else voice_of(source), source.weight)
        for source in sources
    }


def voice_of(source: SourceSpec) -> str:
    """Its publisher, else the site that it is on. Files that name no publisher are one voice together: two
    captures of one feed must not confirm each other.
    """
    kind = source.url.partition(":")[0].lower()
    site = registered_domain(source.url) or _SITES.get(kind, LOCAL)
    return (source.publisher or "").strip() or site


def told_by(
    stories: Mapping[str, str],
    claims: Iterable[Claim],
    cited: Mapping[str, Article],
    channels: Mapping[str, Channel],
) -> dict[str, str]:
    """`stories`, with those made one of which one credits the other's voice with what both say."""
    voices = {
        a.id: channels[a.source].voice or a.publisher if a.source in channels else a.publisher
        for a in cited.values()
    }
    leader = {story: story for story in stories.values()}

    def first(story: str) -> str:
        while leader[story] != story:
            story = leader[story]
        return story

    for one, other in credited(claims, cited, voices):
        a, b = sorted((first(stories[one]), first(stories[other])))
        leader[b] = a
    return {article: first(story) for article, story in stories.items()}


def stories(cited: Sequence[Article]) -> dict[str, str]:
    """Article id -> the id of the first article of its story: copies of one wire story are one voice."""
    ordered = sorted(cited, key=lambda article: (article.published_at, article.id))
    return {ordered[i].id: ordered[group[0]].id for group in clusters(ordered) for i in group}


__all__ = ["Heard", "channels", "heard", "stories", "told_by", "voice_of"]
