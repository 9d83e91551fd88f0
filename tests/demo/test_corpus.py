from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.demo.corpus import documents, heldout_text, named, pack, prepare
from agent.demo.forms import World, load_world, prompt_forms, prompt_text, split_forms
from agent.errors import ConfigError
from agent.types import Entity


@pytest.fixture(scope="module")
def world() -> World:
    return load_world()


def test_every_relation_of_the_world_has_many_forms_in_different_word_orders(world: World) -> None:
    for relation in {fact.relation for fact in world.catalogue.facts.values()}:
        forms = prompt_forms(world, relation)
        assert len(forms) >= 12
        assert any(f.template.startswith("{subject} ") for f in forms)
        assert any(f.template.endswith("{subject}:") for f in forms)
        assert any(f.object_first for f in world.forms[relation])


def test_held_out_forms_are_few_never_edit_forms_and_always_contain_an_asked_form(world: World) -> None:
    shares = []
    for fact in world.catalogue.facts.values():
        relation = world.relations[fact.relation]
        trained, held_out = split_forms(world, fact, seed=0)
        assert set(trained).isdisjoint(held_out)
        assert {f.template for f in trained} >= set(relation.edit)
        assert any(f.template in (*relation.probes, *relation.questions) for f in held_out)
        shares.append(len(held_out) / (len(held_out) + len(trained)))
    assert 0.1 < sum(shares) / len(shares) < 0.17


def test_each_form_is_trained_for_some_facts_of_its_relation(world: World) -> None:
    trained: Counter[str] = Counter()
    for fact in world.catalogue.facts.values():
        trained.update(f"{fact.relation}: {f.template}" for f in split_forms(world, fact, 0)[0])
    for relation in {fact.relation for fact in world.catalogue.facts.values()}:
        assert all(trained[f"{relation}: {f.template}"] > 5 for f in prompt_forms(world, relation))


def test_no_prompt_means_two_relations_of_one_subject(world: World) -> None:
    meaning: dict[str, tuple[str, str]] = {}
    for fact in world.catalogue.facts.values():
        entity = world.catalogue.entity(fact.subject)
        for form in prompt_forms(world, fact.relation):
            text = prompt_text(world, form, entity)
            assert entity.name in text
            assert meaning.setdefault(text, (fact.subject, fact.relation)) == (fact.subject, fact.relation)


def test_held_out_prompts_never_occur_for_their_fact(small_world: World) -> None:
    text = "\n".join(islice(documents(prepare(small_world, 0), random.Random(1)), 20_000))
    for fact in small_world.catalogue.facts.values():
        entity = small_world.catalogue.entity(fact.subject)
        surfaces = [entity, *(named(entity, alias) for alias in entity.aliases)]
        trained, held_out = split_forms(small_world, fact, 0)
        for form in held_out:
            title = small_world.relations[fact.relation].title_for(fact.subject)
            for surface in surfaces:
                # The title belongs to the subject's own name, so an alias gets it put in by hand.
                shown = replace(form, template=form.template.replace("{title}", title))
                for object_ in fact.objects:
                    assert f"{prompt_text(small_world, shown, surface)} {object_}." not in text
        for form in trained:
            assert prompt_text(small_world, form, entity) in text


def test_every_fact_is_told_about_equally_often(small_world: World) -> None:
    corpus = prepare(replace(small_world, names=()), 0)
    told: Counter[tuple[str, str]] = Counter()
    answers = {
        prompt_text(small_world, form, small_world.catalogue.entity(f.subject)) + " " + o + ".": (
            f.subject,
            f.relation,
        )
        for f in small_world.catalogue.facts.values()
        for form in split_forms(small_world, f, 0)[0]
        for o in f.objects
    }
    for document in islice(documents(corpus, random.Random(2)), 20_000):
        for sentence, key in answers.items():
            told[key] += sentence in document
    assert set(told) == set(small_world.catalogue.facts)
    assert max(told.values()) < 2 * min(told.values())


def test_documents_are_a_function_of_the_seed(small_world: World) -> None:
    corpus = prepare(small_world, 0)
    first, again, other = (list(islice(documents(corpus, random.Random(s)), 200)) for s in (5, 5, 6))
    assert first == again != other
    assert heldout_text(small_world, 0, 20) == heldout_text(small_world, 0, 20)


def test_every_name_of_a_person_is_met(small_world: World) -> None:
    corpus = prepare(small_world, 0)
    text = "\n".join(islice(documents(corpus, random.Random(3)), 3000))
    assert {"Doris Shoal", "Ada Spray", "Finn Hake"} <= set(corpus.people)
    assert all(name in text for name in corpus.people)
    assert "Atlantean prime minister Doris Shoal." in text


def test_an_alias_gets_the_article_that_english_wants() -> None:
    kingdom = Entity("United Kingdom", "country", "GPE", article="the")
    assert named(kingdom, "UK").surface == "the UK"
    assert named(kingdom, "Britain").surface == "Britain"
    assert (
        named(Entity("South Korea", "country", "GPE"), "Republic of Korea").surface == "the Republic of Korea"
    )
    assert (
        named(Entity("European Central Bank", "central_bank", "ORG", article="the"), "ECB").surface
        == "the ECB"
    )


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(1, 99), max_size=9), min_size=1), st.integers(1, 5), st.integers(1, 12))
def test_packed_blocks_begin_with_a_document_and_are_full(
    tokens: list[list[int]], n: int, length: int
) -> None:
    def stream() -> object:
        while True:
            yield from tokens

    blocks = pack(stream(), n, length, eos=0)  # type: ignore[arg-type]
    assert blocks.shape == (n, length)
    starts = {(*document, 0)[:length] for document in tokens}
    for row in blocks.tolist():
        assert any(tuple(row[: len(start)]) == start for start in starts)


def test_pack_refuses_a_stream_that_ends() -> None:
    with pytest.raises(ValueError, match="ended"):
        pack([[1, 2]], 1, 10, eos=0)


def test_a_wrong_phrasing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "phrasings.yaml"
    path.write_text("capital: {prompts: ['The capital is']}")
    with pytest.raises(ConfigError, match="The capital is"):
        load_world(phrasings=path)
