"""Known facts with another object in the place of theirs, and what to ask after that: material for measuring how well edits go.

Nothing here asks the model. Which of the candidates it knows is for the caller to find out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from agent.catalogue import Catalogue, KnownFact
from agent.editfiles import EditEntry
from agent.editing.keys import SubjectText
from agent.editing.trace import TracedFact
from agent.locate import from_edits, with_another_object
from agent.material import edit_request, preserve_texts
from agent.relations import Relation
from agent.types import EditRequest, Fact, Probe
from agent.verify.probes import ProbeSizes, probe_set

KINDS = ("efficacy", "paraphrase", "same_subject", "others")
_SIZES = ProbeSizes(same_subject=1, same_relation=3, canary=16)
_OTHERS = ("same_relation", "canary")
# When a swapped fact is said to hold from: it never does, and nothing reads it.
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Draw:
    """Swaps to be compiled together. `probes`: by kind, in the order of `KINDS`, those that there are; the first two ask for the new
    objects, the others for what should stay. `preserve`: texts whose keys are to be left alone; None where nobody can say.
    """

    requests: tuple[EditRequest, ...]
    probes: Mapping[str, tuple[Probe, ...]]
    preserve: tuple[SubjectText, ...] | None = None


@dataclass(frozen=True, slots=True)
class Swaps:
    """`candidates` in a seeded order; `draw(facts, rest)` swaps some of them, `rest` are others that the model knows as well."""

    candidates: tuple[TracedFact, ...]
    draw: Callable[[Sequence[TracedFact], Sequence[TracedFact]], Draw]


def of_catalogue(
    catalogue: Catalogue, relations: Mapping[str, Relation], seed: int, preserve_limit: int
) -> Swaps:
    """The catalogue's facts of relations with one object each. Paraphrases and other facts are asked by held-out prompts."""
    entries: dict[TracedFact, KnownFact] = {}
    asked: set[str] = set()
    for known, traced in with_another_object(catalogue, relations, seed):
        relation = relations[known.relation]
        prompts = set(relation.prompts("edit", catalogue.entity(known.subject)))
        # Two relations can read the same once they are filled, and two swaps of one prompt contradict each other.
        if relation.cardinality == "one" and not prompts & asked:
            entries[traced] = known
            asked |= prompts

    def draw(facts: Sequence[TracedFact], rest: Sequence[TracedFact]) -> Draw:
        swapped = [Fact(entries[fact].subject, entries[fact].relation, fact.other, _NEVER) for fact in facts]
        probes = probe_set(swapped, relations, catalogue, live=swapped, sizes=_SIZES, seed=seed)
        subjects = {fact.subject for fact in swapped}
        return Draw(
            tuple(edit_request(fact, relations, catalogue) for fact in swapped),
            _by_kind(probes, seed),
            preserve_texts(catalogue, relations, subjects, limit=preserve_limit, seed=seed),
        )

    return Swaps(tuple(entries), draw)


def of_edits(entries: Sequence[EditEntry], seed: int) -> Swaps:
    """The edits of a file whose ground truth says what held before, each prompt once. What should stay are the rest of what the model
    knows of the file, and the file's own locality questions where it gives their answers.
    """
    edits: dict[TracedFact, EditEntry] = {}
    prompts: set[str] = set()
    for entry in entries:
        traced = from_edits([entry], seed)
        if traced and entry.prompt not in prompts:
            prompts.add(entry.prompt)
            edits[traced[0]] = entry
    order = from_edits(list(edits.values()), seed)

    def draw(facts: Sequence[TracedFact], rest: Sequence[TracedFact]) -> Draw:
        chosen = [edits[fact] for fact in facts]
        subjects = {entry.subject for entry in chosen}
        probes = [
            *(Probe("efficacy", e.prompt, (e.target_new,)) for e in chosen),
            *(Probe("paraphrase", prompt, (e.target_new,)) for e in chosen for prompt in e.rephrase),
            *(_stays(f.prompt, (f.answer,), f.subject in subjects) for f in rest),
            *(_stays(q.prompt, q.answers, False) for e in chosen for q in e.locality if q.answers),
        ]
        return Draw(tuple(entry.request for entry in chosen), _by_kind(probes, seed))

    return Swaps(order, draw)


def _stays(prompt: str, answers: tuple[str, ...], same_subject: bool) -> Probe:
    return Probe("same_subject" if same_subject else "canary", prompt, answers)


def _by_kind(probes: Sequence[Probe], seed: int) -> dict[str, tuple[Probe, ...]]:
    """Each prompt once, as the first kind that has it; those of a kind in a seeded order, so that the first of them are a sample."""
    found: dict[str, dict[str, Probe]] = {kind: {} for kind in KINDS}
    seen: set[str] = set()
    for probe in sorted(probes, key=lambda p: KINDS.index(_kind(p)) if _kind(p) in KINDS else len(KINDS)):
        if _kind(probe) in KINDS and probe.prompt not in seen:
            seen.add(probe.prompt)
            found[_kind(probe)][probe.prompt] = probe
    groups = {kind: list(group.values()) for kind, group in found.items() if group}
    for group in groups.values():
        random.Random(seed).shuffle(group)
    return {kind: tuple(group) for kind, group in groups.items()}


def _kind(probe: Probe) -> str:
    return "others" if probe.kind in _OTHERS else probe.kind
