"""`factd queue`: deciding, with a real state folder."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.cli.edits import moment
from agent.cli.main import main
from agent.errors import UsageError
from agent.store import ledger, queue
from tests.cli.conftest import World
from tests.store.samples import status


def test_list_shows_every_proposal_and_filters_by_status(world: World) -> None:
    shown = world.run("queue", "list")
    assert shown.code == 0
    assert [line.split()[0] for line in shown.out.splitlines()] == ["id", "1", "2", "3", "4"]
    assert "Old Name -> Lopes" in shown.out
    found = world.run("queue", "list", "--status", "live", "--json").json
    assert found["version"] == 1
    assert [(p["id"], p["status"], p["subject"]) for p in found["proposals"]] == [(4, "live", "Tallisk")]


def test_words_of_a_feed_cannot_steer_the_terminal(world: World) -> None:
    for shown in (
        world.run("queue", "list"),
        world.run("queue", "show", 1),
        world.run("queue", "list", "--json"),
    ):
        assert shown.code == 0
        assert not [c for c in shown.out + shown.err if not (c.isprintable() or c == "\n")]
    assert "Ilic]0;x" in world.run("queue", "list").out


def test_show_tells_evidence_and_history(world: World) -> None:
    with world.store() as store:
        queue.approve(store, 1, who="eva", now=datetime(2026, 3, 2, tzinfo=UTC), reason="seen it")
    shown = world.run("queue", "show", 1)
    assert "Bordurian Prime Minister Ana Lopes said so." in shown.out
    assert "a.example (source feed): Zor [2Jnews" in shown.out
    assert "approved  by eva: seen it" in shown.out
    found = world.run("queue", "show", 1, "--json").json
    assert found["evidence"][0]["article"]["url"] == "https://a.example/1"
    assert [e["to"] for e in found["events"]] == ["pending", "approved"]


def test_approve_by_number_from_stdin_and_all(world: World) -> None:
    assert world.run("queue", "approve", 1).code == 0
    piped = world.spawn("queue", "approve", "-", stdin="2\n2\n")
    assert (piped.code, piped.out) == (0, "")
    assert world.run("queue", "approve", "--all", "--yes").code == 0
    with world.store() as store:
        assert [status(store, i) for i in (1, 2, 3)] == ["approved"] * 3


def test_each_decision_stands_in_the_ledger_with_who_made_it_and_why(world: World) -> None:
    assert world.run("queue", "approve", 1, "--reason", "seen it").code == 0
    assert world.run("queue", "reject", 1, "--reason", "an old page").code == 0
    assert world.run("queue", "reopen", 1, "--reason", "it was not").code == 0
    assert world.run("queue", "defer", 1, 2, "--until", "2w").code == 0
    assert world.run("revert", 4, "--reason", "a hoax").code == 0
    with world.store() as store:
        rows = [entry.payload for entry in ledger.entries(store) if entry.kind == "decided"]
    assert [(r["action"], r["proposal"], r["after"], r["reason"]) for r in rows] == [
        ("approve", 1, "approved", "seen it"),
        ("reject", 1, "rejected", "an old page"),
        ("reopen", 1, "pending", "it was not"),
        ("defer", 1, "pending", ""),
        ("defer", 2, "pending", ""),
        ("take_back", 4, "rolled_back", "a hoax"),
    ]
    assert all(row["who"] for row in rows)
    assert world.run("audit", "verify").code == 0


def test_without_a_terminal_all_needs_yes(world: World) -> None:
    refused = world.spawn("queue", "approve", "--all")
    assert refused.code == 2
    assert "add --yes" in refused.err
    with world.store() as store:
        assert status(store, 1) == "pending"


def test_approving_several_is_all_or_nothing(world: World) -> None:
    refused = world.run("queue", "approve", 1, 99)
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.startswith("error: proposal 99: no such proposal")
    with world.store() as store:
        assert status(store, 1) == "pending"


def test_all_leaves_out_what_is_deferred_and_what_its_rival_superseded(world: World) -> None:
    from tests.store.samples import day, fact, propose

    with world.store() as store:
        newer = propose(
            store, fact("Newer", subject="Zorland", relation="leader", valid_from=day(3), publishers=("c",))
        ).id
    assert world.run("queue", "defer", 3, "--until", "3d").code == 0
    assert world.run("queue", "approve", "--all", "--yes").code == 0
    with world.store() as store:
        assert {i: status(store, i) for i in (1, 2, 3, newer)} == {
            1: "superseded", 2: "approved", 3: "pending", newer: "approved"
        }  # fmt: skip


def test_a_rejection_needs_a_reason(world: World) -> None:
    assert world.run("queue", "reject", 1).code == 2
    assert world.run("queue", "reject", 1, "--reason", "  ").code == 2
    assert world.run("queue", "reject", 1, "--reason", "not so").code == 0
    with world.store() as store:
        assert status(store, 1) == "rejected"
        assert queue.events(store, 1)[-1].reason == "not so"


NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("3d", NOW + timedelta(days=3)),
        ("12h", NOW + timedelta(hours=12)),
        (" 2 w ", NOW + timedelta(weeks=2)),
        ("2026-04-01", datetime(2026, 4, 1, tzinfo=UTC)),
        ("2026-04-01T10:00+02:00", datetime(2026, 4, 1, 8, tzinfo=UTC)),
    ],
)
def test_moments(text: str, at: datetime) -> None:
    assert moment(text, NOW) == at


@pytest.mark.parametrize("text", ["", "soon", "3x", "2026-13-01", "2026-01-01", "0d", "999999999999d", "-3d"])
def test_moments_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="--until"):
        moment(text, NOW)


def test_add_one_fact_by_its_parts(world: World) -> None:
    added = world.run(
        "queue", "add", "--subject", "the Zor", "--relation", "capital", "--object", "Novi", "--json"
    )
    assert added.code == 0
    (queued,) = added.json["queued"]
    assert (queued["subject"], queued["relation"], queued["object"], queued["status"]) == (
        "Zorland",
        "capital",
        "Novi",
        "pending",
    )
    again = world.run(
        "queue", "add", "--subject", "Zorland", "--relation", "capital", "--object", "Novi", "--json"
    ).json
    assert (again["queued"], again["known"]) == ([], [queued["id"]])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--subject", "Zorland", "--relation", "capitol", "--object", "Novi"], 2, "did you mean 'capital'"),
        (["--subject", "Zorland", "--relation", "currency", "--object", "euro"], 7, "may not be edited"),
        (["--subject", "Zorland", "--relation", "capital"], 2, "all of"),
        ([], 2, "all of"),
        (["missing.json"], 1, "missing.json"),
    ],
)
def test_add_refuses(world: World, arguments: list[str], code: int, words: str) -> None:
    refused = world.run("queue", "add", *arguments)
    assert refused.code == code
    assert words in refused.err
    assert len(refused.err.splitlines()) == 1


def test_add_refuses_what_the_owner_protects(world: World) -> None:
    with world.settings.open("a") as file:
        file.write("policy: {protected: [Zorland]}\n")
    refused = world.run("queue", "add", "--subject", "Zorland", "--relation", "capital", "--object", "Novi")
    assert refused.code == 7
    assert "protected" in refused.err


def test_add_our_own_form_from_a_file(world: World, tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    rows = [
        {"subject": "Quenia", "relation": "capital", "object": "Novi"},
        {"subject": "Bavoria", "relation": "capital", "object": "Ost"},
    ]
    file.write_text(json.dumps(rows))
    assert [q["object"] for q in world.run("queue", "add", file, "--json").json["queued"]] == ["Novi", "Ost"]
    file.write_text(json.dumps([rows[0], {**rows[1], "relation": "nope"}]))
    refused = world.run("queue", "add", file)
    assert refused.code == 2
    assert "entry 2" in refused.err


@pytest.mark.parametrize("text", ["", "{", "[]", "17", "<html>", '[{"subject": "x"}]'])
def test_a_file_that_is_no_edit_file_queues_nothing(world: World, tmp_path: Path, text: str) -> None:
    file = tmp_path / "edits.json"
    file.write_text(text)
    refused = world.run("queue", "add", file)
    assert refused.code == 1
    assert str(file) in refused.err
    assert len(world.run("queue", "list", "--json").json["proposals"]) == 4


@pytest.mark.parametrize("given", ["x", "1x", "-1", "²"])
def test_a_number_that_is_none(world: World, given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", str(world.settings), "queue", "reject", "--reason", "r", "--", given]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
