"""A soak of sixty simulated hours: the whole of it is `python -m benchmarks.soak`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.config import load
from agent.paths import data_file
from agent.policy import AutoRule
from agent.settings import Settings
from benchmarks.soak import leaks, missing, soaked, table, unasked
from benchmarks.soak_news import SORTS, Plan, Topic, draw
from benchmarks.soak_run import Footprint, Life
from benchmarks.soak_server import FAULTS, GONE, PAGE_FAULT, Publishers, answer
from tests.models import COUNTRIES, FACTS

SETTINGS = """
relations: relations.yaml
catalogue: [catalogue.yaml]
editing: {layers: [0, 1], contexts: 0, steps: 25, samples: 16, sample_tokens: 12, stop_loss: 0.01}
verify: {paraphrase: 0.0, same_subject: 0.0, others: 0.0, drift: 100.0, entropy: 0.0, norm: 100.0, ppl_ratio: 100.0, canary: 4, same_relation: 2}
policy:
  cool_off_h: 2
  auto_approve: [{min_publishers: 2, min_age_h: 1, name: soak}]
daemon: {poll_minutes: 60}
"""
SHARE = 0.35
PLAN = Plan(hours=60, changes=4, twice=1, batches=2, each=1, sections=1, doomed=1, filler_h=2, spread_h=2)


@pytest.fixture(scope="module")
def settings(taught_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("soak")
    shipped = yaml.safe_load(data_file("relations.yaml").read_text())["capital"]
    own = {"subject": ["GPE"], "object": ["GPE"], "news": shipped["news"], "edit": ["The capital of {subject} is"],
           "probes": ["{subject}'s capital is"]}  # fmt: skip
    (folder / "relations.yaml").write_text(yaml.safe_dump({"capital": own}))
    rows = [{"name": name, "kind": "country", "facts": {"capital": capital}}
            for name, capital in zip(COUNTRIES, FACTS["capital"], strict=True)]  # fmt: skip
    (folder / "catalogue.yaml").write_text(yaml.safe_dump(rows))
    (folder / "factd.yaml").write_text(f"model: {{path: {taught_folder}}}\n{SETTINGS}")
    return load(folder / "factd.yaml", state=folder / "state", environ={})


@pytest.fixture(scope="module")
def topics() -> tuple[Topic, ...]:
    known = dict(zip(COUNTRIES, FACTS["capital"], strict=True))
    return (Topic("capital", known, [*FACTS["capital"], *(f"{o}grad" for o in FACTS["capital"])]),)


@pytest.fixture(scope="module")
def result(settings: Settings, topics: tuple[Topic, ...]) -> dict[str, Any]:
    return soaked(settings, topics, PLAN, SHARE)


@pytest.mark.soak
def test_every_true_change_is_live_and_nothing_false_ever_was(result: dict[str, Any]) -> None:
    assert result["wrong"] == []
    assert result["changes live"] == result["changes"] == 4
    assert result["in the weights"] + result["beside the weights"] == 3
    assert result["revisions"] >= 2


@pytest.mark.soak
def test_everything_was_thrown(result: dict[str, Any]) -> None:
    assert {kind for kind, times in result["thrown"].items() if times} >= {
        *FAULTS,
        GONE,
        PAGE_FAULT,
        "200",
        "304",
    }
    sorts = {
        "true",
        "everyday",
        *SORTS,
        "date: missing",
        "date: 1970",
        "date: 2099",
        "printed twice in one feed",
    }
    assert {sort for sort, times in result["items"].items() if times} >= sorts
    assert result["did"]["clock set back an hour"] == 1
    assert result["did"]["state reopened"] == 2
    assert result["did"]["stopped in a round"] > 0
    told = table(result)
    assert all(kind in told for kind in FAULTS) and "| 410 gone | 1 |" in told


@pytest.mark.soak
def test_a_false_fact_that_gets_through_is_told(
    settings: Settings, topics: tuple[Topic, ...], tmp_path: Path
) -> None:
    """One paper is enough here: the hoax is believed, and the soak says so."""
    gullible = replace(
        settings,
        state=tmp_path / "state",
        policy=replace(
            settings.policy, min_publishers=1, auto_approve=(AutoRule(min_publishers=1, min_age_h=0),)
        ),
    )
    plan = replace(PLAN, hours=10, changes=1, twice=0, batches=1, doomed=0)
    assert any("which is not true" in line for line in soaked(gullible, topics, plan, 0.0)["wrong"])


def test_what_is_missing_or_leaks_is_told(topics: tuple[Topic, ...]) -> None:
    news = draw(PLAN, topics)
    small = Footprint(rss_mib=100.0, objects=1, descriptors=5, threads=2, database_mib=1.0)
    life = Life(warm=small, end=replace(small, rss_mib=104.9))
    assert leaks(life) == []
    life.end = replace(small, rss_mib=106.0, descriptors=6, threads=3)
    assert [line.split()[0] for line in leaks(life)] == ["memory", "descriptors", "threads"]
    assert leaks(Life()) != []
    live = {(c.key, c.object): 1.0 for c in news.changes}
    newest = {(key, o) for key, o in {c.key: c.object for c in news.changes}.items()}
    assert missing(news, Life(live_h=live), newest) == []
    first = news.changes[0]
    assert any(
        "is not served" in line for line in missing(news, Life(live_h=live), {(first.key, first.object)})
    )
    del live[first.key, first.object]
    assert missing(news, Life(live_h=live), newest) == [
        f"{first.key[0]}, capital: {first.object} was never live"
    ]


def test_a_feed_that_is_asked_after_it_was_gone_is_told(topics: tuple[Topic, ...]) -> None:
    site = Publishers(draw(PLAN, topics), lambda: 59.0)
    for times, wrong in ((1, 0), (2, 1)):
        assert answer(site, "127.0.0.1:1", "GET /feed/weekly0-0/0.xml HTTP/1.1\r\n").data.startswith(
            b"HTTP/1.1 410"
        )
        assert (site.late["weekly0-0"], len(unasked(site))) == (times, wrong)


def test_the_same_seed_gives_the_same_news(topics: tuple[Topic, ...]) -> None:
    assert draw(PLAN, topics) == draw(PLAN, topics)
    assert draw(PLAN, topics) != draw(replace(PLAN, seed=1), topics)


def test_what_is_false_is_never_what_is_true(topics: tuple[Topic, ...]) -> None:
    """But for the former object of a change, which is false after it."""
    news = draw(PLAN, topics)
    true = {(change.key, change.object) for change in news.changes}
    assert len(news.false) == len(SORTS)
    assert not true & set(news.false)
