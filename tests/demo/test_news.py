"""From the demo's feeds to facts, with everything real but the model: every expected change, no trap."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from agent import decide
from agent.catalogue import load_catalogue
from agent.config import load
from agent.ner.claims import make_reader
from agent.ner.load import EMBEDDED, load_nlp
from agent.paths import FEEDS, data_file
from agent.relations import load_relations
from agent.sources.base import new_state
from agent.sources.fetch import fetch
from agent.sources.http import Client
from agent.sources.similar import clusters
from agent.strict import read_yaml
from agent.types import Fact, Skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was decided about each (subject, relation, object), and what the feeds' author expects."""

    facts: dict[tuple[str, str, str], Fact]
    skips: dict[tuple[str, str, str], Skip]
    expected: dict[str, Any]

    def wanted(self, part: str) -> set[tuple[str, str, str]]:
        return {(row["subject"], row["relation"], row["object"]) for row in self.expected[part]}


@cache
def outcome() -> Outcome:
    settings, expected = load(data_file("demo.yaml"), environ={}), read_yaml(FEEDS / "expected.yaml")
    now = expected["clock"]
    polls = [fetch(spec, new_state(spec), Client(), now) for spec in settings.sources]
    articles = [article for poll in polls for article in poll.articles]
    relations, catalogue = load_relations(settings.relations), load_catalogue(settings.catalogue)
    reader = make_reader(load_nlp(str(EMBEDDED)), catalogue, relations)
    outcomes = decide.merge(
        [claim for article in articles for claim in reader.read(article)],
        {article.id: article for article in articles},
        settings.policy,
        now,
        clusters={articles[i].id: str(n) for n, group in enumerate(clusters(articles)) for i in group},
        relations=relations,
        catalogue=catalogue,
    )
    facts = {(o.subject, o.relation, o.object): o for o in outcomes if isinstance(o, Fact)}
    skips = {(o.subject, o.relation, o.object): o for o in outcomes if isinstance(o, Skip)}
    return Outcome(facts, skips, expected)


def test_no_trap_becomes_a_fact() -> None:
    assert not outcome().wanted("never") & set(outcome().facts)


def test_nearly_every_true_change_becomes_a_fact() -> None:
    live = outcome().wanted("live")
    assert len(live & set(outcome().facts)) >= 0.95 * len(live), live - set(outcome().facts)


def test_nothing_else_becomes_a_fact_but_what_was_so_before() -> None:
    settings = load(data_file("demo.yaml"), environ={})
    known = load_catalogue(settings.catalogue).facts
    for subject, relation, name in set(outcome().facts) - outcome().wanted("live"):
        assert name in known[subject, relation].objects, (subject, relation, name)


@pytest.mark.parametrize("why", ["one publisher", "one wire story"])
def test_what_must_wait_is_shown_with_the_reason(why: str) -> None:
    for row in outcome().expected["pending"]:
        if row["why"].startswith(why):
            skip = outcome().skips[row["subject"], row["relation"], row["object"]]
            assert skip.code == "uncorroborated" and skip.evidence
            assert ("print one story" in skip.reason) == (why == "one wire story"), skip.reason


def test_every_fact_has_two_publishers_of_its_own() -> None:
    assert all(len(set(fact.publishers)) >= 2 for fact in outcome().facts.values())
