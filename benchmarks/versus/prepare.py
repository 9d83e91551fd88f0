"""What both sides are given: the texts of the statistics, the edits and what is asked after them, and a model to time them on.

    python -m benchmarks.versus.prepare PLAN     # a `Plan` as JSON

A model with random weights is built from its config and a tokenizer trained on the spot; its edits are of invented subjects in the
prompts of real relations, its texts the demo's documents, and nothing is asked of it. Any other model is taken for one that knows the
embedded world: its known facts are swapped, and it writes its texts itself.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from agent.catalogue import Catalogue, load_catalogue
from agent.config import model_editing
from agent.demo.corpus import Corpus, documents, prepare
from agent.demo.forms import load_world
from agent.demo.tokenizer import train_tokenizer
from agent.editing.corpus import own_samples
from agent.editing.layers import default_layers
from agent.lm.load import LM, load_lm
from agent.material import preserve_texts
from agent.paths import WORLD, data_file
from agent.relations import Relation, load_relations
from agent.types import EditRequest, Entity
from benchmarks.edits import EDITED, PRESERVED, Ask, Swap, answers, asks, requests, swaps
from benchmarks.versus.job import EditSet, write_edits

# 134 M (weights of both ends apart) and 124 M parameters. The tokenizer's ids only have to lie below the vocabulary.
RANDOM: Mapping[str, Mapping[str, Any]] = {
    "llama-100m": {"model_type": "llama", "hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12,
                   "num_attention_heads": 12, "vocab_size": 32_000, "max_position_embeddings": 1024},
    "gpt2-100m": {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50_257},
}  # fmt: skip
_VOCABULARY = 4_000
_SAMPLE_TOKENS = 48
_STATISTICS = 5  # layers
_RANDOM_LAYERS = (1, 2, 3, 4, 5)  # five, as the published settings have, in the first half
_SYLLABLES = ("ba", "dor", "fen", "gri", "kal", "lo", "mur", "nev", "pol", "rin", "sta", "tuv", "vel", "zan")


@dataclass(frozen=True, slots=True)
class Plan:
    """`model`: a folder, to be made if its name is in `RANDOM` and it is not there. Every file goes to `work`: `about.json`,
    `texts.json`, and of each of `sets` (name, edits, seed, facts of other subjects that are asked) one `NAME.json`.
    """

    model: str
    work: str
    texts: int
    sets: tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class About:
    """The model's family, the layers that all sides edit, and those whose statistics are timed."""

    model_type: str
    layers: tuple[int, ...]
    statistics: tuple[int, ...]


def read_about(work: Path) -> About:
    row = json.loads((work / "about.json").read_text(encoding="utf-8"))
    return About(row["model_type"], tuple(row["layers"]), tuple(row["statistics"]))


def make(plan: Plan) -> None:
    """Write everything."""
    folder, work = Path(plan.model), Path(plan.work)
    invented = folder.name in RANDOM
    if invented and not (folder / "config.json").is_file():
        build_random(folder)
    lm = load_lm(plan.model, dtype="float32", device="cpu")
    _write(work / "about.json", asdict(about(lm, _RANDOM_LAYERS if invented else ())))
    texts = told(world_corpus(), plan.texts) if invented else own_samples(lm, plan.texts, _SAMPLE_TOKENS, 0)
    _write(work / "texts.json", texts)
    catalogue, relations = load_catalogue([WORLD]), load_relations(data_file("relations.yaml"))
    for name, count, seed, others in plan.sets:
        if invented:
            edits = EditSet(tuple(invented_requests(catalogue, relations, count, seed)))
        else:
            edits = known_facts(
                lm, catalogue, relations, swaps(catalogue, relations, count, seed), seed, others
            )
        write_edits(work / f"{name}.json", edits)


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def about(lm: LM, layers: tuple[int, ...]) -> About:
    """Edited are `layers`, else those of the checkpoint's own settings, else the family's."""
    edited = layers or tuple(model_editing(lm.path).get("layers", ())) or default_layers(lm)
    first = min(edited[0], max(0, lm.n_layers - _STATISTICS))
    timed = range(first, min(lm.n_layers, max(first + _STATISTICS, edited[-1] + 1)))
    return About(lm.model.config.model_type, edited, tuple(timed))


def known_facts(
    lm: LM, catalogue: Catalogue, relations: dict[str, Relation], edits: Sequence[Swap], seed: int, others: int
) -> EditSet:  # fmt: skip
    """The swaps with everything that is asked, and what the model says before.

    Of the edit prompts only the first is asked: it is the one that every side is given.
    """
    wanted = requests(catalogue, relations, edits)
    given, subjects = {r.prompt for r in wanted}, {e.subject for e in edits}
    found: list[Ask] = asks(catalogue, relations, edits, seed, others)
    questions = [ask for ask in found if ask.kind != "efficacy" or ask.prompt in given]
    preserve = preserve_texts(catalogue, relations, subjects, limit=PRESERVED, seed=seed)
    return EditSet(
        requests=tuple(wanted),
        preserve=tuple((row.text, row.subject) for row in preserve),
        asks=tuple(questions),
        before=tuple(answers(lm, questions)),
    )


def invented_requests(
    catalogue: Catalogue, relations: Mapping[str, Relation], count: int, seed: int
) -> list[EditRequest]:
    """Real facts told of subjects that do not exist, each with a subject of its own."""
    rng = random.Random(seed)
    names = [f"{''.join(rng.sample(_SYLLABLES, 3)).capitalize()} {number}" for number in range(count)]
    facts = [f for f in catalogue.facts.values() if f.relation in EDITED]
    found = []
    for name in names:
        fact = rng.choice(facts)
        prompts = relations[fact.relation].prompts("edit", Entity(name, "", ""))
        keep = relations[rng.choice(EDITED)].prompts("edit", Entity(name, "", ""))
        found.append(EditRequest(name, prompts, fact.objects[0], keep=keep))
    return found


def world_corpus() -> Corpus:
    return prepare(load_world(), seed=0)


def told(corpus: Corpus, count: int) -> list[str]:
    """Documents of the embedded world."""
    return list(islice(documents(corpus, random.Random(0)), count))


def build_random(folder: Path) -> None:
    """A checkpoint with seeded random weights, in float32. The folder appears whole or not at all."""
    tokenizer = train_tokenizer(world_corpus(), _VOCABULARY, seed=0)
    torch.manual_seed(0)
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    family: Any = AutoModelForCausalLM
    model = family.from_config(AutoConfig.for_model(**RANDOM[folder.name], **ids))
    partial = folder.with_name(f".{folder.name}.partial")
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    partial.rename(folder)


def main() -> None:
    row = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    make(replace(Plan(**row), sets=tuple(tuple(item) for item in row["sets"])))


if __name__ == "__main__":
    main()
