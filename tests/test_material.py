"""What the compiler is handed besides a fact: its prompts, what is to stay of its subject, and what is to stay of others."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime

import pytest

from agent.catalogue import Catalogue, load_catalogue
from agent.editing.keys import one_per_key
from agent.material import edit_request, preserve_texts
from agent.paths import WORLD, data_file
from agent.relations import Relation, load_relations
from agent.types import Fact

NOW = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue([WORLD])


@pytest.fixture(scope="module")
def relations() -> dict[str, Relation]:
    return load_relations(data_file("relations.yaml"))


def test_a_request_has_all_edit_prompts_and_keeps_every_other_relation(
    catalogue: Catalogue, relations: dict[str, Relation]
) -> None:
    subject = next(s for s in catalogue.entities if len(catalogue.facts_of(s)) >= 4)
    known = [fact for fact in catalogue.facts_of(subject) if fact.relation in relations]
    entity = catalogue.entity(subject)
    request = edit_request(Fact(subject, known[0].relation, "Nobody", NOW), relations, catalogue)
    assert request.prompts == relations[known[0].relation].prompts("edit", entity)
    assert not set(request.keep) & set(request.prompts)
    for fact in known[1:]:
        assert set(request.keep) & set(relations[fact.relation].prompts("edit", entity)), fact.relation


def test_the_limit_counts_keys_and_every_prompt_of_a_key_comes_with_it(
    catalogue: Catalogue, relations: dict[str, Relation]
) -> None:
    every = preserve_texts(catalogue, relations, {"France"}, limit=10**6, seed=0)
    some = preserve_texts(catalogue, relations, {"France"}, limit=40, seed=0)
    assert len(set(every)) == len(every) > len(one_per_key(every)) > 40
    assert len(one_per_key(some)) == 40
    by_key = defaultdict(set)
    for text in every:
        by_key[text.upto_subject].add(text)
    assert set(some) == set().union(*(by_key[text.upto_subject] for text in some))
    assert not any(text.subject == "France" for text in every)


def test_the_sample_follows_its_seed(catalogue: Catalogue, relations: dict[str, Relation]) -> None:
    one, same, other = (preserve_texts(catalogue, relations, (), limit=40, seed=seed) for seed in (0, 0, 1))
    assert one == same and set(one) != set(other)
