"""Recall on KnowledgeNet: chief executives, head offices and founders in encyclopaedic prose.

A row is one pair of mentions {rel, doc, text, subj, obj, subj_qid, obj_qid}; all pairs of mentions of one fact are
rows. A fact is a (passage, subject, object) here, with all its mentions, and counts if the passage names both
(rather than "it", "he", "the company"). It is found when a claim of that passage agrees with a named mention of
either; the kind of the claim is not looked at, since the rows do not tell who holds an office still. There is no
precision: not every passage is annotated for every relation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.errors import InputError
from agent.ner.linking import Linker
from agent.ner.names import fold, same_person
from agent.types import Article, Claim
from benchmarks.news.labels import same_subject

RELATIONS = {"CEO": "ceo", "HEADQUARTERS": "headquarters", "FOUNDED_BY": "founder"}
FILE = "knowledgenet_train_parsed.jsonl"


@dataclass(frozen=True, slots=True)
class Gold:
    """One fact of one passage, with every name the passage has for its two ends."""

    passage: str
    relation: str
    subjects: tuple[str, ...]
    objects: tuple[str, ...]


def read_knowledgenet(folder: Path) -> tuple[list[Article], list[Gold]]:
    """The passages with one of the three relations, each an article, and their facts. Raises InputError."""
    path = folder / FILE
    if not path.is_file():
        raise InputError(f"{path} is not there; --knowledgenet wants the folder that holds {FILE}")
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    texts: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["rel"] in RELATIONS:
            passage = f"{row['doc']} {row['text']}"
            texts[passage] = row["text"]
            rows.setdefault((passage, RELATIONS[row["rel"]]), []).append(row)
    facts = [fact for (passage, relation), of in rows.items() for fact in _facts(passage, relation, of)]
    return [_article(p, text) for p, text in texts.items()], facts


def _facts(passage: str, relation: str, rows: Iterable[Mapping[str, Any]]) -> list[Gold]:
    """The facts of one passage that are named at both ends. Rows that share a Wikidata item are of one thing;
    without items a name and a part of it are."""
    mentions: dict[tuple[str, str], tuple[set[str], set[str]]] = {}
    named = [row for row in rows if _is_name(row["subj"]) and _is_name(row["obj"])]
    for row in named:
        ends = (_end(row, "subj", named), _end(row, "obj", named))
        subjects, objects = mentions.setdefault(ends, (set(), set()))
        subjects.add(row["subj"])
        objects.add(row["obj"])
    return [Gold(passage, relation, tuple(sorted(s)), tuple(sorted(o))) for s, o in mentions.values()]


def recall(
    found: Mapping[str, Iterable[Claim]], facts: Iterable[Gold], linker: Linker
) -> dict[str, tuple[int, int]]:
    """Relation -> (found, of so many). `found` holds the claims of each passage by its id."""
    totals = dict.fromkeys(RELATIONS.values(), (0, 0))
    for fact in facts:
        hit = any(_agrees(claim, fact, linker) for claim in found.get(fact.passage, ()))
        right, of = totals[fact.relation]
        totals[fact.relation] = (right + hit, of + 1)
    return totals


def _agrees(claim: Claim, fact: Gold, linker: Linker) -> bool:
    if claim.relation != fact.relation:
        return False
    if not any(same_subject(claim.subject, name, linker, fact.relation) for name in fact.subjects):
        return False
    if fact.relation == "headquarters":
        return any(same_subject(claim.object, name, linker, fact.relation) for name in fact.objects)
    return any(same_person(claim.object, name) for name in fact.objects)


def _end(row: Mapping[str, Any], end: str, rows: Iterable[Mapping[str, Any]]) -> str:
    """What one end of a row is, by its item, else by the longest name that its own is part of."""
    if row[f"{end}_qid"]:
        return str(row[f"{end}_qid"])
    longer = (fold(other[end]) for other in rows if not other[f"{end}_qid"])
    own = fold(row[end])
    return max((name for name in longer if f" {own} " in f" {name} "), key=lambda name: (len(name), name))


def _is_name(mention: str) -> bool:
    """With a capital, and no pronoun at the start of a sentence."""
    pronouns = {
        "it",
        "its",
        "he",
        "his",
        "she",
        "her",
        "they",
        "their",
        "we",
        "our",
        "i",
        "my",
        "who",
        "which",
    }
    return any(c.isupper() for c in mention) and mention.lower() not in pronouns


def _article(passage: str, text: str) -> Article:
    at = datetime(2019, 1, 1, tzinfo=UTC)
    return Article(passage, "knowledgenet", "knowledgenet", "", "", text, at, at, "")
