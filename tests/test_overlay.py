"""Which prompts a fact of the overlay answers, over the shipped relations and catalogue."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from functools import cache

import pytest

from agent.answering import lead_of
from agent.catalogue import Catalogue, load_catalogue
from agent.overlay import Match, Overlay
from agent.relations import Relation, load_relations
from agent.settings import Settings
from agent.types import Fact

NOW = datetime(2025, 7, 1, tzinfo=UTC)


@cache
def shipped() -> tuple[dict[str, Relation], Catalogue]:
    settings = Settings()
    return load_relations(settings.relations), load_catalogue(settings.catalogue)


def overlay(*keys: tuple[str, str]) -> Overlay:
    return Overlay([Fact(subject, relation, "Zed Quux", NOW) for subject, relation in keys], *shipped())


@cache
def several() -> Overlay:
    return overlay(
        ("Bolivia", "head_of_state"),
        ("Japan", "head_of_government"),
        ("Ford", "ceo"),
        ("Liverpool FC", "head_coach"),
        ("Bank of Japan", "central_bank_governor"),
        ("Iran", "head_of_government"),
        ("D.C. United", "head_coach"),
    )


@pytest.mark.parametrize(
    ("prompt", "subject"),
    [
        ("The president of Bolivia is", "Bolivia"),
        ("Who leads Japan?", "Japan"),
        ("Who is the PM of Japan?", "Japan"),
        ("Who's the Japanese prime minister?", "Japan"),
        ("Japan's current prime minister is", "Japan"),
        ("Hi! Can you tell me who the chief executive of Ford is? Thanks.", "Ford"),
        ("Who is Ford’s CEO right now?", "Ford"),
        ("Who coaches Liverpool?", "Liverpool FC"),
        ("The president of Iran is", "Iran"),
        ("Japan is an island.\nThe governor of the Bank of Japan is", "Bank of Japan"),
        ("D.C. United lost again. The head coach of D.C. United is", "D.C. United"),
    ],
)
def test_what_asks_for_the_fact_is_answered_with_it(prompt: str, subject: str) -> None:
    match = several().match(prompt)
    assert match is not None
    assert (match.fact.subject, match.exact, match.lead) == (subject, True, "Zed Quux")


@pytest.mark.parametrize(
    "prompt",
    [
        "Who was the president of Bolivia in 2010?",
        "Who was the former CEO of Ford?",
        "Who will be the next prime minister of Japan?",
        "Who is the vice president of Bolivia?",
        "Who is the deputy governor of the Bank of Japan?",
        "Who is not the prime minister of Japan?",
        "The supreme leader of Iran is",
        "Who is the finance minister of Japan?",
        "What is the capital of Japan?",
        "Who founded Ford?",
        "Who is the president of Peru?",
        "The president of Bolivia is Zed Quux. The capital of Peru is",
        "Bolivia",
        "",
    ],
)
def test_what_asks_for_anything_else_is_left_to_the_model(prompt: str) -> None:
    assert several().match(prompt) is None


@pytest.mark.parametrize(
    "prompt",
    [
        "Who is the wife of the president of Bolivia?",
        "How old is the president of Bolivia?",
        "The president of Bolivia is visiting",
        "Is Evo Morales the president of Bolivia?",
        "The prime minister of Japan is here.",
    ],
)
def test_what_is_about_the_fact_is_told_it_and_answers_by_itself(prompt: str) -> None:
    match = several().match(prompt)
    assert match is not None
    assert not match.exact


def test_a_fact_is_told_in_a_sentence() -> None:
    told = [several().told(fact) for fact in several().facts[3:5]]
    assert told == [
        "The head coach of Liverpool FC is Zed Quux.",
        "The governor of the Bank of Japan is Zed Quux.",
    ]
    assert overlay(("Kazakhstan", "capital")).match("What is the capital of Kazakhstan?").sentence == (  # type: ignore[union-attr]
        "Zed Quux is the capital of Kazakhstan."
    )


def test_an_empty_overlay_answers_nothing() -> None:
    assert not overlay()
    assert overlay().match("Who leads Japan?") is None
    assert overlay(("Japan", "no_such_relation")).match("Who leads Japan?") is None


def test_the_later_fact_counts() -> None:
    facts = [Fact("Japan", "capital", name, NOW) for name in ("Kyoto", "Nara")]
    match = Overlay(facts, *shipped()).match("The capital of Japan is")
    assert match is not None
    assert match.lead == "Nara"


def test_every_prompt_of_a_relation_is_in_its_facts_scope_and_none_of_another_relation() -> None:
    """Of all editable facts a sample: each of its own prompts is exact; of the subject's other prompts none is, even where the
    catalogue's wording of the prompt itself is held out.
    """
    relations, catalogue = shipped()
    editable = [
        f
        for f in catalogue.facts.values()
        if f.relation in relations and relations[f.relation].policy.editable
    ]
    near = held = wrong = others = 0
    for known in random.Random(1).sample(editable, 60):
        single, entity = overlay((known.subject, known.relation)), catalogue.entity(known.subject)
        for name in {f.relation for f in catalogue.facts_of(known.subject)} & relations.keys():
            relation = relations[name]
            for prompt in (
                p for which in ("edit", "probes", "questions") for p in relation.prompts(which, entity)
            ):  # type: ignore[arg-type]
                found, unread = single.match(prompt), single.match(prompt, held_out=True)
                if name == known.relation:
                    assert found is not None
                    assert found.exact, prompt
                    held, near = held + 1, near + (unread is not None)
                else:
                    assert found is None, prompt
                    assert unread is None or not unread.exact, prompt
                    others, wrong = others + 1, wrong + (unread is not None)
    assert near / held > 0.75
    assert wrong / others < 0.03


@pytest.mark.parametrize(
    ("name", "begun"), [("Duma Boko", "Duma Boko."), ("Ferdinand Marcos Jr.", "Ferdinand Marcos Jr.")]
)
def test_an_answer_begins_with_the_whole_name(name: str, begun: str) -> None:
    """With a stop behind it: a model that hardly knows the name would go on with its letters, "Duma Bokoya"."""
    fact = Fact("Zorland", "leader", name, datetime(2026, 1, 1, tzinfo=UTC))
    assert lead_of(Match(fact, True, f"The leader of Zorland is {name}."), "both") == begun
    assert lead_of(Match(fact, True, ""), "context") == lead_of(Match(fact, False, ""), "both") == ""
    assert lead_of(None, "both") == ""
