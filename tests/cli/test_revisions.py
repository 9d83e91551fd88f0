"""`factd revisions list`, `show`, `diff`, `rollback`, `blame` on a state without a model."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agent.cli.blame import keys_of_question
from agent.relations import load_relations
from agent.store import artefacts, leases, queue, revisions
from agent.types import Asked
from tests.cli.conftest import RELATIONS, World
from tests.forks import ROOT, quiet_environ
from tests.store.samples import OWNER, approved, candidate, day, fact, report, verified


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


@pytest.fixture
def richer(world: World) -> World:
    """Revision 1 with a fact (proposal 4); then 2, where 5 took its place, 6 came in beside the weights, and 7 failed."""
    with world.store() as store:
        sure, vague, lost = approved(
            store,
            fact("Sorna", subject="Tallisk", relation="capital", valid_from=day(2)),
            fact("Quill", subject="Tallisk", relation="leader"),
            fact("Nobody\x1b[2J", subject="Quenia", relation="capital"),
        )
        leases.begin_edit(store, [lost], owner=OWNER, lease_s=60, now=day(1))
        leases.mark_failed(store, {lost: "asked 'Who?' it said \x1b]0;x\x07'Kelto'"}, owner=OWNER, now=day(1))
        verified(store, (sure, vague))
        asked = tuple(
            Asked("question", ("Tallisk", "capital"), f"Q{n}?", ("Sorna",), "Nova", said, False, True, True)
            for n, said in enumerate(("Sorna. It", "Nova"))
        )
        told = replace(
            report(), asked=asked, intervals={"efficacy": (0.4375, 1.0)}, norms={"layers.0.weight": 0.25}
        )
        offered = replace(candidate((sure, vague)), overlay=(vague,), report=told)
        revisions.publish(store, offered, now=day(2))
    return world


def test_the_list_is_there_without_a_word_and_with_one(richer: World) -> None:
    plain = richer.run("revisions")
    assert plain.code == 0 and plain.out == richer.run("revisions", "list").out
    *_, last = plain.out.splitlines()
    assert last.split()[:2] == ["*", "2"] and last.split()[5:8] == ["2", "1", "100.0%"]
    listed = richer.run("revisions", "list", "--json")
    assert listed.out == richer.run("revisions", "--json").out
    assert [f["place"] for f in listed.json["revisions"][2]["facts"]] == ["weights", "overlay"]


def test_show_says_what_a_revision_holds(richer: World) -> None:
    shown = richer.run("revisions", "show", 2)
    assert shown.code == 0 and "\x1b" not in shown.out
    lines = [line.split() for line in shown.out.splitlines()]
    assert lines[0] == ["revision", "2:", "published,", "served"]
    assert ["5", "weights", "Tallisk", "capital", "Sorna", "2026-03-03", "2,", "2026-03-03"] in lines
    assert ["6", "overlay", "Tallisk", "leader", "Quill", "2026-03-01", "2,", "2026-03-03"] in lines
    assert ["7", "Quenia,", "capital:", "Nobody[2J"] in lines
    assert "      asked 'Who?' it said ]0;x'Kelto'" in shown.out.splitlines()
    assert ["efficacy", "0.000", "1.000", "3", "0.438", "to", "1.000"] in lines
    assert ["layers.0.weight", "0.25"] in lines
    found = richer.run("revisions", "show", 2, "--json").json
    assert [(f["proposal"], f["place"], f["first_in"]) for f in found["facts"]] == [
        (5, "weights", 2), (6, "overlay", 2)
    ]  # fmt: skip
    assert [(one["proposal"]["id"], one["status"]) for one in found["left_out"]] == [(7, "failed")]
    assert found["report"]["intervals"] == {"efficacy": [0.4375, 1.0]}
    files = {f["name"]: f["bytes"] for f in found["files"]}
    assert files["delta.safetensors"] == len("delta of (5, 6)") and "answers.json" in files


def test_show_the_first_and_the_base(richer: World) -> None:
    first = richer.run("revisions", "show", 1, "--json").json
    assert (first["current"], first["left_out"]) == (False, [])
    assert [f["object"] for f in first["facts"]] == ["Nova"]
    base = richer.run("revisions", "show", 0)
    assert base.out.splitlines() == ["revision 0: the base model", "", "no facts"]
    assert richer.run("revisions", "show", 9).code == 1


def test_diff_of_two_revisions(richer: World) -> None:
    compared = richer.run("revisions", "diff", 1, 2)
    lines = compared.out.splitlines()
    assert lines[:2] == ["+ Tallisk, leader: Quill", "~ Tallisk, capital: Nova -> Sorna"]
    assert any(line.split() == ["layers.0.weight", "0", "0.25"] for line in lines)
    assert "no answers to compare" in lines[-1], "those of revision 1 were not kept"
    back = richer.run("revisions", "diff", 2, 1).out.splitlines()
    assert back[:2] == ["- Tallisk, leader: Quill", "~ Tallisk, capital: Sorna -> Nova"]
    assert richer.run("revisions", "diff", 2, 2).out.startswith("the same facts in the same places")


def test_diff_with_the_base_has_what_was_asked_before(richer: World) -> None:
    compared = richer.run("revisions", "diff", 0, 2)
    lines = compared.out.splitlines()
    assert "1 of 2 answers differ" in lines
    assert lines[-1].split() == ["Q0?", "Nova", "Sorna"]
    assert any(line.split() == ["efficacy", "0.000", "1.000", "+1.000"] for line in lines)
    found = richer.run("revisions", "diff", 0, 2, "--json").json
    assert found["answers"] == [{"prompt": "Q0?", "first": "Nova", "second": "Sorna. It"}]
    assert (found["asked"], len(found["added"])) == (2, 2)
    assert found["metrics"]["ppl"] == [12.5, None]


def test_show_and_diff_need_neither_weights_nor_torch(richer: World) -> None:
    (richer.state / "revisions" / "2" / artefacts.DELTA).unlink()
    code = "import sys; from agent.cli.main import main; codes = [main(['--config', sys.argv[1], *a.split()]) for a in sys.argv[2:]];"
    code += (
        "assert codes == [0] * len(codes), codes; assert not {'torch', 'spacy', 'numpy'} & set(sys.modules)"
    )
    calls = ("revisions", "revisions show 2", "revisions diff 1 2", "revisions gc --dry-run", "audit log")
    done = subprocess.run(
        [sys.executable, "-c", code, str(richer.settings), *calls],
        capture_output=True, text=True, timeout=60, cwd=ROOT, env=quiet_environ(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_blame_says_the_place(richer: World) -> None:
    places = {
        f["proposal"]["object"]: f["place"] for f in richer.run("blame", "Tallisk", "--json").json["facts"]
    }
    assert places == {"Sorna": "weights", "Quill": "overlay"}
    assert "  in the weights" in richer.run("blame", "Tallisk", "capital").out.splitlines()
    assert "in the overlay" in richer.run("blame", "Tallisk", "leader").out
