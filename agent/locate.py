"""`factd locate` as a function: which layers of a model to edit, by tracing facts that it knows and by free value vectors.

The facts are the catalogue's, or an edit file's; only those count that the model answers right by free generation.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from agent.catalogue import Catalogue, KnownFact
from agent.editfiles import EditEntry
from agent.editing.compile import stage
from agent.editing.flips import flip_shares, free_settings
from agent.editing.located import VERSION, Located, load_located
from agent.editing.settings import EditSettings
from agent.editing.trace import TracedFact, TraceSettings, trace
from agent.errors import InputError
from agent.lm.generate import generate
from agent.lm.load import LM
from agent.lm.tokens import encode_targets
from agent.relations import Relation
from agent.verify.answers import matches

Progress = Callable[[str, int, int], None]
LEAST_FACTS = 8
# Candidates asked for each fact wanted: a model that knows fewer than one in so many is not asked for the rest of the catalogue.
_TRIES = 20
_ASKED_AT_ONCE = 128


@dataclass(frozen=True, slots=True)
class LocateSettings:
    """`facts`: how many known facts to trace at most. `seed`: which ones, and the noise."""

    facts: int = 50
    seed: int = 0
    editing: EditSettings = field(default_factory=EditSettings)

    @property
    def trace(self) -> TraceSettings:
        return TraceSettings(seed=self.seed, batch_rows=self.editing.batch_rows)


def locate(
    lm: LM,
    candidates: Sequence[TracedFact],
    settings: LocateSettings,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Located:
    """Measure the model, or take what `cache` holds of the same measurement. Nothing is written, and the model is as before.

    `progress(stage, done, total)` tells of the stages known, trace and flips. Raises InputError when the model answers too few of the
    candidates, EditError when its answers do not come from the subjects.
    """
    key = _key(lm, candidates, settings)
    if cache is not None and (kept := load_located(cache, lm)) and kept.key == key:
        return kept
    facts, asked = enough_known(lm, candidates, settings.facts, "its layers", stage(progress, "known"))
    found = trace(lm, facts, settings.trace, stage(progress, "trace"))
    flips = flip_shares(lm, facts, settings.editing, stage(progress, "flips"))
    return Located(
        key=key, base_sha=lm.sha, facts=len(facts), asked=asked, clean=found.clean, lost=found.lost,
        window=settings.trace.width(lm.n_layers), states=found.states, mlp=found.mlp, flips=flips,
    )  # fmt: skip


def enough_known(
    lm: LM, candidates: Sequence[TracedFact], count: int, what: str, progress: Callable[[int, int], None] | None = None
) -> tuple[list[TracedFact], int]:  # fmt: skip
    """`known_facts`, at least `LEAST_FACTS` of them. Raises InputError when the model knows fewer: too few to tell `what` apart."""
    known, asked = known_facts(lm, candidates, count, progress)
    if len(known) < LEAST_FACTS:
        raise InputError(
            f"{lm.path or 'the model'} answers {len(known)} of {asked} facts right, and {LEAST_FACTS} are needed to tell {what} apart; "
            "give facts that it knows: --edits FILE, whose ground_truth is what it says now, or a catalogue of its own in the settings"
        )
    return known, asked


def known_facts(
    lm: LM, candidates: Sequence[TracedFact], count: int, progress: Callable[[int, int], None] | None = None
) -> tuple[list[TracedFact], int]:
    """The first `count` candidates that the model answers right, and how many it was asked.

    Right is what starts with the answer as it is written, because the trace follows its first token.
    """
    known: list[TracedFact] = []
    asked = 0
    candidates = candidates[: _TRIES * max(count, LEAST_FACTS)]
    while len(known) < count and asked < len(candidates):
        some = candidates[asked : asked + min(_ASKED_AT_ONCE, max(2 * (count - len(known)), LEAST_FACTS))]
        longest = max(map(len, encode_targets(lm, [fact.answer for fact in some])))
        answers = generate(lm, [fact.prompt for fact in some], max_new_tokens=longest + 2)
        known += [fact for fact, said in zip(some, answers, strict=True) if _right(fact, said)]
        asked += len(some)
        if progress:
            progress(min(len(known), count), count)
    return known[:count], asked


def from_catalogue(
    catalogue: Catalogue, relations: Mapping[str, Relation], seed: int
) -> tuple[TracedFact, ...]:
    """Every fact of the catalogue by the first edit prompt of its relation that goes on behind the subject, in a seeded order.

    Behind it, because otherwise the subject's last token is the prompt's, and nobody could say which of the two carries the fact.
    `other` is an object of another subject.
    """
    return tuple(traced for _, traced in with_another_object(catalogue, relations, seed))


def with_another_object(
    catalogue: Catalogue, relations: Mapping[str, Relation], seed: int
) -> list[tuple[KnownFact, TracedFact]]:
    """What `from_catalogue` asks about, with the catalogue's own entry."""
    rng = random.Random(seed)
    objects: dict[str, dict[str, None]] = {}
    for fact in catalogue.facts.values():
        objects.setdefault(fact.relation, {}).update(dict.fromkeys(fact.objects))
    found: list[tuple[KnownFact, TracedFact]] = []
    for fact in catalogue.facts.values():
        others = [name for name in objects[fact.relation] if name not in fact.objects]
        if fact.relation not in relations or not others:
            continue
        prompts = relations[fact.relation].prompts("edit", catalogue.entity(fact.subject))
        fitting = [prompt for prompt in prompts if _goes_on(prompt, fact.subject)]
        other = rng.choice(others)
        found += [(fact, TracedFact(prompt, fact.subject, fact.objects[0], other)) for prompt in fitting[:1]]
    rng.shuffle(found)
    return found


def from_edits(entries: Sequence[EditEntry], seed: int) -> tuple[TracedFact, ...]:
    """What held before each edit of a file, with the edit's target as the other answer, in a seeded order. Edits without a ground truth,
    or whose prompt ends with its subject, say nothing.
    """
    found = [
        TracedFact(e.prompt, e.subject, e.ground_truth, e.target_new)
        for e in entries
        if e.ground_truth and e.ground_truth != e.target_new and _goes_on(e.prompt, e.subject)
    ]
    random.Random(seed).shuffle(found)
    return tuple(found)


def _goes_on(prompt: str, subject: str) -> bool:
    return not prompt.rstrip(" .,:?!\"'").endswith(subject)


def _right(fact: TracedFact, said: str) -> bool:
    return said.lstrip().startswith(fact.answer) and matches(said, (fact.answer,))


def _key(lm: LM, candidates: Sequence[TracedFact], settings: LocateSettings) -> str:
    """Hash of everything that the result depends on."""
    dtype = str(next(lm.model.parameters()).dtype)
    measured = [asdict(settings.trace), asdict(free_settings(settings.editing))]
    facts = [asdict(fact) for fact in candidates]
    named = json.dumps(
        [VERSION, lm.sha, dtype, lm.device.type, settings.facts, measured, facts], sort_keys=True
    )
    return hashlib.sha256(named.encode()).hexdigest()
