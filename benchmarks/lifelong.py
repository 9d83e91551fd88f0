"""A long life of edits: a stream of batches, and how well all facts so far are told after each.

    python -m benchmarks.lifelong MODEL [--batches 100] [--size 10] [--every 10] [--runs memit:joint,memit:sequential]
                                        [--json FILE] [--png FILE]

Known facts of the embedded world are swapped, ten at a time. *Joint* compiles all facts of the stream so far against the base, with the
value vectors of the batches before. *Sequential* puts each batch on top of the last, keeping the keys of those before in the solve;
*forgetful* does not even that, as peers edit. Asked, by free generation, are the facts of a fixed sample that are live by then
(efficacy, paraphrase), what else the base knew of their subjects, facts of subjects that the stream never touches (others), and the
perplexity of the base's own texts. `single` is one joint compilation of everything, with value vectors of its own.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from torch import Tensor

from agent.catalogue import Catalogue, load_catalogue
from agent.config import model_editing
from agent.editing.compile import Material, compile_delta, compiled_in_batches, find_values
from agent.editing.corpus import own_samples
from agent.editing.delta import applied
from agent.editing.settings import EditSettings
from agent.lm.load import LM, load_lm
from agent.lm.score import perplexity
from agent.material import preserve_texts
from agent.paths import WORLD, data_file
from agent.relations import Relation, load_relations
from agent.types import EditRequest
from benchmarks.edits import PRESERVED, Ask, Swap, answers, asks, requests, scores, staying, swaps
from benchmarks.pocket_edits import parse_settings

MODES = ("joint", "sequential", "forgetful", "single")


@dataclass(frozen=True, slots=True)
class Stream:
    """What is edited, in order, and what is asked. `questions[i]` belongs to edit i; `others` to none. `before`: the base's answers."""

    edits: tuple[Swap, ...]
    requests: tuple[EditRequest, ...]
    questions: dict[int, list[Ask]]
    others: list[Ask]
    before: dict[str, str]
    texts: tuple[str, ...]
    material: Material


def stream_of(
    lm: LM, catalogue: Catalogue, relations: dict[str, Relation], options: argparse.Namespace, cache: Path
) -> Stream:
    edits = tuple(swaps(catalogue, relations, options.batches * options.size, options.seed))
    subjects = {edit.subject for edit in edits}
    # Another fact of the subject may be edited later in the stream: it is not asked as one that stays.
    edited = {(edit.subject, edit.relation) for edit in edits}
    sample = random.Random(options.seed).sample(range(len(edits)), min(options.sample, len(edits)))
    questions = {}
    for index in sample:
        own = asks(catalogue, relations, [edits[index]], options.seed, 0)
        kept = {
            prompt
            for fact in catalogue.facts_of(edits[index].subject)
            if (fact.subject, fact.relation) not in edited and fact.relation in relations
            for prompt in staying(relations[fact.relation], catalogue.entity(fact.subject))
        }
        questions[index] = [q for q in own if q.kind != "same_subject" or q.prompt in kept]
    others = [
        q for q in asks(catalogue, relations, edits, options.seed, options.others) if q.kind == "others"
    ]
    every = [*others, *(q for own in questions.values() for q in own)]
    said = dict(zip((q.prompt for q in every), answers(lm, every), strict=True))
    preserve = preserve_texts(catalogue, relations, subjects, limit=options.preserve, seed=options.seed)
    texts = tuple(own_samples(lm, 64, 48, options.seed + 1))
    made = tuple(requests(catalogue, relations, edits))
    return Stream(edits, made, questions, others, said, texts, Material(preserve=preserve, cache=cache))


def score(lm: LM, stream: Stream, live: int) -> dict[str, float]:
    """Of the model as it is, with the first `live` edits in it."""
    asked = [q for index, own in stream.questions.items() if index < live for q in own] + stream.others
    found = scores(asked, [stream.before[q.prompt] for q in asked], answers(lm, asked))
    return {**found, "perplexity": round(perplexity(lm, stream.texts), 4)}


def joint(
    lm: LM, stream: Stream, settings: EditSettings, points: Sequence[int], size: int
) -> Iterator[dict[str, Any]]:
    """Compiled is at the `points` only; the values, which a stream keeps, are found batch by batch of `size` facts, as they come."""
    known: Mapping[str, Tensor] = {}
    for before, live in pairwise([0, *points]):
        started = time.perf_counter()
        for done in range(before + size, live + 1, size):
            known = find_values(lm, stream.requests[:done], settings, known)
        compiled = compile_delta(
            lm, stream.requests[:live], settings, replace(stream.material, known_values=known)
        )
        seconds = time.perf_counter() - started
        with applied(lm, compiled.delta):
            yield {"live": live, "seconds": round(seconds, 1), **score(lm, stream, live)}


