"""A deliberately harmful batch on the model that ships, with the demo's own gate: what is refused, and what is published all the same.

    python -m benchmarks.harmful [--good 4] [--state FOLDER] [--json FILE]

Approved together with facts of the demo that are true:

    contradicting, same words     an edit by hand with a prompt of a fact's own, and another answer
    contradicting, other words    the same question in words that do not edit, and a third answer
    contradicting, new words      in words that stand in no relation, and a fourth answer: only the gate can find it
    misplaced                     an edit by hand whose subject is "prime minister of": the key is read where every such prompt passes
    too loud                      a fact whose value vector, as it is kept, was multiplied by 20

The batch goes through `apply` as a user's would: gate, search, overlay, publication. Ends with an error when a culprit is in the weights, when
a true fact is not live, when fewer than half of the true ones are in the weights, or when what was published fails verification.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from agent.cli.edits import Knowledge, Wanted, of_fact, of_request
from agent.cli.progress import ProgressLine, shows_progress
from agent.config import load
from agent.editing.requests import value_keys
from agent.paths import FEEDS, data_file
from agent.recheck import recheck
from agent.recipe import compiled, recipe_of
from agent.revise import Revised, apply
from agent.store import queue, revisions
from agent.strict import read_yaml
from agent.types import EditRequest
from agent.workshop import Workshop, open_workshop, settled
from benchmarks.outcome import finish

NOW = datetime(2025, 7, 1, tzinfo=UTC)
FIRST = ("Boeing", "ceo", "Kelly Ortberg")
SAME_WORDS = EditRequest("Boeing", ("The chief executive of Boeing is",), "Tim Cook")
OTHER_WORDS = EditRequest("Boeing", ("The CEO of Boeing is",), "Satya Nadella")
NEW_WORDS = EditRequest("Boeing", ("At the head of Boeing stands",), "Sundar Pichai")
MISPLACED = EditRequest("prime minister of", ("The prime minister of Norway is",), "Jonas Gahr Store")
TOO_LOUD = ("Sweden", "head_of_government", "Ulf Kristersson")
FACTOR = 20.0
_ONE_OF = ("first", "same words", "other words", "new words")


def good_facts(count: int) -> list[tuple[str, str, str]]:
    """True changes of the demo, spread over its list, about other subjects than the culprits'."""
    used = {FIRST[0], TOO_LOUD[0], "Norway"}
    rows = [row for row in read_yaml(FEEDS / "expected.yaml")["live"] if row["subject"] not in used]
    step = max(1, len(rows) // count)
    return [(row["subject"], row["relation"], row["object"]) for row in rows[::step][:count]]


def fill(shop: Workshop, good: Sequence[tuple[str, str, str]]) -> dict[int, str]:
    """Queue and approve all of it; the name of each by its proposal."""
    known = Knowledge(shop.settings, shop.relations, shop.catalogue)
    wanted = {f"{fact[0]}, {fact[1]}": of_fact(*fact, known, NOW) for fact in good}
    wanted |= {
        "first": of_fact(*FIRST, known, NOW),
        "same words": of_request(SAME_WORDS, known, NOW),
        "other words": of_request(OTHER_WORDS, known, NOW),
        "new words": of_request(NEW_WORDS, known, NOW),
        "misplaced": of_request(MISPLACED, known, NOW),
        "too loud": of_fact(*TOO_LOUD, known, NOW),
    }
    names = {_approved(shop, item): name for name, item in wanted.items()}
    scale_value(shop, next(id_ for id_, name in names.items() if name == "too loud"))
    return names


def _approved(shop: Workshop, wanted: Wanted) -> int:
    made = queue.propose(
        shop.store,
        wanted.draft,
        now=NOW,
        request=wanted.request,
        single=wanted.single,
        who="benchmark",
    )
    queue.approve(shop.store, made.proposal.id, who="benchmark", now=NOW)
    return made.proposal.id


def scale_value(shop: Workshop, proposal_id: int) -> None:
    """Find the value vector of a fact as `apply` would, and multiply what is kept of it by 20."""
    lm = shop.base()
    recipe = recipe_of(settled(shop, lm), lm, [queue.get(shop.store, proposal_id)])
    compiled(lm, replace(recipe, settings=replace(recipe.settings, polish=0)), shop.cache)
    (key,) = value_keys(lm, recipe.requests, recipe.settings.layers, recipe.settings)
    path = shop.cache / "values" / f"{key}.safetensors"
    save_file({"value": load_file(path)["value"] * FACTOR}, path)


def ended(shop: Workshop, names: Mapping[int, str], revised: Revised) -> dict[str, str]:
    """Where each is live (weights, overlay), else its status."""
    places = revisions.places(shop.store, revised.revision.id) if revised.revision else {}
    return {name: places.get(id_) or queue.get(shop.store, id_).status for id_, name in names.items()}


def complaints(found: Mapping[str, str], good: Sequence[str], *, still: bool) -> list[str]:
    """What is not as it should be."""
    wrong = [f"{name} is in the weights" for name in ("misplaced", "too loud") if found[name] == "weights"]
    wrong += [f"{name} is {found[name]}" for name in ("same words", "other words") if found[name] != "failed"]
    if sum(found[name] == "weights" for name in _ONE_OF) > 1:
        wrong.append("edits that contradict each other are in the weights")
    wrong += [f"{name} is {found[name]}" for name in good if found[name] not in ("weights", "overlay")]
    if 2 * sum(found[name] == "weights" for name in good) < len(good):
        wrong.append("fewer than half of the true facts are in the weights")
    return wrong if still else [*wrong, "what was published fails verification"]


def measure(state: Path, count: int) -> dict[str, Any]:
    settings = replace(load(data_file("demo.yaml"), state=state, environ={}), sources=())
    progress = ProgressLine(shows_progress(sys.stderr, quiet=False))
    shop = open_workshop(settings, clock=lambda: NOW, progress=progress, create=True)
    good = good_facts(count)
    with progress, shop.store:
        names = fill(shop, good)
        began = time.monotonic()
        revised = apply(shop)
        seconds = time.monotonic() - began
        found = ended(shop, names, revised)
        reasons = {names[id_]: why for id_, why in {**revised.failed, **revised.beside}.items()}
        still = revised.revision is not None and recheck(shop).passed
    wrong = complaints(found, [f"{fact[0]}, {fact[1]}" for fact in good], still=still)
    return {"ended": found, "reasons": reasons, "seconds": round(seconds, 1), "wrong": wrong}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.harmful", description=__doc__)
    parser.add_argument("--good", type=int, default=4, help="true facts beside the culprits")
    parser.add_argument("--state", type=Path, help="an empty folder to keep the state in")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        result = measure((options.state or Path(scratch) / "state").absolute(), options.good)
    for name, where in result["ended"].items():
        sys.stdout.write(f"{name:<40}{where:<10}{result['reasons'].get(name, '')}\n")
    sys.stdout.write(f"{result['seconds']} s\n")
    return finish(result, options.json)


if __name__ == "__main__":
    sys.exit(main())
