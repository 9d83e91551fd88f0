"""Edits of what a model of the embedded world knows, and the questions that decide how well they took.

Known facts are swapped for another object of the same relation. Efficacy: the edit prompts. Paraphrase: the held-out probes.
Questions: the question probes. Same subject: its other relations, two probes and a question each. Others: facts of other subjects. Every answer is generated freely.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from agent.catalogue import Catalogue
from agent.lm.generate import generate
from agent.lm.load import LM
from agent.material import edit_request
from agent.relations import Relation
from agent.types import EditRequest, Entity, Fact
from agent.verify.answers import matches

EDITED = ("head_of_state", "head_of_government", "ceo", "head_coach", "headquarters", "capital",
          "head_of_organisation", "central_bank_governor")  # fmt: skip
CHANGED = ("efficacy", "paraphrase", "question")
KEPT = ("same_subject", "others")
EPOCH = datetime(2025, 1, 1, tzinfo=UTC)
PRESERVED = 3000  # keys: `preserve_limit` of configs/demo.yaml
_NEW_TOKENS = 14


@dataclass(frozen=True, slots=True)
class Ask:
    """One prompt, what it should be answered, and the score that it counts for: one of `CHANGED` or `KEPT`."""

    kind: str
    prompt: str
    expect: str


@dataclass(frozen=True, slots=True)
class Swap:
    """One fact that is to change."""

    subject: str
    relation: str
    old: str
    new: str


def swaps(catalogue: Catalogue, relations: Mapping[str, Relation], count: int, seed: int) -> list[Swap]:
    """The new object is another subject's in the same relation, or (half of the people) any known person.

    With one seed a short list is the beginning of a long one.
    """
    rng = random.Random(seed)
    people = sorted(e.name for e in catalogue.entities.values() if e.kind == "person")
    facts = [f for f in catalogue.facts.values() if f.relation in EDITED]
    by_relation: dict[str, list[str]] = {}
    for fact in facts:
        by_relation.setdefault(fact.relation, []).append(fact.objects[0])
    rng.shuffle(facts)
    chosen = []
    for fact in facts[:count]:
        relation = relations[fact.relation]
        pool = people if "PERSON" in relation.object and rng.random() < 0.5 else by_relation[fact.relation]
        new = rng.choice([o for o in pool if o not in fact.objects])
        chosen.append(Swap(fact.subject, fact.relation, fact.objects[0], new))
    return chosen


def requests(
    catalogue: Catalogue, relations: Mapping[str, Relation], edits: Sequence[Swap]
) -> list[EditRequest]:
    """The edits as the compiler takes them, with all edit prompts of their relations."""
    return [
        edit_request(Fact(e.subject, e.relation, e.new, EPOCH), relations, catalogue, target_old=e.old)
        for e in edits
    ]


def asks(
    catalogue: Catalogue,
    relations: Mapping[str, Relation],
    edits: Sequence[Swap],
    seed: int,
    others: int,
) -> list[Ask]:
    """Everything that is asked after the edits; `others` facts of other subjects are a seeded sample."""
    rng = random.Random(seed + 1)
    found = []
    edited = {(e.subject, e.relation) for e in edits}
    subjects = {e.subject for e in edits}
    for edit in edits:
        entity, relation = catalogue.entity(edit.subject), relations[edit.relation]
        found += [Ask("efficacy", p, edit.new) for p in relation.prompts("edit", entity)]
        found += [Ask("paraphrase", p, edit.new) for p in relation.prompts("probes", entity)]
        found += [Ask("question", p, edit.new) for p in relation.prompts("questions", entity)]
        for fact in catalogue.facts_of(edit.subject):
            if (edit.subject, fact.relation) not in edited and fact.relation in relations:
                found += [
                    Ask("same_subject", p, fact.objects[0]) for p in staying(relations[fact.relation], entity)
                ]
    rest = [f for f in catalogue.facts.values() if f.subject not in subjects and f.relation in relations]
    for fact in rng.sample(rest, min(others, len(rest))):
        prompts = relations[fact.relation].prompts("probes", catalogue.entity(fact.subject))
        found.append(Ask("others", rng.choice(prompts), fact.objects[0]))
    return found


def staying(relation: Relation, entity: Entity) -> tuple[str, ...]:
    """How another fact of an edited subject is asked: two held-out statements and a question."""
    return (*relation.prompts("probes", entity)[:2], *relation.prompts("questions", entity)[:1])


def answers(lm: LM, questions: Sequence[Ask]) -> list[str]:
    """What the model says to each question, generated freely."""
    return generate(lm, [q.prompt for q in questions], max_new_tokens=_NEW_TOKENS, batch_size=256)


def scores(questions: Sequence[Ask], before: Sequence[str], after: Sequence[str]) -> dict[str, float]:
    """Shares, 0 to 1, of right answers `after` the edits by kind.

    Of what should stay only questions count that the base answers right (`before`); `<kind>_base` is the share of those.
    """
    result = {}
    for kind in CHANGED:
        right = [matches(a, [q.expect]) for q, a in zip(questions, after, strict=True) if q.kind == kind]
        result[kind] = round(sum(right) / max(len(right), 1), 4)
    for kind in KEPT:
        rows = [(q, b, a) for q, b, a in zip(questions, before, after, strict=True) if q.kind == kind]
        known = [(q, a) for q, b, a in rows if matches(b, [q.expect])]
        result[kind] = round(sum(matches(a, [q.expect]) for q, a in known) / max(len(known), 1), 4)
        result[f"{kind}_base"] = round(len(known) / max(len(rows), 1), 4)
    return result
