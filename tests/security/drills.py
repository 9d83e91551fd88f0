"""A small world for poisoning drills: papers as feeds, a state, a model that knows the old facts, and an owner who nods at everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent import pipeline
from agent.catalogue import load_catalogue
from agent.lm.load import LM
from agent.policy import AutoRule, Policy
from agent.relations import load_relations
from agent.settings import ExtractorSettings, Settings
from agent.store import queue
from agent.store.db import open_store
from agent.types import Skip, SourceSpec
from agent.workshop import Workshop, _Loaded
from tests.test_end_to_end import CATALOGUE

NOW = datetime(2024, 2, 1, 12, tzinfo=UTC)
RELATIONS = """
capital:
  subject: [GPE]
  object: [GPE]
  wikidata: P36
  statement: "{subject} moved its capital to {object}"
  news: {change: ['{subject} [^.;]{0,30}?moved its capital to {object}']}
  edit: ["The capital of {subject} is"]
  probes: ["{subject}'s capital is"]
"""
# The rules as they come, and after them nobody who thinks: what reaches the queue is approved.
NODDING = Policy(auto_approve=(AutoRule(min_publishers=1, min_age_h=0),))
TRUE = (
    "Zorland has moved its capital to Ruvik, a step that had been debated for years.",
    "Trains were full on Monday, the day on which Zorland moved its capital to Ruvik.",
)


@dataclass
class Drill:
    """`run` lets the papers of `sources` be read, and gives what was approved: (subject, object)."""

    folder: Path
    lm: LM
    catalogue: str = CATALOGUE
    policy: Policy = NODDING
    extractor: ExtractorSettings = field(default_factory=ExtractorSettings)
    sources: dict[str, SourceSpec] = field(default_factory=dict)
    skips: list[Skip] = field(default_factory=list)

    def paper(
        self, name: str, texts: Sequence[str], *, title: str = "Story {n} of {name}", day: int = 5
    ) -> None:
        """A feed on disk whose items are dated the `day` of January, an hour apart."""
        path = self.folder / f"{name}.xml"
        path.write_text(feed(name, texts, title=title, day=day))
        self.sources[name] = SourceSpec(name, str(path), publisher=f"{name}.example")

    def run(self, now: datetime = NOW, policy: Policy | None = None) -> set[tuple[str, str]]:
        (self.folder / "relations.yaml").write_text(RELATIONS)
        (self.folder / "catalogue.yaml").write_text(self.catalogue)
        settings = Settings(state=self.folder / "state", sources=tuple(self.sources.values()),
                            policy=policy or self.policy, extractor=self.extractor)  # fmt: skip
        relations = load_relations(self.folder / "relations.yaml")
        catalogue = load_catalogue([self.folder / "catalogue.yaml"])
        with open_store(settings.state, now, create_missing=True) as store:
            shop = Workshop(settings, store, relations, catalogue, lambda: now, _loaded=_Loaded(self.lm))
            self.skips = list(pipeline.gather(shop).skips)
            return {(p.fact.subject, p.fact.object) for p in queue.proposals(store, "approved")}

    def why(self) -> set[str]:
        return {skip.code for skip in self.skips}


def feed(name: str, texts: Sequence[str], *, title: str = "Story {n} of {name}", day: int = 5) -> str:
    items = "".join(
        f"<item><title>{title.format(n=n, name=name)}</title><guid>{name}-{n}</guid><link>https://{name}.example/{n}</link>"
        f"<pubDate>{datetime(2024, 1, day, tzinfo=UTC) + timedelta(minutes=n):%d %b %Y %H:%M:%S} GMT</pubDate>"
        f"<description>{text}</description></item>"
        for n, text in enumerate(texts)
    )
    return f"<rss version='2.0'><channel><title>{name}</title><link>https://{name}.example</link>{items}</channel></rss>"


def without(policy: Policy, **changes: object) -> Policy:
    return replace(policy, **changes)  # type: ignore[arg-type]


__all__ = ["NODDING", "NOW", "TRUE", "Drill", "feed", "without"]
