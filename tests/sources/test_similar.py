"""Copies of a wire story are one story; two reports of one event are two."""

from __future__ import annotations

import time
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.base import SourceSpec
from agent.sources.items import Context, Item, to_articles
from agent.sources.similar import CANDIDATE_BITS, clusters, distance, same_story, simhash
from agent.types import Article
from tests.sources.conftest import NOW

TITLE = "Harbour town elects former ferry captain as mayor"
TEXT = (
    "Voters in the harbour town of Elmford on Sunday chose Ilse Brandt, a former ferry captain, as their new"
    " mayor, ending twelve years of rule by the Civic List, according to final results published by the"
    " regional election office."
)
COPIES = [
    (f"UPDATE 1-{TITLE}", TEXT),
    (f"EXCLUSIVE: {TITLE} | World News", TEXT),
    (TITLE, f"ELMFORD, March 3 (Wire) - {TEXT}"),
    (TITLE, f"{TEXT} (Reporting by Ann Lee in Elmford; Editing by Tom Hart)"),
    (TITLE, TEXT.replace(", according to final results published by the regional election office", "")),
    (TITLE.upper(), TEXT.replace(",", "")),
]
OTHERS = [
    (
        "Ilse Brandt wins Elmford mayoral race",
        "Ilse Brandt will be the next mayor of Elmford. The ex-captain beat the Civic List's candidate by"
        " nine points, the regional election office said on Sunday night, in the closest vote since 2014.",
    ),
    (
        "Ferry captain loses licence after harbour collision",
        "A former ferry captain lost his licence on Sunday after a collision in the harbour town of Elmford"
        " that ended twelve years without an accident, according to a report published by the regional"
        " transport office.",
    ),
]


def article(title: str, text: str) -> Article:
    ((made,), _) = to_articles([Item(title=title, text=text)], Context(SourceSpec("s", "x"), NOW))
    return made


@pytest.mark.parametrize("copy", COPIES)
def test_a_republished_story_is_the_same(copy: tuple[str, str]) -> None:
    assert same_story(article(TITLE, TEXT), article(*copy))


@pytest.mark.parametrize("other", OTHERS)
def test_another_report_is_another_story(other: tuple[str, str]) -> None:
    assert not same_story(article(TITLE, TEXT), article(*other))


def test_short_texts_are_the_same_only_if_they_are_equal() -> None:
    assert same_story(article("Brandt elected mayor", ""), article("BRANDT elected  mayor!", ""))
    assert not same_story(
        article("Brandt elected mayor", ""), article(f"Brandt elected mayor. {TITLE}", TEXT)
    )
    assert not same_story(article("Brandt elected mayor", ""), article("Hart elected mayor", ""))


def test_clusters_are_what_pairs_say_and_keep_order() -> None:
    articles = [article(*pair) for pair in ((TITLE, TEXT), OTHERS[0], *COPIES, OTHERS[1])]
    assert clusters(articles) == ((0, 2, 3, 4, 5, 6, 7), (1,), (8,))
    assert clusters([]) == () and clusters(articles[:1]) == ((0,),)
    for group in clusters(articles):
        assert all(
            any(same_story(articles[i], articles[j]) for j in group if j != i)
            for i in group
            if len(group) > 1
        )


def test_thousands_of_articles_are_clustered_in_seconds() -> None:
    articles = [
        article(f"Report {n}", " ".join(f"word{(n * 31 + k * k * (n + 7)) % 4001}" for k in range(40)))
        for n in range(2000)
    ]
    started = time.process_time()
    assert len(clusters([*articles, *articles[:10]])) == 2000
    assert time.process_time() - started < 10


@given(st.lists(st.text(max_size=40), max_size=6))
def test_simhash_is_a_64_bit_number_blind_to_case_and_punctuation(texts: list[str]) -> None:
    hashes = [simhash(text) for text in texts]
    assert all(0 <= h < 2**64 for h in hashes)
    assert [simhash(f" {text} ... ") for text in texts] == hashes
    assert all(distance(a, b) == distance(b, a) <= 64 for a, b in combinations(hashes, 2))


def test_simhash_is_the_same_on_every_machine() -> None:
    assert simhash("") == 0 and simhash("...") == 0
    assert simhash("one two") == 0x7CB8D1AE909EC5D
    assert distance(simhash(TEXT), simhash(f"{TEXT} Read more.")) <= CANDIDATE_BITS // 2
