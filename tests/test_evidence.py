"""Whose voice a source is, and one feed's news from the file to the decider."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.catalogue import load_catalogue
from agent.evidence import LOCAL, channels, heard, voice_of
from agent.paths import data_file
from agent.policy import Policy
from agent.relations import load_relations
from agent.sources.fetch import fetch
from agent.sources.http import Client
from agent.store import articles
from agent.store.db import open_store
from agent.types import Claim, Fact, Skip, SourceSpec
from agent.voices import Channel

NOW = datetime(2025, 7, 1, 12, tzinfo=UTC)
KEY = ("Japan", "head_of_government")


@pytest.mark.parametrize(
    ("spec", "voice"),
    [
        (SourceSpec("a", "https://feeds.paper.co.uk/rss"), "paper.co.uk"),
        (SourceSpec("a", "https://feeds.paper.co.uk/rss", publisher="The Paper"), "The Paper"),
        (SourceSpec("a", "https://feeds.paper.co.uk/rss", publisher="  "), "paper.co.uk"),
        (SourceSpec("a", "/news/a.xml"), LOCAL),
        (SourceSpec("b", "file:///news/b.xml"), LOCAL),
        (SourceSpec("b", "wikidata:Q30"), "wikidata.org"),
        (SourceSpec("c", "http://127.0.0.1:8000/c.xml"), "127.0.0.1"),
    ],
)
def test_whose_voice_a_source_is(spec: SourceSpec, voice: str) -> None:
    assert voice_of(spec) == voice


def test_what_the_settings_say_of_each_source() -> None:
    pool = SourceSpec("pool", "https://x.example", aggregator=True)
    wire = SourceSpec("wire", "https://w.example", weight=2)
    assert channels((pool, wire)) == {"pool": Channel("", 1.0), "wire": Channel("w.example", 2.0)}


FORTY = "".join(
    f"<item><title>Number {n}</title><guid>{n}</guid><link>https://site{n}.example/{n}</link>"
    f"<description>{' '.join(f'w{n}x{m}' for m in range(12))}</description>"
    "<pubDate>Sun, 01 Jun 2025 10:00:00 GMT</pubDate></item>"
    for n in range(40)
)


@pytest.mark.parametrize("aggregator", [False, True])
def test_one_feed_under_forty_domains(tmp_path: Path, aggregator: bool) -> None:
    """One voice, unless the owner trusts the feed to name others truly."""
    path = tmp_path / "evil.xml"
    path.write_text(f'<rss version="2.0"><channel><title>t</title>{FORTY}</channel></rss>')
    spec = SourceSpec("evil", str(path), aggregator=aggregator)
    fetched = fetch(spec, None, Client(), NOW)
    assert len({article.publisher for article in fetched.articles}) == 40
    relations = load_relations(data_file("relations.yaml"))
    (tmp_path / "world.yaml").write_text("- {name: Japan, kind: country}\n")
    with open_store(tmp_path / "state", NOW, create_missing=True) as store:
        articles.add(store, fetched.articles)
        for n, article in enumerate(fetched.articles):
            claim = Claim(f"c{n}", *KEY, "Mallory Invented", "state", article.id, "", article.published_at)
            articles.add_claims(store, [claim], NOW)
        read = heard(store, [spec])
        (outcome,) = read.merged(Policy(), NOW, relations, load_catalogue([tmp_path / "world.yaml"]))
    if aggregator:
        assert isinstance(outcome, Fact) and len(outcome.publishers) == 40
    else:
        assert isinstance(outcome, Skip) and outcome.code == "uncorroborated"
        assert "only a local file says so" in outcome.reason and "credit 40 sites" in outcome.reason
