"""Which claims make a fact.

A line of news reads `publisher days-ago kind object`, and may end in `story=w`, `undated`, `in=article`
(several claims of one article) or `as_of=days`.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.catalogue import Catalogue, load_catalogue
from agent.decide import merge
from agent.eligible import fold
from agent.errors import InputError
from agent.paths import data_file
from agent.policy import Policy
from agent.relations import RelationPolicy, load_relations
from agent.types import Article, Claim, ClaimKind, Fact, Skip
from agent.voices import Evidence, voices

NOW = datetime(2025, 7, 1, 12, tzinfo=UTC)
RELATIONS = load_relations(data_file("relations.yaml"))
KEY = ("Japan", "head_of_government")
OPEN = Policy(max_age_days=None)
WORLD = """
- {name: Japan, kind: country, aliases: [Nippon], demonyms: [Japanese], facts: {head_of_government: Abe}}
- {name: Monaco, kind: country}
- {name: Nestle, kind: company, aliases: [Nestlé SA]}
- {name: Merck, kind: company, aliases: [Merck & Co]}
- {name: Merck KGaA, kind: company, aliases: [Merck & Co]}
- {name: Real Madrid, kind: club, aliases: [Madrid]}
- {name: RB Leipzig, kind: club, aliases: [Leipzig]}
- {name: Siemens, kind: company}
- {name: Ford, kind: company}
- {name: Michel Sanchez, kind: person, aliases: [Michel]}
- {name: Michel Platini, kind: person, aliases: [Michel]}
- {name: Shigeru Ishiba, kind: person, aliases: [Ishiba]}
"""


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    path: Path = tmp_path_factory.mktemp("world") / "world.yaml"
    path.write_text(WORLD, encoding="utf-8")
    return load_catalogue([path])


class News:
    """Claims, their articles and the stories these belong to, from lines of text."""

    def __init__(self, lines: Iterable[str], subject: str = KEY[0], relation: str = KEY[1]) -> None:
        self.claims: list[Claim] = []
        self.articles: dict[str, Article] = {}
        self.stories: dict[str, str] = {}
        for number, line in enumerate(filter(None, map(str.strip, lines))):
            self._add(number, line, subject, relation)

    def _add(self, number: int, line: str, subject: str, relation: str) -> None:
        publisher, days, kind, *rest = line.split()
        marks = dict(word.partition("=")[::2] for word in rest if "=" in word or word == "undated")
        name = " ".join(word for word in rest if "=" not in word and word != "undated")
        at = NOW - timedelta(days=float(days))
        article_id = f"{publisher}-{marks['in']}" if "in" in marks else f"{publisher}-{number}"
        fetched_at = at if "undated" in marks else NOW + timedelta(minutes=1)
        self.articles[article_id] = Article(
            id=article_id, source=publisher, publisher=publisher, url="", title="", text="",
            published_at=at, fetched_at=fetched_at, sha256=str(number),
        )  # fmt: skip
        if "story" in marks:
            self.stories[article_id] = marks["story"]
        as_of = NOW - timedelta(days=float(marks["as_of"])) if "as_of" in marks else at
        score = float(marks.get("score", 1))
        claim_id = f"c{number:03}"
        self.claims.append(
            Claim(claim_id, subject, relation, name, cast(ClaimKind, kind), article_id, line, as_of, score)
        )

    def merged(self, catalogue: Catalogue, policy: Policy = OPEN, **other: Any) -> list[Fact | Skip]:
        given = {"relations": RELATIONS, "clusters": self.stories, **other}
        return merge(self.claims, self.articles, policy, NOW, catalogue=catalogue, **given)


def told(outcomes: Iterable[Fact | Skip]) -> dict[str, str]:
    """Object -> "fact" or the code of its skip."""
    return {o.object: o.code if isinstance(o, Skip) else "fact" for o in outcomes}


CASES: dict[str, tuple[str, dict[str, str]]] = {
    # corroboration
    "two publishers": ("A 10 state X; B 9 state X", {"X": "fact"}),
    "a change and a state": ("A 10 change X; B 9 state X", {"X": "fact"}),
    "one publisher": ("A 10 change X", {"X": "uncorroborated"}),
    "one publisher ten times": ("; ".join(f"A {d} state X" for d in range(5, 15)), {"X": "uncorroborated"}),
    "one publisher in two spellings": (
        "A 10 state X; a 9 state Y",
        {"X": "uncorroborated", "Y": "uncorroborated"},
    ),
    "one wire story in three papers": (
        "A 10 state X story=w; B 10 state X story=w; C 9 state X story=w",
        {"X": "uncorroborated"},
    ),
    "a wire story and an own report": (
        "A 10 state X story=w; B 10 state X story=w; C 9 state X",
        {"X": "fact"},
    ),
    "a wire story that one of its printers confirms": (
        "A 10 state X story=w; B 10 state X story=w; B 9 state X",
        {"X": "fact"},
    ),
    "two wire stories in the same two papers": (
        "A 10 state X story=v; B 10 state X story=v; A 9 state X story=w; B 9 state X story=w",
        {"X": "fact"},
    ),
    "two wire stories, one of them in one paper": (
        "A 10 state X story=v; A 9 state X story=w; B 9 state X story=w",
        {"X": "fact"},
    ),
    # succession
    "the newest holder wins": (
        "A 100 state X; B 99 state X; A 10 change Y; B 9 state Y",
        {"X": "outdated", "Y": "fact"},
    ),
    "other publishers tell of the new one": (
        "A 100 state X; B 99 state X; C 10 change Y; D 9 state Y",
        {"X": "outdated", "Y": "fact"},
    ),
    "the last of the old just before the first of the new": (
        "A 12 state X; B 11 state X; C 10 change Y; D 9 change Y",
        {"X": "outdated", "Y": "fact"},
    ),
    "three holders": (
        "A 300 state X; B 300 state X; A 200 state Y; B 199 state Y; A 9 state Z; C 8 state Z",
        {"X": "outdated", "Y": "outdated", "Z": "fact"},
    ),
    "a holder in between whom one publisher names": (
        "A 300 state X; B 10 state Z; C 9 state Z",
        {"X": "outdated", "Z": "fact"},
    ),
    "somebody comes back": (
        "A 900 state X; B 900 state X; A 400 state Y; B 400 state Y; A 10 state X; B 9 state X",
        {"Y": "outdated", "X": "fact"},
    ),
    "old articles of two publishers arrive late": (
        "A 10 state Y; B 9 state Y; C 2000 state X; D 1999 state X",
        {"X": "outdated", "Y": "fact"},
    ),
    "the publishers of the new one wrote of the old one long ago": (
        "A 2000 state X; B 1999 state X; A 10 state Y; B 9 state Y",
        {"X": "outdated", "Y": "fact"},
    ),
    "a look back, dated in its sentence": (
        "A 10 state Y; B 9 state Y; C 5 state X as_of=1500; D 5 state X as_of=1500",
        {"X": "outdated", "Y": "fact"},
    ),
    "a late stray mention of the old one does not make it newer": (
        "A 900 state X; B 899 state X; C 5 state X; D 100 state Y; E 99 state Y",
        {"X": "outdated", "Y": "fact"},
    ),
    # single voices against corroborated ones
    "a newer single voice neither wins nor blocks": (
        "A 10 state X; B 9 state X; C 2 change Z",
        {"X": "fact", "Z": "uncorroborated"},
    ),
    "an older single voice": ("A 10 state X; B 9 state X; C 50 change Z", {"X": "fact", "Z": "outdated"}),
    "three single voices, each for another": (
        "A 10 state X; B 9 state Y; C 8 state Z",
        {"X": "uncorroborated", "Y": "uncorroborated", "Z": "uncorroborated"},
    ),
    "a publisher that moves on takes its voice along": (
        "A 10 state X; B 9 state X; A 2 change Z",
        {"X": "uncorroborated", "Z": "uncorroborated"},
    ),
    "one undated item names the old holder": (
        "A 30 change Y; B 20 state Y; C 0 state X undated",
        {"X": "uncorroborated", "Y": "fact"},
    ),
    "an undated item does not outdo what its publisher dated": (
        "A 30 change Y; B 20 state Y; B 0 state X undated",
        {"X": "outdated", "Y": "fact"},
    ),
    "two undated items name the old holder": (
        "A 30 change Y; B 20 state Y; C 0 state X undated; D 0 change X undated",
        {"X": "undated", "Y": "fact"},
    ),
    "one of two is undated": (
        "A 30 change Y; B 20 state Y; C 2 state X; D 0 change X undated",
        {"X": "undated", "Y": "fact"},
    ),
    "two articles with clocks that run ahead": (
        "A 30 change Y; B 20 state Y; C -500 state X; D -3 change X",
        {"X": "undated", "Y": "fact"},
    ),
    "where no article bears a date, that of its arrival stands in": (
        "A 9 state Y undated; B 8 state Y undated; C 3 state X undated; D 2 state X undated",
        {"X": "fact", "Y": "outdated"},
    ),
    "undated items count where there is nothing else": ("A 30 change Y; B 3 state Y undated", {"Y": "fact"}),
    # corrections
    "a correction": ("A 10 change X; A 9 change Y; B 8 state Y", {"X": "outdated", "Y": "fact"}),
    "a correction takes the mistake's corroboration away": (
        "A 10 change X; B 9 change X; A 8 change Y",
        {"X": "uncorroborated", "Y": "uncorroborated"},
    ),
    "both correct themselves": (
        "A 10 change X; B 10 change X; A 9 change Y; B 8 change Y",
        {"X": "outdated", "Y": "fact"},
    ),
    "a publisher that names two at once says nothing": (
        "A 10 state X; A 10 state Y; B 9 state X",
        {"X": "uncorroborated", "Y": "outdated"},
    ),
    "within an article the change outweighs the state": (
        "A 10 state X in=1; A 10 change Y in=1; B 9 state Y",
        {"X": "outdated", "Y": "fact"},
    ),
    # contradiction
    "two against two at the same time": (
        "A 10 state X; B 9 state X; C 10 state Y; D 9 state Y",
        {"X": "contradiction", "Y": "contradiction"},
    ),
    "two against two, as old and as new": (
        "A 10 state X; B 9 state X; C 10 state Y; D 8 state Y",
        {"X": "contradiction", "Y": "contradiction"},
    ),
    "a paper that lags behind by a day": (
        "A 12 state X; C 10 change Y; B 9.5 state X; D 9 change Y",
        {"X": "outdated", "Y": "fact"},
    ),
    "two misread articles against eight papers": (
        "; ".join([*(f"P{n} {10 + n % 3} state X" for n in range(8)), "Q 11 state Y", "R 10 state Y"]),
        {"X": "fact", "Y": "outdated"},
    ),
    "two against seven": (
        "; ".join([*(f"P{n} {10 + n % 3} state X" for n in range(7)), "Q 11 state Y", "R 10 state Y"]),
        {"X": "contradiction", "Y": "contradiction"},
    ),
    "two against two, to and fro": (
        "A 12 state X; C 11 state Y; B 10 state X; D 9.5 state Y; A 9 state X",
        {"X": "contradiction", "Y": "contradiction"},
    ),
    "a contradiction is over when one side has stopped for long": (
        "A 60 state X; B 50 state X; C 45 state Y; D 44 state Y; A 3 state X; B 2 state X",
        {"X": "fact", "Y": "outdated"},
    ),
    # ends
    "the holder has left": ("A 10 state X; B 9 state X; C 5 end X", {"X": "ended"}),
    "an end before the news of the office is no end": (
        "A 10 state X; B 9 state X; C 50 end X",
        {"X": "fact"},
    ),
    "an end that others do not know of": ("A 10 state X; C 5 end X; B 4 state X", {"X": "fact"}),
    "an undated end": ("A 10 state X; B 9 state X; C 0 end X undated", {"X": "fact"}),
    "the end of the one before": ("A 10 change Y; B 9 state Y; C 5 end X", {"Y": "fact"}),
    "its own publisher takes it back": ("A 10 state X; B 9 state X; A 5 end X", {"X": "uncorroborated"}),
    "who has left does not give way to who was before": (
        "C 90 state X; D 90 state X; A 20 state Y; B 20 state Y; A 9 end Y; B 9 end Y",
        {"X": "outdated", "Y": "outdated"},
    ),
    "only an end": ("A 5 end X; B 4 end X", {}),
    # what never supports
    "announced by two": ("A 10 future X; B 9 future X", {"X": "future"}),
    "rumoured by three": ("A 10 hedged X; B 9 hedged X; C 8 hedged X", {"X": "hedged"}),
    "acting": ("A 10 acting X; B 9 acting X", {"X": "acting"}),
    "announced by one and stated by another": ("A 10 future X; B 9 state X", {"X": "uncorroborated"}),
    "a rumour beside a fact": ("A 10 state X; B 9 state X; C 5 hedged Z", {"X": "fact", "Z": "hedged"}),
    "a rumour about the winner": ("A 10 state X; B 9 state X; C 5 hedged X", {"X": "fact"}),
    "elected, while the old one is in office": (
        "A 10 state X; B 9 state X; A 8 future Z; B 8 future Z",
        {"X": "fact", "Z": "future"},
    ),
    "an acting holder after the end": (
        "A 90 state X; B 90 state X; A 9 acting Z; B 9 acting Z",
        {"X": "fact", "Z": "acting"},
    ),
    # time
    "fresh news waits": ("A 0.9 change X; B 0.5 change X", {"X": "cool_off"}),
    "fresh news that one knew of before": ("A 10 change X; B 0.5 change X", {"X": "cool_off"}),
    "fresh news about an old appointment": (
        "A 0.9 change X as_of=300; B 0.5 change X as_of=300",
        {"X": "cool_off"},
    ),
    "fresh confirmation of what is known": (
        "A 10 state X; B 9 state X; A 0.1 state X; B 0.1 state X",
        {"X": "fact"},
    ),
    "an article from the future": (
        "A 10 state X; B 9 state X; C -500 state Z",
        {"X": "fact", "Z": "uncorroborated"},
    ),
    # spelling
    "accents, case and aliases are one": (
        "A 10 state Ishiba; B 9 state SHIGERU ISHIBA",
        {"Shigeru Ishiba": "fact"},
    ),
    "two spellings of an unknown": (
        "A 10 state José Nuñez; B 9 state Jose Nunez; C 8 state Jose Nunez",
        {"Jose Nunez": "fact"},
    ),
    "a shared short name is nobody's": ("A 10 state Michel; B 9 state Michel", {"Michel": "homonym"}),
    "a company cannot lead a country": ("A 10 state Siemens; B 9 state Siemens", {"Siemens": "wrong_object"}),
    "nor can the country itself": ("A 10 state Japan; B 9 state Japan", {"Japan": "wrong_object"}),
    "an unfit object leaves the others": (
        "A 20 state X; B 19 state X; A 9 state Siemens; B 9 state Siemens",
        {"X": "fact", "Siemens": "wrong_object"},
    ),
}


@pytest.mark.parametrize(("lines", "expected"), CASES.values(), ids=CASES.keys())
def test_what_the_claims_add_up_to(catalogue: Catalogue, lines: str, expected: dict[str, str]) -> None:
    policy = replace(OPEN, cool_off_h=24.0)
    assert told(News(lines.split(";")).merged(catalogue, policy)) == expected


BOTH = ("A 10 state X", "B 9 state X")
KEYS: dict[str, tuple[str, str, str]] = {
    "not in the catalogue": ("Ontario", "head_of_government", "unknown_subject"),
    "a relation of many": ("Ford", "owner", "many"),
    "not editable": ("Japan", "continent", "not_editable"),
    "no such relation": ("Japan", "anthem", "unknown_relation"),
    "a club has no chief executive here": ("Real Madrid", "ceo", "wrong_subject"),
    "a company has no president of state": ("Siemens", "head_of_state", "wrong_subject"),
    "a name that two companies share": ("Merck & Co", "ceo", "homonym"),
    "an alias of the subject": ("Nippon", "head_of_government", "fact"),
    "a subject with accents": ("Nestlé", "ceo", "fact"),
    "the same name, and nobody else fits": ("Merck", "ceo", "fact"),
}


@pytest.mark.parametrize(("subject", "relation", "code"), KEYS.values(), ids=KEYS.keys())
def test_what_may_be_asked_at_all(catalogue: Catalogue, subject: str, relation: str, code: str) -> None:
    (outcome,) = News(BOTH, subject, relation).merged(catalogue)
    assert told([outcome]) == {"X": code}
    assert not isinstance(outcome, Skip) or outcome.evidence


def test_aliases_of_a_subject_are_one_subject(catalogue: Catalogue) -> None:
    news, alias = News(["A 10 state X"]), News(["A 9 state X", "B 9 state X"], "Nippon")
    alias.claims = alias.claims[1:]
    news.claims += alias.claims
    news.articles |= alias.articles
    (fact,) = news.merged(catalogue)
    assert isinstance(fact, Fact) and fact.subject == "Japan" and fact.publishers == ("A", "B")


def test_a_city_named_like_a_club_is_a_city_where_a_place_is_wanted(catalogue: Catalogue) -> None:
    lines = ["A 10 state Leipzig", "B 9 state Leipzig"]
    assert told(News(lines, "Siemens", "headquarters").merged(catalogue)) == {"Leipzig": "fact"}


def test_a_person_named_like_the_company_does_not_lead_it_unless_it_is_a_full_name(
    catalogue: Catalogue,
) -> None:
    assert told(News(["A 9 state Ford", "B 9 state Ford"], "Ford", "ceo").merged(catalogue)) == {
        "Ford": "wrong_object"
    }


def test_a_fact_carries_its_evidence_oldest_first(catalogue: Catalogue) -> None:
    lines = ["B 9 state X", "A 10 change X", "C 5 state Z", "D 900 state X story=w", "E 900 state X story=w"]
    fact = next(o for o in News(lines).merged(catalogue) if isinstance(o, Fact))
    assert fact == Fact(
        *KEY, "X", NOW - timedelta(days=900), ("c003", "c004", "c001", "c000"), ("A", "B", "D")
    )


def test_valid_from_leaves_out_an_earlier_term(catalogue: Catalogue) -> None:
    lines = [f"{p} {d} state {o}" for d, o in ((900, "X"), (400, "Y"), (10, "X")) for p in "AB"]
    fact = next(o for o in News(lines).merged(catalogue) if isinstance(o, Fact))
    assert fact.valid_from == NOW - timedelta(days=10)


def test_a_single_voice_is_visible_and_named(catalogue: Catalogue) -> None:
    (skip,) = News(["Daily_Lie 10 change X"]).merged(catalogue)
    assert isinstance(skip, Skip) and skip.code == "uncorroborated"
    assert skip.reason == "only Daily_Lie says so; 2 independent publishers are needed"
    assert skip.evidence == ("c000",)


def test_copies_of_one_story_are_named(catalogue: Catalogue) -> None:
    (skip,) = News(["A 10 state X story=w", "B 9 state X story=w"]).merged(catalogue)
    assert isinstance(skip, Skip) and skip.reason.startswith("A and B print one story")


def test_the_owner_sets_how_much_evidence_is_needed(catalogue: Catalogue) -> None:
    one, two = News(["A 10 state X"]), News(BOTH)
    assert told(one.merged(catalogue, replace(OPEN, min_publishers=1))) == {"X": "fact"}
    assert told(two.merged(catalogue, replace(OPEN, min_publishers=3))) == {"X": "uncorroborated"}
    strict = {
        **RELATIONS,
        KEY[1]: replace(RELATIONS[KEY[1]], policy=RelationPolicy(min_publishers=3, cool_off_h=24 * 9.5)),
    }
    assert told(two.merged(catalogue, relations=strict)) == {"X": "uncorroborated"}
    three = News([*BOTH, "C 9 state X"])
    assert told(three.merged(catalogue, relations=strict)) == {"X": "cool_off"}
    assert told(three.merged(catalogue, replace(OPEN, cool_off_h=0.0), relations=strict)) == {"X": "fact"}


def test_the_owner_sets_what_is_too_old(catalogue: Catalogue) -> None:
    news = News(["A 30 state X", "B 29 state X", "C 1 state X"])
    assert told(news.merged(catalogue, replace(OPEN, max_age_days=29))) == {"X": "fact"}
    assert told(news.merged(catalogue, replace(OPEN, max_age_days=28))) == {"X": "too_old"}
    assert told(News(["A 500 state X", "B 500 state X"]).merged(catalogue, Policy())) == {"X": "too_old"}


def test_weak_claims_do_not_count_where_the_owner_says_so(catalogue: Catalogue) -> None:
    news = News(["A 10 state X score=0.9", "B 9 state X score=0.4"])
    assert told(news.merged(catalogue)) == {"X": "fact"}
    assert told(news.merged(catalogue, replace(OPEN, min_score=0.5))) == {"X": "uncorroborated"}


def test_protected_names_are_never_touched(catalogue: Catalogue) -> None:
    assert told(News(BOTH).merged(catalogue, replace(OPEN, protected=("japan",)))) == {"X": "protected"}
    assert told(News(BOTH).merged(catalogue, replace(OPEN, protected=("X",)))) == {"X": "protected"}


def test_unknown_subjects_only_if_the_owner_wants_them(catalogue: Catalogue) -> None:
    news = News(BOTH, "Atlantis")
    assert told(news.merged(catalogue, replace(OPEN, allow_unknown_subjects=True))) == {"X": "fact"}


def test_a_claim_without_its_article_is_refused(catalogue: Catalogue) -> None:
    news = News(BOTH)
    news.articles.pop("A-0")
    with pytest.raises(InputError, match="'A-0' was not given"):
        news.merged(catalogue)


# The properties -------------------------------------------------------------------------------------------

KINDS = ("state", "state", "change", "end", "future", "hedged", "acting")
LINE = st.builds(
    lambda p, d, k, o, more: f"{p} {d} {k} {o} {more}",
    st.sampled_from("ABCD"),
    st.integers(1, 40),
    st.sampled_from(KINDS),
    st.sampled_from("XYZ"),
    st.sampled_from(["", "", "story=v", "story=w", "undated", "in=1"]),
)
LINES = st.lists(LINE, max_size=14)


def facts(outcomes: Iterable[Fact | Skip]) -> list[Fact]:
    return [o for o in outcomes if isinstance(o, Fact)]


@given(LINES, st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_the_order_of_claims_does_not_matter(
    catalogue: Catalogue, lines: list[str], rng: random.Random
) -> None:
    news, before = News(lines), News(lines).merged(catalogue)
    rng.shuffle(news.claims)
    news.claims += news.claims[:2]
    assert news.merged(catalogue) == before


@given(
    LINES,
    st.sampled_from(["future", "hedged", "acting"]),
    st.sampled_from("ABCDE"),
    st.sampled_from("XYZW"),
    st.integers(1, 40),
)
@settings(max_examples=150, deadline=None)
def test_what_is_not_said_to_hold_changes_nothing(
    catalogue: Catalogue, lines: list[str], kind: str, publisher: str, name: str, days: int
) -> None:
    def decided(extra: list[str]) -> list[Fact | Skip]:
        outcomes = News([*lines, *extra]).merged(catalogue)
        return [o for o in outcomes if isinstance(o, Fact) or o.code not in ("future", "hedged", "acting")]

    assert decided([]) == decided([f"{publisher} {days} {kind} {name}"])


@given(
    LINES,
    st.sampled_from("ABCDE"),
    st.sampled_from(["state", "change"]),
    st.sampled_from("XYZW"),
    st.integers(41, 3000),
)
@settings(max_examples=150, deadline=None)
def test_an_older_claim_never_replaces_the_winner(
    catalogue: Catalogue, lines: list[str], publisher: str, kind: str, name: str, days: int
) -> None:
    lines = [line.replace(" undated", "") for line in lines]
    before = facts(News(lines).merged(catalogue))
    after = facts(News([*lines, f"{publisher} {days} {kind} {name}"]).merged(catalogue))
    if before and after:
        assert after[0].object == before[0].object


@given(
    LINES,
    st.lists(
        st.builds(
            "{} {} {} {}{}".format,
            st.sampled_from("ABCDEF"),
            st.sampled_from([0, 3, 40, -1, -900]),
            st.sampled_from(["state", "change", "end", "acting"]),
            st.sampled_from("XYZW"),
            st.just(" undated"),
        ),
        max_size=6,
    ),
)
@settings(max_examples=150, deadline=None)
@example(["B 1 state Z", "C 1 state Z", "A 1 state Y", "D 9 state Y"], ["E 0 state Y undated"])
def test_nothing_undated_undoes_what_is_dated(
    catalogue: Catalogue, lines: list[str], undated: list[str]
) -> None:
    """Nor what bears a date of the future: it arrives as undated."""
    lines = [line.replace(" undated", "") for line in lines]
    before = facts(News(lines).merged(catalogue))
    after = facts(News([*lines, *undated]).merged(catalogue))
    if before:
        assert [f.object for f in after] == [before[0].object]


def test_nothing_undated_brings_back_what_has_ended(catalogue: Catalogue) -> None:
    ended = ["A 9 state X", "B 8 state X", "C 5 end X"]
    assert told(News(ended).merged(catalogue)) == {"X": "ended"}
    assert told(News([*ended, "D 1 state X undated"]).merged(catalogue)) == {"X": "ended"}


@given(LINES)
@settings(max_examples=150, deadline=None)
def test_one_fact_at_most_and_each_fact_is_told_by_enough_voices(
    catalogue: Catalogue, lines: list[str]
) -> None:
    news = News(lines)
    outcomes = news.merged(catalogue)
    found = facts(outcomes)
    assert len(found) <= 1
    assert len({o.object for o in outcomes}) == len(outcomes)
    by_id = {claim.id: claim for claim in news.claims}
    for fact in found:
        backing = [by_id[i] for i in fact.evidence]
        assert {c.object for c in backing} == {fact.object}
        assert {c.kind for c in backing} <= {"state", "change"}
        assert {news.articles[c.article_id].publisher for c in backing} >= set(fact.publishers)
        stories = {news.stories.get(c.article_id, c.article_id) for c in backing}
        assert min(len(stories), len(fact.publishers)) >= 2
        assert fact.valid_from == min(c.as_of for c in backing)
    for skip in outcomes:
        assert not isinstance(skip, Skip) or (skip.reason and set(skip.evidence) <= set(by_id))


@given(LINES, st.sampled_from("XYZ"))
@settings(max_examples=100, deadline=None)
def test_one_voice_cannot_make_a_fact(catalogue: Catalogue, lines: list[str], name: str) -> None:
    alone = [f"A{line[1:]}" for line in lines]
    assert not facts(News([*alone, f"A 1 change {name}"]).merged(catalogue))
    copies = [f"{line.split(' story')[0].split(' in=')[0]} story=w" for line in lines]
    assert not facts(News(copies).merged(catalogue))


@given(st.lists(st.tuples(st.sampled_from("ABCDE"), st.sampled_from("vwxyz")), max_size=10))
def test_voices_are_a_largest_matching(pairs: list[tuple[str, str]]) -> None:
    claim = Claim("c", *KEY, "X", "state", "a", "", NOW)
    found = voices(Evidence(claim, "x", publisher, story, NOW, NOW) for publisher, story in pairs)

    def best(publishers: tuple[str, ...], taken: frozenset[str]) -> int:
        if not publishers:
            return 0
        first, rest = publishers[0], publishers[1:]
        options = {s for p, s in pairs if p == first} - taken
        return max([best(rest, taken), *(1 + best(rest, taken | {s}) for s in options)])

    assert len(found) == best(tuple(sorted({p for p, _ in pairs})), frozenset())
    assert list(found) == sorted(set(found))


@given(st.text(max_size=20))
def test_folding_twice_is_folding_once_and_never_empty(name: str) -> None:
    assert fold(fold(name)) == fold(name)
    assert bool(fold(name)) == bool(name)
