"""Which articles an extractor reads, when it reads them again, and what is left when its model fails."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from agent.catalogue import Catalogue, load_catalogue
from agent.errors import ConfigError
from agent.ner.claims import Reader, make_reader
from agent.ner.load import EMBEDDED, load_nlp
from agent.reading import Reading, key_of, read_unread
from agent.relations import Relation, load_relations
from agent.settings import ExtractorSettings, Settings
from agent.store import articles
from agent.store.db import Store, open_store
from agent.types import Article
from tests.chat_server import ChatServer, serving
from tests.ner.conftest import HERE, NOW, ROOT

# The rules read the first, the stand-in for a model the last, both the one between.
TEXTS = (
    "Ford CEO Dana Pruitt spoke.",
    "Boeing chief executive Lena Marchetti spoke.",
    "It was once more said that Zetaflux was well led. Nordwind is steered by Ann Ruiz.",
)


@dataclass
class Shop:
    """What reading needs of a workshop, with a clock that goes on."""

    store: Store
    settings: Settings
    relations: dict[str, Relation]
    catalogue: Catalogue
    now: datetime = NOW
    stages: list[str] = field(default_factory=list)

    def clock(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def progress(self, stage: str, _done: int, _total: int) -> None:
        self.stages.append(stage)

    def reader(self) -> Reader:
        return make_reader(load_nlp(self.settings.ner), self.catalogue, self.relations)

    def read(self, rules: str = "r1", **extractor: object) -> Reading:
        self.settings = replace(self.settings, extractor=replace(self.settings.extractor, **extractor))  # type: ignore[arg-type]
        return read_unread(self, rules)  # type: ignore[arg-type]

    def held(self) -> dict[str, float]:
        """The objects of the claims that hold, with their scores."""
        return {c.object: c.score for c in articles.claims(self.store)}


def item(number: int, text: str) -> Article:
    at = NOW - timedelta(hours=number)
    return Article(f"f:{number}", "f", "p.example", "", f"Story {number}", text, at, at, f"{number:064d}")


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with serving() as found:
        yield found


@pytest.fixture
def shop(server: ChatServer, tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path / "state", server.url) as found:
        yield found


@contextmanager
def open_shop(folder: Path, url: str) -> Iterator[Shop]:
    extractor = ExtractorSettings(url=url, model="stand-in", timeout_s=10)
    settings = Settings(ner=str(EMBEDDED), extractor=extractor)
    relations = load_relations(ROOT / "configs" / "relations.yaml")
    with open_store(folder, NOW, create_missing=True) as store:
        articles.add(store, [item(n, text) for n, text in enumerate(TEXTS)])
        yield Shop(store, settings, relations, load_catalogue([HERE / "world.yaml"]))


def test_it_is_off_by_default_and_nothing_of_it_is_imported_then(server: ChatServer, tmp_path: Path) -> None:
    """In a process of its own, since other tests do import it."""
    assert Settings().extractor.kind == "rules"
    code = (
        "import sys; from pathlib import Path; from tests.test_reading import open_shop\n"
        f"with open_shop(Path({str(tmp_path / 'state')!r}), {server.url!r}) as shop: print(shop.read())\n"
        "print(*sorted(m for m in sys.modules if m.startswith('agent.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    reading, modules = done.stdout.splitlines()
    assert reading.startswith("Reading(claims=2, asked=0")
    assert not set(modules.split()) & {
        "agent.ner.llm",
        "agent.ner.checked",
        "agent.ner.prompt",
        "agent.sources.chat",
    }
    assert server.requests == []


def test_both_keep_what_either_finds_and_note_agreement(shop: Shop) -> None:
    shop.read()
    alone = shop.held()
    found = shop.read(kind="both")
    assert (found.asked, found.failed, found.waiting) == (3, (), 0)
    held = shop.held()
    assert set(held) == {"Dana Pruitt", "Lena Marchetti", "Ann Ruiz"}
    assert held["Dana Pruitt"] == alone["Dana Pruitt"]
    assert held["Lena Marchetti"] > alone["Lena Marchetti"]
    assert shop.read() == Reading()


def test_the_model_alone(shop: Shop) -> None:
    assert shop.read(kind="llm").claims == 2
    assert set(shop.held()) == {"Lena Marchetti", "Ann Ruiz"}
    assert "read" not in shop.stages


def test_another_model_another_version_and_another_kind_read_again(shop: Shop) -> None:
    assert shop.read(kind="both").asked == 3
    assert shop.read(model="another").asked == 3
    assert shop.read(timeout_s=9.0, max_articles=7).asked == 0
    assert shop.read("r2").asked == 3
    assert shop.read("r2", kind="llm").asked == 3
    assert shop.read("r3").asked == 0
    assert shop.read("r3", kind="both").asked == 3


def test_going_back_to_the_rules_takes_the_models_claims_back(shop: Shop) -> None:
    shop.read()
    before = shop.held()
    shop.read(kind="both")
    assert shop.held() != before
    shop.read(kind="rules")
    assert shop.held() == before


@pytest.mark.parametrize("manner", ["error", "prose", "broken", "endless"])
def test_a_failed_article_is_asked_about_again_and_the_others_are_kept(
    server: ChatServer, shop: Shop, manner: str
) -> None:
    server.by_title = {"Story 2": manner}
    found = shop.read(kind="both")
    assert (found.asked, len(found.failed), found.waiting) == (3, 1, 1)
    assert {"Dana Pruitt", "Lena Marchetti"} <= set(shop.held())
    server.by_title, server.requests[:] = {}, []
    assert shop.read(kind="both").failed == ()
    assert [a["title"] for a in server.articles()] == ["Story 2"]
    assert "Ann Ruiz" in shop.held()


def test_a_server_that_is_away_costs_three_questions_and_none_of_the_rules_claims(
    server: ChatServer, shop: Shop
) -> None:
    articles.add(shop.store, [item(n, f"Nothing happened {n} times.") for n in range(10, 20)])
    server.manner = "error"
    found = shop.read(kind="both")
    assert (found.asked, len(found.failed), found.waiting) == (3, 3, 13)
    assert {"Dana Pruitt", "Lena Marchetti"} <= set(shop.held())
    server.manner = "honoured"
    assert shop.read(kind="both").waiting == 0 and "Ann Ruiz" in shop.held()


def test_a_round_asks_about_so_many_and_the_rest_has_its_turn(server: ChatServer, shop: Shop) -> None:
    articles.add(shop.store, [item(n, f"Nothing happened {n} times.") for n in range(10, 20)])
    assert [shop.read(kind="both", max_articles=5).waiting for _ in range(3)] == [8, 3, 0]
    titles = [a["title"] for a in server.articles()]
    assert len(titles) == len(set(titles)) == 13


def test_articles_that_always_fail_do_not_keep_the_others_waiting(server: ChatServer, shop: Shop) -> None:
    more = [item(n, f"Nothing happened {n} times.") for n in range(10, 20)]
    articles.add(shop.store, more)
    server.by_title = {article.title: "prose" for article in more}
    for _ in range(40):
        if shop.read(kind="llm", max_articles=2).waiting == len(more):
            break
    assert set(shop.held()) == {"Lena Marchetti", "Ann Ruiz"}


def test_a_key_that_is_not_set_is_a_clear_error() -> None:
    settings = ExtractorSettings(key_variable="LLM_KEY")
    assert key_of(settings, {"LLM_KEY": " abc "}) == "abc"
    assert key_of(ExtractorSettings(), {"LLM_KEY": "abc"}) == ""
    for value in ({}, {"LLM_KEY": ""}, {"LLM_KEY": "abc\ndef"}):
        with pytest.raises(ConfigError, match="LLM_KEY") as caught:
            key_of(settings, value)
        assert "abc" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kind": "llm"}, "model must name"),
        ({"kind": "both", "model": " "}, "model must name"),
        ({"url": "ftp://host/v1"}, "http"),
        ({"url": "http://"}, "http"),
        ({"url": "http://user:hunter2@host/v1"}, "without login"),
        ({"url": "http://host:99999/v1"}, "http"),
        ({"url": "http://host/v1?key=hunter2"}, "query"),
        ({"key_variable": "sk-hunter2"}, "must not stand in a settings file"),
        ({"key_variable": "FACTD_KEY"}, "FACTD_"),
        ({"timeout_s": 0.0}, "timeout_s"),
        ({"timeout_s": float("nan")}, "timeout_s"),
        ({"max_articles": 0}, "max_articles"),
    ],
)
def test_settings_that_cannot_work_are_refused_and_no_secret_is_shown(
    values: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        ExtractorSettings(**values)  # type: ignore[arg-type]
    assert "hunter2" not in str(caught.value)
