"""Whose voice counts, and how much: weights, sources that speak for others, copies."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.catalogue import Catalogue, load_catalogue
from agent.decide import merge
from agent.paths import data_file
from agent.policy import Policy
from agent.relations import load_relations
from agent.types import Article, Claim, Copy, Fact, Skip
from agent.voices import Channel, Evidence, enough, heft, voices

NOW = datetime(2025, 7, 1, 12, tzinfo=UTC)
KEY = ("Japan", "head_of_government")
RELATIONS = load_relations(data_file("relations.yaml"))
POLICY = Policy(max_age_days=None, cool_off_h=24.0)
CLAIM = Claim("c", *KEY, "X", "state", "a", "", NOW)
Told = tuple[str, str, float]


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    path: Path = tmp_path_factory.mktemp("world") / "world.yaml"
    path.write_text("- {name: Japan, kind: country}\n", encoding="utf-8")
    return load_catalogue([path])


def evidence(told: Iterable[Told]) -> list[Evidence]:
    return [Evidence(CLAIM, "x", who, story, NOW, NOW, weight=weight) for who, story, weight in told]


TOLD = st.lists(
    st.tuples(
        st.sampled_from("ABCDE"), st.sampled_from("vwxyz"), st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0])
    ),
    max_size=9,
)


def heaviest(told: Sequence[Told]) -> tuple[int, float]:
    """(number, weight) of the best set, by trying every assignment of a story, or none, to each publisher."""
    weights: dict[str, float] = {}
    stories: dict[str, set[str]] = {}
    for who, story, weight in told:
        if weight:
            weights[who] = max(weight, weights.get(who, 0.0))
            stories.setdefault(who, set()).add(story)
    best = (0, 0.0)
    for choice in product(*([None, *sorted(stories[who])] for who in sorted(stories))):
        taken = [story for story in choice if story]
        if len(taken) == len(set(taken)):
            chosen = [who for who, story in zip(sorted(stories), choice, strict=True) if story]
            best = max(best, (len(chosen), sum(weights[who] for who in chosen)))
    return best


@given(TOLD)
@settings(max_examples=200, deadline=None)
def test_the_voices_are_a_largest_set_and_the_heaviest_of_those(told: list[Told]) -> None:
    assert (len(voices(evidence(told))), heft(evidence(told))) == heaviest(told)


@given(TOLD, TOLD, st.integers(1, 4), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_further_evidence_never_takes_a_voice_away_and_order_does_not_matter(
    told: list[Told], more: list[Told], needed: int, rng: random.Random
) -> None:
    few, many = evidence(told), evidence([*told, *more])
    assert len(voices(many)) >= len(voices(few)) and heft(many) >= heft(few)
    assert enough(many, needed) or not enough(few, needed)
    shuffled = rng.sample(many, len(many))
    assert (voices(shuffled), heft(shuffled)) == (voices(many), heft(many))
    assert voices([*few, *evidence((who, story, 0.0) for who, story, _ in more)]) == voices(few)


@pytest.mark.parametrize(
    ("weights", "needed", "holds"),
    [
        ([1, 1], 2, True),
        ([2], 2, False),  # no weight stands in for a second publisher
        ([2, 0.1], 2, True),
        ([2, 1], 3, True),
        ([2, 0], 2, False),
        ([0.5, 1], 2, False),
        ([0.5] * 4, 2, True),
        ([0.1] * 10, 1, True),
        ([0.5], 1, False),
        ([1], 1, True),
    ],
)
def test_how_much_is_enough(weights: list[float], needed: int, holds: bool) -> None:
    told = [(f"P{n}", f"s{n}", weight) for n, weight in enumerate(weights)]
    assert enough(evidence(told), needed) == holds


# Through the decider ----------------------------------------------------------------------------------------


class Read:
    """Claims that came through sources: `(source, publisher, object)`, each an article of its own."""

    def __init__(self, *lines: tuple[str, str, str], days: int = 10, kind: str = "state") -> None:
        self.claims: list[Claim] = []
        self.articles: dict[str, Article] = {}
        for number, (source, publisher, name) in enumerate(lines):
            at = NOW - timedelta(days=days, minutes=number)
            self.articles[f"a{number}"] = Article(
                id=f"a{number}", source=source, publisher=publisher, url="", title="", text="",
                published_at=at, fetched_at=NOW, sha256=str(number),
            )  # fmt: skip
            self.claims.append(Claim(f"c{number:03}", *KEY, name, kind, f"a{number}", "", at))  # type: ignore[arg-type]

    def merged(
        self,
        catalogue: Catalogue,
        channels: Mapping[str, Channel] | None,
        copies: Mapping[str, Sequence[Copy]] | None = None,
        policy: Policy = POLICY,
    ) -> list[Fact | Skip]:
        return merge(
            self.claims, self.articles, policy, NOW, clusters={}, relations=RELATIONS,
            catalogue=catalogue, channels=channels, copies=copies,
        )  # fmt: skip


FORTY = [("evil", f"site{n}.example", "X") for n in range(40)]


def test_a_feed_that_prints_a_claim_under_forty_names_is_one_voice(catalogue: Catalogue) -> None:
    (skip,) = Read(*FORTY).merged(catalogue, {"evil": Channel("evil.example")})
    assert isinstance(skip, Skip) and skip.code == "uncorroborated"
    assert "only evil.example says so" in skip.reason and "credit 40 sites" in skip.reason


def test_nor_does_it_borrow_the_voice_of_a_paper_that_is_read(catalogue: Catalogue) -> None:
    """Neither to confirm its own claim, nor to have the paper say something else."""
    channels = {"evil": Channel("evil.example"), "paper": Channel("paper.example"), "b": Channel("b.example")}
    lines = [("paper", "paper.example", "Y"), ("b", "b.example", "Y"), ("evil", "paper.example", "Z")]
    told = {o.object: o for o in Read(*lines).merged(catalogue, channels)}
    assert isinstance(told["Y"], Fact) and told["Y"].publishers == ("b.example", "paper.example")
    assert isinstance(told["Z"], Skip)


def test_an_aggregator_speaks_for_those_whom_it_names_where_the_owner_says_so(catalogue: Catalogue) -> None:
    read = Read(("pool", "reuters.com", "X"), ("pool", "bloomberg.com", "X"))
    (fact,) = read.merged(catalogue, {"pool": Channel()})
    assert isinstance(fact, Fact) and fact.publishers == ("bloomberg.com", "reuters.com")


def test_two_feeds_of_one_site_are_one_voice(catalogue: Catalogue) -> None:
    read = Read(("world", "paper.example", "X"), ("business", "paper.example", "X"))
    channels = {"world": Channel("paper.example"), "business": Channel("paper.example")}
    (skip,) = read.merged(catalogue, channels)
    assert isinstance(skip, Skip) and skip.code == "uncorroborated"


def test_a_publisher_weighs_what_its_heaviest_source_weighs(catalogue: Catalogue) -> None:
    read = Read(("blog", "x.example", "X"), ("pool", "a.example", "X"), ("wire", "a.example", "X"))
    channels = {"blog": Channel("x.example"), "pool": Channel(weight=0.5), "wire": Channel("a.example")}
    (fact,) = read.merged(catalogue, channels)
    assert isinstance(fact, Fact)
    del read.claims[2]
    (skip,) = read.merged(catalogue, channels)
    assert isinstance(skip, Skip) and "with weight 1.5 together; 2 is needed" in skip.reason


def test_a_wire_of_weight_two_is_not_two_publishers(catalogue: Catalogue) -> None:
    (skip,) = Read(("wire", "w", "X")).merged(catalogue, {"wire": Channel("w", 2.0)})
    assert isinstance(skip, Skip) and skip.code == "uncorroborated"
    assert skip.reason.endswith("with weight 2 together; 2 of two publishers at least is needed")


def test_what_only_voiceless_sources_say_is_listed(catalogue: Catalogue) -> None:
    read = Read(
        ("a", "a", "X"), ("b", "b", "X"), ("gossip", "g", "X"), ("gossip", "g", "Z"), ("gone", "h", "Z")
    )
    channels = {"a": Channel("a"), "b": Channel("b"), "gossip": Channel("g", 0.0)}
    fact, skip = read.merged(catalogue, channels)
    assert isinstance(fact, Fact) and fact.publishers == ("a", "b") and fact.evidence == ("c001", "c000")
    assert isinstance(skip, Skip) and (skip.object, skip.code) == ("Z", "no_voice")
    assert skip.reason.startswith("only g and h say so")


def test_a_copy_that_came_first_does_not_silence_the_paper(catalogue: Catalogue) -> None:
    """The text is stored once, as it first came; the further way by which it came still speaks."""
    read = Read(("gossip", "g", "X"), ("b", "b", "X"))
    channels = {"a": Channel("a"), "b": Channel("b"), "gossip": Channel("g", 0.0)}
    assert not [o for o in read.merged(catalogue, channels) if isinstance(o, Fact)]
    (fact,) = read.merged(catalogue, channels, {"a0": [Copy("a", "a")]})
    assert isinstance(fact, Fact) and fact.publishers == ("a", "b")


def test_however_many_ways_one_text_came_by_it_is_one_voice(catalogue: Catalogue) -> None:
    read = Read(("a", "a", "X"))
    channels = {name: Channel(name) for name in "abc"}
    (skip,) = read.merged(catalogue, channels, {"a0": [Copy("b", "b"), Copy("c", "c")]})
    assert isinstance(skip, Skip) and skip.code == "uncorroborated"


LINES = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd"), st.sampled_from("XYZ")), max_size=8
)


@given(LINES, LINES, st.sampled_from(["state", "change", "end", "hedged"]), st.integers(1, 40))
@settings(max_examples=150, deadline=None)
def test_a_source_of_weight_zero_changes_nothing(
    catalogue: Catalogue,
    lines: list[tuple[str, str, str]],
    more: list[tuple[str, str, str]],
    kind: str,
    days: int,
) -> None:
    channels = {**{name: Channel(name) for name in "abcd"}, "mute": Channel("", 0.0)}
    read, rest = Read(*lines), Read(*(("mute", who, name) for _, who, name in more), days=days, kind=kind)
    before = read.merged(catalogue, channels)
    for claim in rest.claims:
        article = rest.articles[claim.article_id]
        read.articles[f"m{article.id}"] = replace(article, id=f"m{article.id}")
        read.claims.append(replace(claim, id=f"m{claim.id}", article_id=f"m{article.id}"))
    after = read.merged(catalogue, channels)
    assert [o for o in after if isinstance(o, Fact) or o.code != "no_voice"] == before


@given(LINES)
@settings(max_examples=100, deadline=None)
def test_one_source_alone_never_makes_a_fact(catalogue: Catalogue, lines: list[tuple[str, str, str]]) -> None:
    read = Read(*(("evil", who, name) for _, who, name in lines))
    assert not [o for o in read.merged(catalogue, {"evil": Channel("evil.example")}) if isinstance(o, Fact)]
