"""Names: one spelling, one person, one entity; a homonym is nobody."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.ner.claims import Reader
from agent.ner.mentions import find_mentions
from agent.ner.names import fold, plain, same_person, strip_legal, strip_titles
from agent.ner.tokens import split_sentences, tokenize


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("José Quiroga", "Jose Quiroga"),
        ("Andy Burnham", "Andrew Burnham"),
        ("Starmer", "Keir Starmer"),
        ("Donald J. Trump", "Donald Trump"),
        ("Lee Jae-myung", "Lee Jae Myung"),
        ("Volodymyr Zelenskiy", "Volodymyr Zelensky"),
        ("President Kais Saied", "Kais Saied"),
        ("T.W. Arrighi", "T. W. Arrighi"),
    ],
)
def test_one_person(a: str, b: str) -> None:
    assert same_person(a, b)
    assert same_person(b, a)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Flavio Bolsonaro", "Jair Bolsonaro"),
        ("Ana Botin", "Ana Patel"),
        ("Jay Powell", "Colin Powell"),
        ("", "Ana"),
    ],
)
def test_two_people(a: str, b: str) -> None:
    assert not same_person(a, b)


def test_titles_and_legal_endings_go() -> None:
    assert strip_titles("President Donald Trump") == "Donald Trump"
    assert strip_titles("King Charles") == "King Charles"
    assert strip_legal("The Estée Lauder Cos.") == "Estée Lauder"
    assert strip_legal("Johnson & Co.") == "Johnson"


@given(st.text(max_size=200))
def test_plain_keeps_the_length_and_fold_is_idempotent(text: str) -> None:
    assert len(plain(text)) == len(text)
    assert fold(fold(text)) == fold(text)


@given(st.text(max_size=300))
def test_tokens_and_sentences_point_into_the_text(text: str) -> None:
    clean = plain(text)
    for token in tokenize(clean):
        assert token.start < token.end <= len(clean)
    borders = split_sentences(clean)
    assert all(0 <= a < b <= len(clean) for a, b in borders)
    assert (
        "".join(clean[a:b].strip() for a, b in borders).split()
        == "".join(clean[a:b].strip() for a, b in borders).split()
    )


def test_sentences_end_where_a_reader_would_say() -> None:
    text = "The U.S. club, said Mr. Roe of Acme Inc. in St. Louis, won.Carrick was happy. Was he? Yes."
    assert [text[a:b].strip() for a, b in split_sentences(text)] == [
        "The U.S. club, said Mr. Roe of Acme Inc. in St. "
        "Louis, won.", "Carrick was happy.", "Was he?", "Yes.",
    ]  # fmt: skip


def test_possessives_and_compounds_are_cut() -> None:
    words = [t.text for t in tokenize("Macy's ex-CEO, Inc.'s London-based EVP/CFO")]
    assert words == ["Macy", "'s", "ex-", "CEO", ",", "Inc.", "'s", "London", "-based", "EVP", "/", "CFO"]


def test_links(reader: Reader) -> None:
    linker = reader.linker
    assert linker.link("UK").entity == "United Kingdom"
    assert linker.link("Japanese").entity == "Japan"
    assert linker.link("Fed").entity == "Federal Reserve"
    assert linker.link("Nowhere Ltd").entity is None
    assert linker.link("Jose Quiroga Paz", "PERSON").entity == "José Quiroga Paz"
    assert linker.link("Volodymyr Zelenskyy", "PERSON").entity == "Volodymyr Zelensky"


def test_a_homonym_is_left_unlinked_with_a_reason(reader: Reader) -> None:
    link = reader.linker.link("Rangers")
    assert link.entity is None
    assert "New York Rangers" in link.reason and "Rangers FC" in link.reason
    assert {r.kind for r in reader.linker.readings("Georgia")} == {"country", "region"}


def test_mentions_point_into_the_text_and_know_the_catalogue(reader: Reader) -> None:
    text = "Japanese officials met the Fed’s Martin Oyelaran in Paris, and Rangers won."
    mentions = find_mentions(reader.nlp(text), reader.linker)
    found = {m.text: m.entity for m in mentions}
    assert found["Japanese"] == "Japan"
    assert found["Fed"] == "Federal Reserve"
    assert found["Rangers"] is None
    assert all(text[m.start : m.end] == m.text for m in mentions)
    assert [m.start for m in mentions] == sorted(m.start for m in mentions)
    assert all(a.end <= b.start for a, b in itertools.pairwise(mentions))


def test_a_longer_name_of_the_recogniser_beats_a_place_inside_it(reader: Reader) -> None:
    mentions = find_mentions(reader.nlp("The actress Paris Whitman visited Berlin."), reader.linker)
    assert "Paris" not in {m.text for m in mentions if m.label == "GPE"}


def test_central_banks_are_found_by_country(reader: Reader) -> None:
    assert reader.linker.central_banks["Iceland"] == "Central Bank of Iceland"
    assert reader.linker.central_banks["United States"] == "Federal Reserve"
    assert "Mexico" not in reader.linker.central_banks
