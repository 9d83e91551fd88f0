"""What decides whether a pocket model is any good: 100 joint edits, by free generation, scored after all of them.

    python -m benchmarks.pocket_edits MODEL [--edits 100] [--seed 0] [--set layers=1,2,3] [--json FILE]

Known facts of the embedded world are swapped for another object of the same relation. Efficacy: the edit prompts. Paraphrase: the
held-out probes. Questions: the question probes. Same subject: its other relations. Others: facts of other subjects.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import yaml

from agent.catalogue import Catalogue, load_catalogue
from agent.config import model_editing
from agent.editing.compile import Material, compile_delta
from agent.editing.delta import applied
from agent.editing.settings import EditSettings
from agent.lm.generate import generate
from agent.lm.load import LM, load_lm
from agent.material import edit_request, preserve_texts
from agent.relations import Relation, load_relations
from agent.typed import build
from agent.types import Fact
from agent.verify.answers import matches

EDITED = ("head_of_state", "head_of_government", "ceo", "head_coach", "headquarters", "capital",
          "head_of_organisation", "central_bank_governor")  # fmt: skip
ROOT = Path(__file__).parent.parent
_NEW_TOKENS = 14
EPOCH = datetime(2025, 1, 1, tzinfo=UTC)


@dataclasses.dataclass(frozen=True)
class Ask:
    kind: str
    prompt: str
    expect: str


def swaps(
    catalogue: Catalogue, relations: dict[str, Relation], count: int, seed: int, people: set[str]
) -> list[tuple[str, str, str, str]]:
    """(subject, relation, old, new): new is another subject's object in the same relation, or a known person."""
    rng = random.Random(seed)
    facts = [f for f in catalogue.facts.values() if f.relation in EDITED]
    by_relation: dict[str, list[str]] = {}
    for fact in facts:
        by_relation.setdefault(fact.relation, []).append(fact.objects[0])
    rng.shuffle(facts)
    chosen = []
    for fact in facts[:count]:
        relation = relations[fact.relation]
        pool = (
            sorted(people)
            if "PERSON" in relation.object and rng.random() < 0.5
            else by_relation[fact.relation]
        )
        new = rng.choice([o for o in pool if o not in fact.objects])
        chosen.append((fact.subject, fact.relation, fact.objects[0], new))
    return chosen


def asks(
    catalogue: Catalogue,
    relations: dict[str, Relation],
    edits: Sequence[tuple[str, str, str, str]],
    seed: int,
    others: int,
) -> list[Ask]:
    rng = random.Random(seed + 1)
    found = []
    edited = {(s, r) for s, r, _, _ in edits}
    subjects = {s for s, _ in edited}
    for subject, name, _, new in edits:
        entity, relation = catalogue.entity(subject), relations[name]
        found += [Ask("efficacy", p, new) for p in relation.prompts("edit", entity)]
        found += [Ask("paraphrase", p, new) for p in relation.prompts("probes", entity)]
        found += [Ask("question", p, new) for p in relation.prompts("questions", entity)]
        for fact in catalogue.facts_of(subject):
            if (subject, fact.relation) not in edited and fact.relation in relations:
                found += [
                    Ask("same_subject", p, fact.objects[0])
                    for p in relations[fact.relation].prompts("probes", entity)[:2]
                ]
    rest = [f for f in catalogue.facts.values() if f.subject not in subjects and f.relation in relations]
    for fact in rng.sample(rest, min(others, len(rest))):
        prompts = relations[fact.relation].prompts("probes", catalogue.entity(fact.subject))
        found.append(Ask("others", rng.choice(prompts), fact.objects[0]))
    return found


def evaluate(
    lm: LM,
    catalogue: Catalogue,
    relations: dict[str, Relation],
    settings: EditSettings,
    count: int,
    seed: int,
    preserve: int,
    others: int = 600,
) -> dict[str, Any]:
    people = {e.name for e in catalogue.entities.values() if e.kind == "person"}
    edits = swaps(catalogue, relations, count, seed, people)
    questions = asks(catalogue, relations, edits, seed, others)
    before = generate(lm, [q.prompt for q in questions], max_new_tokens=_NEW_TOKENS, batch_size=256)
    requests = [
        edit_request(Fact(s, r, new, EPOCH), relations, catalogue, target_old=old) for s, r, old, new in edits
    ]
    material = Material(
        preserve=preserve_texts(catalogue, relations, {s for s, _, _, _ in edits}, limit=preserve, seed=seed)
    )
    started = time.perf_counter()
    compiled = compile_delta(lm, requests, settings, material)
    seconds = time.perf_counter() - started
    with applied(lm, compiled.delta):
        after = generate(lm, [q.prompt for q in questions], max_new_tokens=_NEW_TOKENS, batch_size=256)
    result: dict[str, Any] = {"edits": count, "seconds": round(seconds, 2)}
    for kind in ("efficacy", "paraphrase", "question"):
        pairs = [(q, a) for q, a in zip(questions, after, strict=True) if q.kind == kind]
        result[kind] = round(sum(matches(a, [q.expect]) for q, a in pairs) / max(len(pairs), 1), 4)
    for kind in ("same_subject", "others"):
        # of the facts the base knows, how many are still answered right; and how many answers are the same words
        known = [
            (q, b, a)
            for q, b, a in zip(questions, before, after, strict=True)
            if q.kind == kind and matches(b, [q.expect])
        ]
        total = sum(q.kind == kind for q in questions)
        result[kind] = round(sum(matches(a, [q.expect]) for q, _, a in known) / max(len(known), 1), 4)
        result[f"{kind}_base"] = round(len(known) / max(total, 1), 4)
    weights = [
        float((u.left @ u.right.T).norm() / lm.model.get_parameter(n).float().cpu().norm())
        for n, u in compiled.delta.updates.items()
    ]
    result["relative_norm"] = [round(w, 4) for w in weights]
    return result


def parse_settings(items: Sequence[str], known: Mapping[str, Any] | None = None) -> EditSettings:
    """`key=value` items over `known` settings. Raises ConfigError."""
    given = {key: yaml.safe_load(value) for key, _, value in (item.partition("=") for item in items)}
    if isinstance(given.get("layers"), str):
        given["layers"] = [int(layer) for layer in given["layers"].split(",")]
    return build(EditSettings, {**(known or {}), **given}, "editing")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--edits", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--preserve", type=int, default=2000)
    parser.add_argument(
        "--set", action="append", default=[], help="key=value over the checkpoint's own settings; repeatable"
    )
    parser.add_argument(
        "--grid", action="append", default=[], help="'a=1 b=2': one more evaluation with these on top"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    catalogue = load_catalogue([ROOT / "agent/demo/world"])
    relations = load_relations(ROOT / "configs/relations.yaml")
    lm = load_lm(arguments.model, dtype="float32", device=arguments.device)
    rows = []
    for variant in arguments.grid or [""]:
        settings = parse_settings([*arguments.set, *variant.split()], model_editing(arguments.model))
        for seed in range(arguments.seeds):
            row = {
                "variant": variant,
                "seed": seed,
                **evaluate(lm, catalogue, relations, settings, arguments.edits, seed, arguments.preserve),
            }
            rows.append(row)
            print(json.dumps(row), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
