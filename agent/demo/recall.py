"""What the pocket model knows: every fact asked by free generation, over trained and over held-out forms.

python -m agent.demo.recall MODEL_DIR [--sample 500]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from agent.demo.forms import World, load_world, prompt_text, split_forms
from agent.errors import FactdError
from agent.lm.generate import generate
from agent.lm.load import LM, load_lm
from agent.verify.answers import matches

# The longest name of the world is twelve tokens; a name that is cut counts as wrong.
_NEW_TOKENS = 14


@dataclass(frozen=True, slots=True)
class Asked:
    """One question to the model, and whether its form was held out for this fact."""

    subject: str
    relation: str
    prompt: str
    objects: tuple[str, ...]
    held_out: bool


def questions(world: World, seed: int, sample: int | None = None) -> list[Asked]:
    """Every fact in every prompt form; `sample` takes that many facts at random (of the seed)."""
    facts = list(world.catalogue.facts.values())
    if sample is not None and sample < len(facts):
        facts = random.Random(f"{seed}:recall").sample(facts, sample)
    asked = []
    for fact in facts:
        entity = world.catalogue.entity(fact.subject)
        for held_out, forms in enumerate(split_forms(world, fact, seed)):
            asked += [
                Asked(
                    fact.subject,
                    fact.relation,
                    prompt_text(world, form, entity),
                    fact.objects,
                    bool(held_out),
                )
                for form in forms
            ]
    return asked


def recall(lm: LM, world: World, seed: int, sample: int | None = None, examples: int = 20) -> dict[str, Any]:
    """Accuracy over `trained` and `held_out` forms, each also `by_relation`, and the first wrong answers."""
    asked = questions(world, seed, sample)
    answers = generate(lm, [q.prompt for q in asked], max_new_tokens=_NEW_TOKENS, batch_size=256)
    right: dict[tuple[str, str], list[bool]] = defaultdict(list)
    wrong: list[dict[str, str]] = []
    for question, answer in zip(asked, answers, strict=True):
        ok = matches(answer, question.objects)
        right["held_out" if question.held_out else "trained", question.relation].append(ok)
        if not ok and len(wrong) < examples:
            wrong.append({"prompt": question.prompt, "expected": question.objects[0], "got": answer.strip()})
    result: dict[str, Any] = {"questions": len(asked), "by_relation": {}}
    for kind in ("trained", "held_out"):
        every = [ok for (k, _), oks in right.items() if k == kind for ok in oks]
        result[kind] = sum(every) / max(1, len(every))
    for (kind, relation), oks in sorted(right.items(), key=lambda item: item[0][1]):
        result["by_relation"].setdefault(relation, {})[kind] = round(sum(oks) / len(oks), 4)
    return {**result, "wrong": wrong}


def recall_of(folder: Path, world: World, sample: int | None = None, device: str = "cpu") -> dict[str, Any]:
    """`recall` of a folder that `agent.demo.train` wrote, with the seed that it was trained with."""
    seed = int(yaml.safe_load((folder / "recipe.yaml").read_text())["seed"])
    return recall(load_lm(str(folder), dtype="float32", device=device), world, seed, sample)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m agent.demo.recall", description="Measure what a pocket model knows."
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--sample", type=int, help="ask only this many facts")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    try:
        result = recall_of(options.model, load_world(), options.sample, options.device)
    except FactdError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
