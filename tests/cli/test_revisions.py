"""`factd revisions`, `rollback`, `blame` on a state without a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.cli.revisions import keys_of_question
from agent.relations import load_relations
from agent.store import queue
from tests.cli.conftest import RELATIONS, World


def test_revisions_mark_the_one_that_is_served(world: World) -> None:
    lines = world.run("revisions").out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["0", lines[1].split()[1]], ["*", "1"]]
    found = world.run("revisions", "--json").json
    assert found["current"] == 1
    assert [(r["id"], r["current"], r["status"], len(r["facts"])) for r in found["revisions"]] == [
        (0, False, "base", 0), (1, True, "published", 1)
    ]  # fmt: skip


def test_rollback_needs_a_reason_and_keeps_everything(world: World) -> None:
    assert world.run("rollback", 0).code == 2
    back = world.run("rollback", 0, "--reason", "wrong news")
    assert (back.code, back.out) == (0, "the base model is served, with 0 facts\n")
    with world.store() as store:
        assert queue.get(store, 4).status == "rolled_back"
    again = world.run("rollback", 1, "--reason", "it was right")
    assert again.out == "revision 1 is served, with 1 fact\n"


def test_blame_without_evidence_says_who(world: World) -> None:
    blamed = world.run("blame", "Tallisk", "capital", "--json")
    assert blamed.code == 0
    assert blamed.json["facts"][0]["proposal"]["object"] == "Nova"
    nothing = world.run("blame", "Zorland", "capital")
    assert (nothing.code, nothing.out) == (1, "")
    assert "base model's own" in nothing.err


@pytest.mark.parametrize(
    ("question", "key"),
    [
        ("Who is the president of Zorland?", ("Zorland", "leader")),
        ("who is the premier of the Quenia", ("Quenia", "leader")),
        ("Tallisk's capital is", ("Tallisk", "capital")),
        ("The Netherlands' capital is", ("Netherlands", "capital")),
        ("  The capital   of Zorland is ", ("Zorland", "capital")),
    ],
)
def test_a_question_is_matched_with_the_relations_own(
    tmp_path: Path, question: str, key: tuple[str, str]
) -> None:
    (tmp_path / "relations.yaml").write_text(RELATIONS)
    assert key in list(keys_of_question(question, load_relations(tmp_path / "relations.yaml")))


@pytest.mark.parametrize("question", ["", "?", "How are you?", "((", "Zorland"])
def test_other_questions_match_nothing(tmp_path: Path, question: str) -> None:
    (tmp_path / "relations.yaml").write_text(RELATIONS)
    assert list(keys_of_question(question, load_relations(tmp_path / "relations.yaml"))) == []
