"""The extraction benchmark: extractors side by side, and what counts as a fact of KnowledgeNet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.errors import InputError
from agent.ner.claims import Reader
from benchmarks.extraction import main
from benchmarks.news.knowledgenet import FILE, Gold, read_knowledgenet, recall
from tests.chat_server import serving
from tests.ner.conftest import HERE

BOSSES = "Ford CEO Dana Pruitt and Boeing's boss spoke."
FIRM = "Nordwind Inc. (NWI), which he left, is run by its CEO Ann Ruiz, as Ruiz said."


def rows() -> list[dict[str, object]]:
    def row(rel: str, text: str, subj: str, obj: str, subj_qid: str | None = None) -> dict[str, object]:
        ends = {"subj": subj, "obj": obj, "subj_qid": subj_qid, "obj_qid": None}
        return {"doc": "1", "rel": rel, "text": text, **ends}

    return [
        row("CEO", BOSSES, "Ford", "Dana Pruitt", "Q1"),
        *(row("CEO", FIRM, s, o, "Q2") for s in ("Nordwind Inc.", "NWI", "which") for o in ("Ann Ruiz", "Ruiz")),
        row("CEO", "She leads it.", "it", "She"),
        row("SPOUSE", BOSSES, "Dana Pruitt", "Ann Ruiz"),
    ]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / FILE).write_text("".join(json.dumps(r) + "\n" for r in rows()), encoding="utf-8")
    return tmp_path


def test_mentions_of_one_fact_are_one_and_pronouns_are_none(folder: Path) -> None:
    passages, facts = read_knowledgenet(folder)
    assert [p.text for p in passages] == [BOSSES, FIRM, "She leads it."]
    assert facts == [
        Gold(f"1 {BOSSES}", "ceo", ("Ford",), ("Dana Pruitt",)),
        Gold(f"1 {FIRM}", "ceo", ("NWI", "Nordwind Inc."), ("Ann Ruiz", "Ruiz")),
    ]
    with pytest.raises(InputError, match=FILE):
        read_knowledgenet(folder / "nowhere")


def test_recall_counts_facts_of_the_right_passage(folder: Path, reader: Reader) -> None:
    passages, facts = read_knowledgenet(folder)
    claims = reader.read_many(passages)
    by_passage = {p.id: c for p, c in zip(passages, claims, strict=True)}
    assert recall(by_passage, facts, reader.linker)["ceo"][1] == 2
    assert recall({facts[1].passage: by_passage[facts[0].passage]}, facts, reader.linker)["ceo"] == (0, 2)
    assert recall({facts[0].passage: by_passage[facts[0].passage]}, facts, reader.linker)["ceo"] == (1, 2)


def test_extractors_stand_side_by_side(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = {"1": BOSSES, "2": "Nordwind is steered by Ann Ruiz."}
    facts = {"1": ("Ford", "Dana Pruitt"), "2": ("Nordwind", "Ann Ruiz")}
    at = "Wed, 19 Aug 2026 07:16:07 +0000"
    items = [{"id": i, "published": at, "title": i, "summary": text} for i, text in texts.items()]
    labels = [
        {"id": i, "facts": [{"relation": "ceo", "subject": s, "object": o, "kind": "state"}]}
        for i, (s, o) in facts.items()
    ]
    for name, entries in (("items", items), ("labels", labels)):
        (folder / f"{name}.jsonl").write_text(
            "".join(json.dumps(e) + "\n" for e in entries), encoding="utf-8"
        )
    given = [
        "--items", folder / "items.jsonl", "--labels", folder / "labels.jsonl", "--knowledgenet", folder,
        "--json", folder / "out.json", "--catalogue", HERE / "world.yaml", "--compare", "embedded",
    ]  # fmt: skip
    with serving() as server:
        more = ["--extractor", "rules", "both", "llm", "--endpoint", server.url, "--model", "stand-in"]
        assert main([*map(str, given), *more]) == 0
        server.by_title = {"2": "prose"}
        assert main([*map(str, given), "--extractor", "both", "--model", "x", "--endpoint", server.url]) == 0
    told = capsys.readouterr().out
    assert "embedded + llm stand-in" in told and "no answer to 1 items" in told
    found = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    assert found["extractor"] == "embedded + llm x" and len(found["failed"]) == 1
    states = [line.split() for line in told.splitlines()[1:4]]
    assert [next(cell for cell in line if "/" in cell) for line in states] == ["1/0/1", "2/0/0", "1/0/1"]


def test_what_cannot_be_used_is_an_error_and_no_traceback(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--knowledgenet", str(folder), "--pipeline", "no_such_pipeline"]) == 1
    assert main(["--knowledgenet", str(folder), "--extractor", "llm"]) == 2
    assert "no_such_pipeline" in (told := capsys.readouterr().err) and "extractor.model" in told
    with pytest.raises(SystemExit):
        main(["--items", "x"])