def sequential(
    lm: LM, stream: Stream, settings: EditSettings, points: Sequence[int]
) -> Iterator[dict[str, Any]]:
    started, asking = time.perf_counter(), 0.0
    for live, _ in compiled_in_batches(lm, stream.requests[: points[-1]], settings, stream.material):
        if live in points:
            asked = time.perf_counter()
            found = score(lm, stream, live)
            asking += time.perf_counter() - asked
            yield {"live": live, "seconds": round(time.perf_counter() - started - asking, 1), **found}


def run(
    lm: LM, stream: Stream, base: EditSettings, name: str, points: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """The rows of one run `algorithm:mode`."""
    algorithm, _, mode = name.partition(":")
    settings = parse_settings([f"algorithm={algorithm}"], asdict(base))
    if mode == "joint":
        return joint(lm, stream, settings, points, settings.batch)
    if mode == "single":  # one batch
        return joint(lm, stream, settings, points[-1:], points[-1])
    steps = replace(settings, mode="sequential", history=mode == "sequential")
    return sequential(lm, stream, steps, points)


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Four panels over the number of live facts, a line for each run. Raises ImportError without the extra `plots`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = ("efficacy", "paraphrase", "same_subject", "others")
    figure, axes = pyplot.subplots(1, len(panels), figsize=(13, 3.4), sharey=True, constrained_layout=True)
    names = list(dict.fromkeys(row["run"] for row in rows))
    for axis, panel in zip(axes, panels, strict=True):
        for number, name in enumerate(names):
            mine = [row for row in rows if row["run"] == name]
            style = {"joint": "-", "sequential": "--", "forgetful": ":", "single": ""}[name.split(":")[1]]
            axis.plot([r["live"] for r in mine], [r[panel] for r in mine], style, marker="o", markersize=3,
                      color=f"C{number % 10}", label=name)  # fmt: skip
        axis.set_title(panel.replace("_", " "), fontsize=10)
        axis.set_xlabel("live facts")
        axis.set_ylim(0, 1.02)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("share of right answers, all facts so far")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    figure.savefig(path, dpi=140)
    pyplot.close(figure)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("model")
    add("--batches", type=int, default=100)
    add("--size", type=int, default=10, help="facts of a batch")
    add("--every", type=int, default=10, help="batches between two measurements")
    add("--runs", default="memit:joint,memit:sequential,memit:forgetful,memit:single")
    add("--sample", type=int, default=150, help="edits whose facts are asked")
    add("--others", type=int, default=300, help="facts of untouched subjects that are asked")
    add("--preserve", type=int, default=PRESERVED)
    add("--seed", type=int, default=0)
    add("--set", action="append", default=[], help="key=value over the checkpoint's own settings; repeatable")
    add("--json", type=Path)
    add("--png", type=Path)
    options = parser.parse_args(arguments)
    for name in options.runs.split(","):
        if name.partition(":")[2] not in MODES:
            parser.error(f"--runs: {name!r} is no ALGORITHM:MODE with a mode of {', '.join(MODES)}")
    return options


def main() -> None:
    options = parse()
    catalogue, relations = load_catalogue([WORLD]), load_relations(data_file("relations.yaml"))
    lm = load_lm(options.model, dtype="float32")
    settings = replace(parse_settings(options.set, model_editing(options.model)), batch=options.size)
    cache = Path("build/lifelong")
    stream = stream_of(lm, catalogue, relations, options, cache)
    step = options.every * options.size
    points = range(step, len(stream.edits) + 1, step)
    rows: list[dict[str, Any]] = []
    base = {"run": "base", "live": 0, **score(lm, stream, 0)}
    print(json.dumps(base), flush=True)
    for name in options.runs.split(","):
        for row in run(lm, stream, settings, name, points):
            rows.append({"run": name, **row})
            print(json.dumps(rows[-1]), flush=True)
            if options.json:  # a long run that is interrupted keeps what it measured
                document = {
                    "options": vars(options),
                    "settings": asdict(settings),
                    "base": base,
                    "rows": rows,
                }
                options.json.write_text(json.dumps(document, indent=1, default=str))
    if options.png:
        draw(rows, options.png)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
