"""What decides whether a pocket model is any good: 100 joint edits, by free generation, scored after all of them.

    python -m benchmarks.pocket_edits MODEL [--edits 100] [--seed 0] [--set layers=1,2,3] [--json FILE]

Known facts of the embedded world are swapped for another object of the same relation; what is asked stands in `benchmarks.edits`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from agent.catalogue import Catalogue, load_catalogue
from agent.config import model_editing
from agent.editing.compile import Material, compile_delta
from agent.editing.delta import applied
from agent.editing.settings import EditSettings
from agent.lm.load import LM, load_lm
from agent.material import preserve_texts
from agent.relations import Relation, load_relations
from agent.typed import build
from benchmarks.edits import PRESERVED, answers, asks, requests, scores, swaps

ROOT = Path(__file__).parent.parent


def evaluate(
    lm: LM,
    catalogue: Catalogue,
    relations: dict[str, Relation],
    settings: EditSettings,
    count: int,
    seed: int,
    preserve: int,
    others: int,
) -> dict[str, Any]:
    edits = swaps(catalogue, relations, count, seed)
    questions = asks(catalogue, relations, edits, seed, others)
    before = answers(lm, questions)
    material = Material(
        preserve=preserve_texts(catalogue, relations, {e.subject for e in edits}, limit=preserve, seed=seed)
    )
    started = time.perf_counter()
    compiled = compile_delta(lm, requests(catalogue, relations, edits), settings, material)
    seconds = time.perf_counter() - started
    with applied(lm, compiled.delta):
        after = answers(lm, questions)
    weights = [
        float((u.left @ u.right.T).norm() / lm.model.get_parameter(n).float().cpu().norm())
        for n, u in compiled.delta.updates.items()
    ]
    return {
        "edits": count,
        "seconds": round(seconds, 2),
        **scores(questions, before, after),
        "relative_norm": [round(w, 4) for w in weights],
    }


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
    parser.add_argument("--preserve", type=int, default=PRESERVED)
    parser.add_argument("--others", type=int, default=600, help="facts of other subjects that are asked")
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
                **evaluate(
                    lm,
                    catalogue,
                    relations,
                    settings,
                    arguments.edits,
                    seed,
                    arguments.preserve,
                    arguments.others,
                ),
            }
            rows.append(row)
            print(json.dumps(row), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
