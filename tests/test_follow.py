"""What is followed on Wikidata, that the reader takes its sentences for certain, and that it is one vote among others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.catalogue import Catalogue, load_catalogue
from agent.cli.main import main
from agent.config import load
from agent.decide import merge
from agent.errors import ConfigError
from agent.follow import followed, sentence
from agent.ner.claims import Reader, make_reader
from agent.ner.load import load_nlp
from agent.paths import MORE, WORLD, data_file
from agent.pipeline import fetch, read
from agent.pipeline import merge as merge_all
from agent.policy import Policy
from agent.relations import load_relations
from agent.settings import Settings
from agent.sources.items import Context
from agent.sources.wikidata_read import Found, Wanted, to_articles
from agent.store import articles
from agent.store.db import open_store
from agent.types import Article, Claim, Fact, Skip, SourceSpec
from agent.wikibase import Statement
from agent.workshop import Workshop
from tests.sources.wikibase import URL, Wikibase, claim, item, serving

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
RELATIONS = load_relations(data_file("relations.yaml"))
SPEC = SourceSpec("wd", "wikidata:recent")


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue([WORLD, MORE])


@pytest.fixture(scope="module")
def reader(catalogue: Catalogue) -> Reader:
    return make_reader(load_nlp(), catalogue, RELATIONS)


def article(wanted: Wanted, name: str, start: str = "+2026-02-01T00:00:00Z") -> Article:
    """What the source makes of a statement with that value."""
    statement = Statement(
        "Q1$A-1", wanted.property_id, "normal", "value", "Q2", {"P580": (("value", start),)},
        ((("P854", "https://paper.example/"),),),
    )  # fmt: skip
    (one,), notes = to_articles([Found("Q1", wanted, (statement,), {"Q2": name}, None)], Context(SPEC, NOW))
    assert not notes
    return one


def told(claims: list[Claim]) -> list[tuple[str, str, str, str]]:
    return [(c.subject, c.relation, c.object, c.kind) for c in claims]


def test_the_shipped_world_is_followed(catalogue: Catalogue) -> None:
    items = followed(RELATIONS, catalogue).items
    assert len(items) >= 230
    assert {w.relation: w.sentence for w in items["Q17"]} == {
        "capital": "{object} is the capital of Japan",
        "head_of_state": "{object} is the emperor of Japan",
        "head_of_government": "{object} is the prime minister of Japan",
    }
    assert {w.relation: w.property_id for w in items["Q44294"]} == {
        "ceo": "P169", "chairperson": "P488", "headquarters": "P159",
    }  # fmt: skip


def test_only_what_may_be_edited_and_has_one_answer_is_followed(catalogue: Catalogue) -> None:
    relations = {w.relation for ws in followed(RELATIONS, catalogue).items.values() for w in ws}
    assert relations and all(RELATIONS[r].policy.editable for r in relations)
    assert all(RELATIONS[r].cardinality == "one" for r in relations)


def test_every_sentence_is_read_for_certain(catalogue: Catalogue, reader: Reader) -> None:
    """Every fifth subject of the catalogue (all 2,609 were read right when this was written), and all countries."""
    entities = [e for n, e in enumerate(catalogue.entities.values()) if n % 5 == 0 or e.kind == "country"]
    cases = [
        (
            Wanted(r.name, r.wikidata, e.name, sentence(r, e)),
            "Haruko Tanabe" if "PERSON" in r.object else "Elmford",
        )
        for e in entities
        for r in RELATIONS.values()
        if r.wikidata and r.cardinality == "one" and r.policy.editable and e.kind in r.kinds
        if r.statement or r.title
    ]
    assert len(cases) > 600
    for (wanted, name), claims in zip(cases, reader.read_many(article(*c) for c in cases), strict=True):
        assert told(claims) == [(wanted.subject, wanted.relation, name, "state")], wanted.sentence


@pytest.mark.parametrize(
    "name", ["Charles III", "Frederik X", "Xi Jinping", "Abdel Fattah el-Sisi", "Naruhito", "Bashar al-Assad",
             "C. C. Wei", "Tamim bin Hamad Al Thani", "Kim Jong Un", "Lai Ching-te"],
)  # fmt: skip
def test_names_of_all_sorts_are_read_whole(reader: Reader, name: str) -> None:
    wanted = Wanted("head_of_government", "P6", "Japan", "{object} is the prime minister of Japan")
    assert told(reader.read(article(wanted, name))) == [("Japan", "head_of_government", name, "state")]


PM = Wanted("head_of_government", "P6", "Japan", "{object} is the prime minister of Japan")


def outcomes(items: list[Article], reader: Reader, catalogue: Catalogue) -> list[Fact | Skip]:
    claims = [c for one in items for c in reader.read(one)]
    return merge(
        claims, {one.id: one for one in items}, Policy(), NOW,
        clusters={}, relations=RELATIONS, catalogue=catalogue,
    )  # fmt: skip


def test_wikidata_alone_is_never_enough(reader: Reader, catalogue: Catalogue) -> None:
    """However many statements say it, in however many polls and through both ways of asking."""
    one = article(PM, "Haruko Tanabe")
    more = [replace(one, id=f"other-{n}", source=f"wd{n}", sha256=str(n)) for n in range(5)]
    (outcome,) = outcomes([one, *more], reader, catalogue)
    assert isinstance(outcome, Skip) and outcome.code == "uncorroborated"
    assert "wikidata.org" in outcome.reason


def test_wikidata_and_a_paper_are_two_voices(reader: Reader, catalogue: Catalogue) -> None:
    paper = Article(
        "p1", "paper", "paper.example", "", "", "Japanese Prime Minister Haruko Tanabe spoke in Tokyo on Monday.",
        NOW - timedelta(days=20), NOW - timedelta(days=20), "p1",
    )  # fmt: skip
    (fact,) = outcomes([article(PM, "Haruko Tanabe"), paper], reader, catalogue)
    assert isinstance(fact, Fact) and fact.object == "Haruko Tanabe"
    assert fact.publishers == ("paper.example", "wikidata.org")
    assert {o.object for o in outcomes([article(PM, "Kenji Ono"), paper], reader, catalogue)
            if isinstance(o, Skip)} == {"Kenji Ono", "Haruko Tanabe"}  # fmt: skip


def test_a_successor_takes_the_vote_over(reader: Reader, catalogue: Catalogue) -> None:
    papers = [
        Article(f"p{n}", "paper", "paper.example", "", "", "Japanese Prime Minister Kenji Ono spoke on Monday.",
                NOW - timedelta(days=n), NOW - timedelta(days=n), f"p{n}")
        for n in (2, 3)
    ]  # fmt: skip
    before = article(PM, "Haruko Tanabe", "+2026-01-01T00:00:00Z")
    after = replace(article(PM, "Kenji Ono"), id="after")
    found = outcomes([before, after, *papers], reader, catalogue)
    assert [o.object for o in found if isinstance(o, Fact)] == ["Kenji Ono"]


def test_one_line_of_settings_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "factd.yaml").write_text(
        'sources:\n  - {name: wikidata, url: "wikidata:recent?contact=me@example.org"}\n'
    )
    assert [s.url for s in load(environ={}).sources] == ["wikidata:recent?contact=me@example.org"]


@pytest.mark.parametrize(
    "statement",
    ["{object} is it", "{object} of {subject} and {subject}", "the {title} of {subject} is {object}", "{x}"],
)
def test_a_statement_names_subject_and_object_once(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        f'capital: {{subject: [GPE], object: [GPE], edit: ["{{subject}} is"], probes: ["{{subject}} was"], '
        f'statement: "{statement}"}}'
    )
    with pytest.raises(ConfigError, match="statement"):
        load_relations(path)


@pytest.fixture
def wikibase() -> Iterator[Wikibase]:
    with serving(Wikibase()) as server:
        statement = claim("Q100", URL, P580="+2026-02-01T00:00:00Z")
        server.add(item("Q17", "Japan", statement), item("Q100", "Haruko Tanabe"))
        yield server


def test_the_pipeline_polls_it_like_any_source(
    wikibase: Wikibase, catalogue: Catalogue, tmp_path: Path
) -> None:
    spec = SourceSpec("wd", f"wikidata:recent?endpoint={wikibase.url}", allow_private=True)
    settings = Settings(state=tmp_path, sources=(spec,))
    with open_store(tmp_path, NOW, create_missing=True) as store:
        shop = Workshop(settings, store, RELATIONS, catalogue, lambda: NOW)
        (first,) = fetch(shop)
        assert (first.status, [a.title for a in first.articles]) == (
            "ok", ["Haruko Tanabe is the prime minister of Japan"],
        )  # fmt: skip
        assert read(shop).claims == 1 and list(fetch(shop)) == []  # not due
        (second,) = fetch(shop, everything=True)
        assert second.articles == () and articles.count(store) == 1
        (skip,) = merge_all(shop)
        assert isinstance(skip, Skip) and skip.code == "uncorroborated"


def test_a_person_adds_it_in_one_line(
    wikibase: Wikibase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "factd.yaml"
    path.write_text("state: state\nsources: []\n")
    url = f"wikidata:recent?endpoint={wikibase.url}"
    assert main(["--config", str(path), "feeds", "add", url, "--allow-private"]) == 0
    assert [(s.name, s.url) for s in load(path, environ={}).sources] == [("wikidata", url)]
    assert main(["--config", str(path), "feeds", "check"]) == 0
    assert "ok    wikidata: " in capsys.readouterr().out
