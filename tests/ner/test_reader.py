"""What holds for any text: no exception, stable ids, evidence in the article, times that do not run ahead."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.catalogue import load_catalogue
from agent.errors import ConfigError, ModelError
from agent.ner.claims import Reader, read
from agent.ner.load import EMBEDDED, load_nlp
from agent.ner.news_patterns import news_patterns
from agent.relations import load_relations
from agent.types import Claim
from benchmarks.news.judge import judge, summary
from benchmarks.news.labels import read_items, read_labels
from tests.ner.conftest import HERE, NOW, ROOT, article

Read = Callable[..., list[Claim]]
PIECES = (
    *[
        "Japanese",
        "president",
        "of",
        "the",
        "CEO",
        ",",
        "'s",
        "’s",
        "Ford",
        "Boeing",
        "named",
        "as",
        "replacing",
        "former",
    ],
    *["acting", "may", ".", "?", "(", "<P0>", "<R1>", "U.S."],
    *[
        "governor",
        "-based",
        "Oslo",
        "King",
        "/",
        "&",
        "&amp;",
        "1984",
        "capital",
        "日本",
        "é",
        "😀",
        "\u202e",
        "\x00",
    ],
    *("Prime Minister", "Jane Roe", "sworn in", "central bank", "moved its headquarters to", "\n", "X" * 50),
    *('"', "chairman and chief executive", "was elected", "to succeed", "who is", ", 54 ,"),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.one_of(st.text(max_size=400), st.lists(st.sampled_from(PIECES), max_size=40).map(" ".join)),
    title=st.text(max_size=80),
)
def test_any_text_is_read_without_an_exception(text: str, title: str, reader: Reader) -> None:
    for claim in reader.read(article(text, title)):
        assert claim.subject and claim.object and 0.0 <= claim.score <= 1.0
        assert claim.as_of <= NOW


def test_a_claim_carries_its_evidence(read: Read) -> None:
    (claim,) = read("Rain fell. Ford CEO Dana Pruitt spoke. It was late.")
    assert claim.sentence == "Ford CEO Dana Pruitt spoke."
    assert claim.article_id == "a1"
    assert claim.as_of == NOW


def test_ids_are_stable_and_distinct(read: Read) -> None:
    text = "Ford CEO Dana Pruitt met Boeing CEO Lena Marchetti."
    first, again = read(text), read(text)
    assert [c.id for c in first] == [c.id for c in again]
    assert len({c.id for c in first}) == 2


def test_many_articles_give_the_same_as_one_by_one(reader: Reader) -> None:
    texts = ["Ford CEO Dana Pruitt spoke.", "No news.", "", "Boeing names Lena Marchetti CEO"] * 20
    articles = [article(t) for t in texts]
    assert list(reader.read_many(articles)) == [reader.read(a) for a in articles]


def test_the_plain_function_reads_one_article(reader: Reader) -> None:
    relations = load_relations(ROOT / "configs" / "relations.yaml")
    claims = read(
        article("Ford CEO Dana Pruitt spoke."), reader.nlp, load_catalogue([HERE / "world.yaml"]), relations
    )
    assert [(c.subject, c.object) for c in claims] == [("Ford", "Dana Pruitt")]


def test_a_short_name_takes_the_full_one_of_the_article(read: Read) -> None:
    claims = read(
        "Lena Marchetti arrived late. Boeing CEO Marchetti blamed the weather.", "Boeing CEO Marchetti late"
    )
    assert {c.object for c in claims} == {"Lena Marchetti"}


def test_a_name_known_to_the_catalogue_takes_its_spelling(read: Read) -> None:
    (claim,) = read("Bolivian President Jose Quiroga Paz spoke in La Paz.")
    assert claim.object == "José Quiroga Paz"


def test_a_lone_surname_is_nobody_elses(read: Read) -> None:
    assert all(c.object != "Volodymyr Zelensky" for c in read("Ford CEO Zelensky spoke."))


def test_a_headline_in_capitals_counts_only_with_its_body(read: Read) -> None:
    claims = read(
        "Boeing CEO Lena Marchetti said demand was strong.",
        "Boeing CEO Marchetti Sees Strong Demand as Airlines Return",
    )
    assert {(c.subject, c.object) for c in claims} == {("Boeing", "Lena Marchetti")}


def test_a_past_year_dates_the_event_not_the_holder(read: Read) -> None:
    (event,) = read("Lena Marchetti was appointed chief executive of Boeing in 2019.")
    assert event.as_of.year == 2019
    (holder,) = read("Boeing CEO Lena Marchetti founded a charity in 2019.")
    assert holder.as_of == NOW


def test_a_president_without_a_country_is_left_alone_where_two_are_named(read: Read) -> None:
    assert read("Talks between Serbia and Mexico will resume, President Walter Hobbs said.") == []


def test_a_homonym_subject_gives_no_claim(read: Read) -> None:
    assert read("Rangers manager Tom Ferris praised his players.") == []


def test_a_wrong_pipeline_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no_such_pipeline"):
        load_nlp("no_such_pipeline")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_nlp(str(tmp_path))


def test_the_embedded_pipeline_is_small_and_finds_names() -> None:
    assert sum(f.stat().st_size for f in EMBEDDED.rglob("*") if f.is_file()) < 7 * 2**20
    doc = load_nlp(str(EMBEDDED))("Maria Hernandez joined Northern Steel Corp. in Chicago.")
    assert {e.label_ for e in doc.ents} >= {"PERSON"}


@pytest.mark.parametrize("pattern", ["{subject} moved", "{subject} ( {object}"])
def test_a_bad_news_pattern_names_its_relation(pattern: str) -> None:
    relations = load_relations(ROOT / "configs" / "relations.yaml")
    broken = {"capital": replace(relations["capital"], news={"state": (pattern,)})}
    with pytest.raises(ConfigError, match="capital"):
        news_patterns(broken)


def test_the_benchmark_counts_right_wrong_and_missed(reader: Reader, tmp_path: Path) -> None:
    items, labels = tmp_path / "items.jsonl", tmp_path / "labels.jsonl"
    rows = [
        ("1", "Ford CEO Dana Pruitt spoke.", [("ceo", "Ford Inc.", "Dana Pruitt", "state", True)]),
        ("2", "Boeing CEO Lena Marchetti spoke.", [("ceo", "Boeing", "L. Marchetti", "state", False)]),
        (
            "3",
            "Nokia CFO Piia Lehto spoke.",
            [("cfo", "Nokia", "Somebody Else", "end", True), ("owner", "A", "B", "state", True)],
        ),
    ]
    at = "Wed, 19 Aug 2026 07:16:07 +0000"
    common = {"publisher": "p", "published": at, "title": "", "link": ""}
    entries = [{"id": i, "summary": text, **common} for i, text, _ in rows]
    items.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    keys = ("relation", "subject", "object", "kind", "explicit")
    facts = [{"id": i, "facts": [dict(zip(keys, f, strict=True)) for f in fs]} for i, _, fs in rows]
    labels.write_text("".join(json.dumps(row) + "\n" for row in facts), encoding="utf-8")
    articles = list(read_items(items))
    counts, errors = judge(articles, reader.read_many(articles), read_labels(labels), reader.linker)
    totals, _ = summary(counts)
    assert (totals["state"]["tp"], totals["state"]["fp"], totals["end"]["fn"]) == (1, 1, 1)
    assert {e["error"] for e in errors} == {"fp", "fn"}


def test_a_pipeline_keeps_no_word_that_it_met(reader: Reader) -> None:
    """Or a daemon that reads for years grows by every new name."""
    assert reader.read(article("Ford named Jane Roe as its chief executive on Monday."))

    def kept() -> tuple[int, int]:
        return len(reader.nlp.vocab.strings), sum(1 for _ in reader.nlp.vocab)

    before = kept()
    for number in range(40):
        word = "".join(chr(ord("a") + int(digit)) for digit in str(1234567 + 7919 * number))
        told = reader.read(article(f"Ford named Jane {word.title()} as its chief executive on Monday."))
        assert [claim.object for claim in told] == [f"Jane {word.title()}"]
    assert kept() == before
