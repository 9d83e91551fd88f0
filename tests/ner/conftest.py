"""One reader over a small catalogue and the shipped relations and pipeline, for all tests of extraction."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.catalogue import load_catalogue
from agent.ner.claims import Reader, make_reader
from agent.ner.load import EMBEDDED, load_nlp
from agent.relations import load_relations
from agent.types import Article, Claim

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
NOW = datetime(2026, 8, 20, 12, 0, tzinfo=UTC)


def article(text: str, title: str = "") -> Article:
    return Article("a1", "feed", "example.org", "https://example.org/1", title, text, NOW, NOW, "0" * 64)


@pytest.fixture(scope="session")
def reader() -> Reader:
    relations = load_relations(ROOT / "configs" / "relations.yaml")
    return make_reader(load_nlp(str(EMBEDDED)), load_catalogue([HERE / "world.yaml"]), relations)


@pytest.fixture(scope="session")
def read(reader: Reader) -> Callable[..., list[Claim]]:
    return lambda text, title="": reader.read(article(text, title))
