"""`factd timeline`: the claims of one subject in time order, and what they come to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agent.sources.similar import simhash
from agent.sources.text import content_sha256
from agent.store import articles, queue
from agent.types import Article, Claim, Fact, Proposal
from tests.cli.conftest import World, write_settings

NOW = datetime.now(UTC)
OWN = (
    "Cranes stood still in the harbour on Monday morning, the mayor told a radio station.",
    "Captains of nine ships have written a letter, which nobody in the ministry wanted to comment.",
    "Gulls were the talk of the town; some said that the office would soon see another name.",
    "Rain is expected until the weekend, and the parade will be held all the same, two officials said.",
)
WIRE = "The agency reports in one and the same long sentence that it is so, and all of them print it."


@pytest.fixture
def told(bare: World) -> World:
    """Zorland's leader by two feeds, a wire story that both print, a rumour, and a source that was removed."""
    write_settings(bare.folder, model="nowhere", feeds=("a.xml", "b.xml"))
    with bare.store() as store:
        for number, (source, days, kind, name, text) in enumerate(
            [
                ("feed 1", 300, "state", "Voss", OWN[0]),
                ("feed 2", 20, "change", "Lopes\x1b[2J", OWN[1]),
                ("feed 1", 9, "state", "Lopes\x1b[2J", WIRE),
                ("feed 2", 9, "state", "Lopes\x1b[2J", f"{WIRE} (B)"),
                ("feed 1", 8, "hedged", "Quill", OWN[2]),
                ("gone", 7, "state", "Nobody", OWN[3]),
            ]
        ):
            at = NOW - timedelta(days=days)
            article = Article(
                f"a{number}", source, "x.example", "", f"Title {number}", text, at, NOW,
                content_sha256(f"Title {number}", text), simhash(f"Title {number}\n{text}"),
            )  # fmt: skip
            articles.add(store, [article])
            subject = "the Zor" if number == 1 else "Zorland"
            claim = Claim(f"c{number}", subject, "leader", name, kind, article.id, text, at)  # type: ignore[arg-type]
            articles.add_claims(store, [claim], NOW)
    return bare


def test_the_timeline_of_a_relation(told: World) -> None:
    shown = told.run("timeline", "Zorland", "leader")
    assert shown.code == 0 and "\x1b" not in shown.out
    lines = shown.out.splitlines()
    assert lines[0] == "Zorland" and lines[2] == "leader (needs 2 publishers, known for 24 h)"
    cells = [line.split() for line in lines[4:] if line.split()[0][:2] == "20"]
    assert [(c[1], c[2]) for c in cells] == [
        ("state", "Voss"), ("change", "Lopes[2J"), ("state", "Lopes[2J"), ("hedged", "Quill"), ("state", "Nobody"),
    ]  # fmt: skip
    assert "p1.example, p2.example" in shown.out, "the wire story is one row"
    assert "x.example (no voice)" in shown.out
    conclusions = [line for line in lines if line.startswith("  now: ")]
    assert any("Lopes[2J holds, say p1.example, p2.example" in line for line in conclusions)
    assert any("Voss is left alone [outdated]" in line for line in conclusions)
    assert any("Quill is left alone [hedged]" in line for line in conclusions)
    assert any("Nobody is left alone [no_voice]" in line for line in conclusions)


def test_as_json_with_what_is_queued(told: World) -> None:
    fact = Fact("Zorland", "leader", "Lopes\x1b[2J", NOW, ("c1",), ("p1.example",))
    with told.store() as store:
        queue.propose(store, Proposal(0, fact, "pending", "so"), now=NOW)
    shown = told.run("timeline", "zorland", "--json")
    (track,) = shown.json["relations"]
    assert (shown.json["subject"], track["relation"], track["min_publishers"]) == ("Zorland", "leader", 2)
    assert [t["story"] for t in track["told"]] == [1, 2, 3, 4, 5]
    assert track["told"][2]["claims"] == ["c2", "c3"]
    assert [p["status"] for p in track["proposals"]] == ["pending"]
    assert [f["object"] for f in track["facts"]] == ["Lopes\x1b[2J"]
    assert {s["code"] for s in track["skips"]} == {"outdated", "hedged", "no_voice"}
    assert "proposal 1 is pending" in told.run("timeline", "Zorland").out


def test_an_alias_is_as_good_as_the_name(told: World) -> None:
    assert told.run("timeline", "THE ZOR", "--json").json == told.run("timeline", "Zorland", "--json").json


def test_a_subject_without_news(told: World) -> None:
    shown = told.run("timeline", "Quenia")
    assert (shown.code, shown.out) == (0, "Quenia\nnothing was read about it, and nothing is queued\n")


def test_unknown_names_are_usage_errors_with_the_nearest(told: World) -> None:
    wrong = told.run("timeline", "Zorlnd")
    assert wrong.code == 2 and "did you mean Zorland?" in wrong.err
    assert told.run("timeline", "\x1b[2J").code == 2
    nothing = told.run("timeline", "Zorland", "leadr")
    assert nothing.code == 2 and "there is no relation 'leadr'" in nothing.err


def test_a_name_of_two_is_asked_back(told: World) -> None:
    path = told.folder / "catalogue.yaml"
    path.write_text(path.read_text() + "- {name: Zor City, kind: city, aliases: [the Zor]}\n")
    asked = told.run("timeline", "the Zor")
    assert asked.code == 2 and "can be Zor City or Zorland" in asked.err
