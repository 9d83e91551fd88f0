from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.verify.answers import clause, fold, forms_of, matches, names_for, object_of, same_answer
from tests.verify.conftest import World


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        (" Paris.", "Paris"),
        ("\n\nParis, the", "Paris"),
        (" the Netherlands", "Netherlands"),
        ("The Netherlands.", "Netherlands"),
        ("The Hague.", "The Hague"),
        (" Euro", "euro"),
        ("Recep Tayyip Erdoğan", "Recep Tayyip Erdogan"),
        (" Rene Weiler", "René Weiler"),
        ("Côte d’Ivoire", "Cote d'Ivoire"),
        ('"Paris"', "Paris"),
        ("Doris   Shoal and", "Doris Shoal"),
    ],
)
def test_right_answers(answer: str, form: str) -> None:
    assert matches(answer, (form,))


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        (" Parisian", "Paris"),
        (" Guinea-Bissau", "Guinea"),
        (" Saint John's", "Saint John"),
        (" not Paris", "Paris"),
        (" paris fashion", "New Paris"),
        ("", "Paris"),
        ("Paris", ""),
        (" PARIS", "Paris"),
        (" Dutch", "Netherlands"),
        (" 2.5", "2"),
    ],
)
def test_wrong_answers(answer: str, form: str) -> None:
    assert not matches(answer, (form,))


words = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=8)
names = st.lists(words, min_size=1, max_size=3).map(" ".join)


@given(names, st.sampled_from(["", ".", ",", " and", "\n", "!", " ("]))
def test_a_name_matches_itself_whatever_follows(name: str, rest: str) -> None:
    assert matches(f" {name}{rest}", (name,)) or not fold(name)
    assert matches(f"the {name}{rest}", (name,)) or not fold(name)


@given(names, words)
def test_a_longer_word_is_another_name(name: str, more: str) -> None:
    assert not matches(name + more, (name,)) or not fold(more) or fold(name + more).startswith("the ")


@given(st.text(max_size=60))
def test_folding_and_cutting_twice_is_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert "\n" not in clause(text)
    assert same_answer(text, text)


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (" J. K. Rowling. She", "J. K. Rowling"),
        (" 2. Bundesliga. It", "2. Bundesliga"),
        (" St. Louis, Missouri", "St. Louis"),
        ("\n\n Mu\nThe capital", "Mu"),
        (" Mu (city)", "Mu"),
        (" Vitoria-Gasteiz.", "Vitoria-Gasteiz"),
        (" Mu – the city", "Mu"),
        (" 1,000 shells", "1,000 shells"),
        (" .", ""),
        ("", ""),
    ],
)
def test_clauses(answer: str, wanted: str) -> None:
    assert clause(answer) == wanted


@pytest.mark.parametrize(
    ("relation", "answer", "wanted"),
    [
        ("leader", " Doris Shoal. She", "Doris Shoal"),
        ("leader", " Dóris Shoal of the", "Doris Shoal"),
        ("leader", " D. Shoal, who", "Doris Shoal"),
        ("leader", " Doris Shoal's deputy", "Doris Shoal"),
        ("leader", " Doris Shoal Marsh, who", "Doris Shoal Marsh"),
        ("leader", " Ursula von der Leyen and the", "Ursula von der Leyen"),
        ("leader", " Ahmed al-Sharaa since", "Ahmed al-Sharaa"),
        ("leader", " a politician who", ""),
        ("leader", " It is the", ""),
        ("leader", " He", ""),
        ("capital", " Mu. The", "Mu"),
        ("capital", " the Saint Salt", "Saint Salt"),
        ("capital", " Port of Spain in", "Port of Spain"),
        ("currency", " Pearl", "pearl"),
        ("currency", " pearl which", "pearl"),
        ("currency", " sea glass, says", "sea glass"),
        ("currency", "", ""),
    ],
)
def test_objects(world: World, relation: str, answer: str, wanted: str) -> None:
    names_ = names_for(world.relations[relation], world.relations, world.catalogue)
    assert object_of(answer, names_) == wanted


def test_the_fact_s_own_object_is_known_too(world: World) -> None:
    base = names_for(world.relations["leader"], world.relations, world.catalogue)
    names_ = base.plus("Gil Marsh-Reed", ("Gil Marsh-Reed", "Gil Marsh"))
    assert object_of(" Gil Marsh.", base) == "Gil Marsh"
    assert object_of(" Gil Marsh.", names_) == "Gil Marsh-Reed"
    assert names_.knows("Gil Marsh-Reed")
    assert not names_.knows("Gil Marsh")


def test_forms_are_names_and_aliases_of_the_right_kind(world: World) -> None:
    assert forms_of("Doris Shoal", ("PERSON",), world.catalogue) == ("Doris Shoal", "D. Shoal")
    assert forms_of("D. Shoal", ("PERSON",), world.catalogue) == ("D. Shoal", "Doris Shoal")
    assert forms_of("Atlantis", ("GPE",), world.catalogue) == ("Atlantis", "ATL")
    # Mu is a capital here; the club of that alias is another thing.
    assert forms_of("Mu", ("GPE",), world.catalogue) == ("Mu",)


def test_the_same_answer_is_the_same_clause() -> None:
    assert same_answer(" Mu. The capital", "Mu, which")
    assert not same_answer(" Mu", " Low Ebb")
    assert same_answer("one two three four five six seven", "one two three four five six eight")
