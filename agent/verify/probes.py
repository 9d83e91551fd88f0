"""What the model is asked before and after an edit, and what it should say.

    efficacy       the fact's edit prompts, answered freely
    paraphrase     held-out prompts of the relation
    question       held-out questions
    chat           the first of them as a turn of a dialogue
    inverse        object first; reported only, as no editor of this kind propagates to inverses
    portability    the fact and one more (agent.verify.hops); reported only
    same_subject   what else is known about an edited subject
    same_relation  the edited relations of other subjects, those nearest in key space first
    canary         a fixed sample of everything known
    overlay        every prompt of the facts that the weights refused; asked as they are served, with the overlay

A prompt that edits is never used to verify (DESIGN, invariant 5): two templates can read the same once they
are filled, so texts are compared, not templates. Which facts are drawn depends on a hash of (seed, fact)
alone: adding an entity to the catalogue moves few canaries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nsmallest

from agent.catalogue import Catalogue
from agent.errors import InputError
from agent.relations import Relation
from agent.types import Entity, Fact, FactKey, Probe, ProbeKind
from agent.verify.answers import forms_of
from agent.verify.hops import portability_probes

Known = Mapping[FactKey, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class ProbeSizes:
    """How much is asked. `same_subject`: prompts for each other fact of an edited subject; `same_relation`:
    facts per edited relation, one prompt each; `canary`: facts in all, one prompt each.
    """

    same_subject: int = 2
    same_relation: int = 30
    canary: int = 300

    def __post_init__(self) -> None:
        if min(self.same_subject, self.same_relation, self.canary) < 0:
            raise InputError(f"probe sizes must be zero or more, got {self}")


def probe_set(
    facts: Sequence[Fact],
    relations: Mapping[str, Relation],
    catalogue: Catalogue,
    *,
    live: Sequence[Fact] = (),
    sizes: ProbeSizes | None = None,
    near: Mapping[str, float] | None = None,
    seed: int = 0,
) -> tuple[Probe, ...]:
    """Everything to ask about a candidate revision; each prompt occurs once, in a fixed order.

    `facts` are under test and get probes of their own; `live` are the revision's other facts: what they say
    is known, in place of what the catalogue says. `near`: how near other subjects are to an edited one (cosine of their keys); of
    those without it a sample. Raises InputError for a relation that nobody described.
    """
    edits = edit_texts((*facts, *live), relations, catalogue)
    tested = {fact.key for fact in facts}
    known = {
        key: objects for key, objects in known_facts(relations, catalogue, live).items() if key not in tested
    }
    draw = _Draw(relations, catalogue, known, sizes or ProbeSizes(), seed, frozenset(edits), near or {})
    probes = [
        *(p for fact in facts for p in _own(fact, relations, catalogue)),
        *(p for fact in facts for p in portability_probes(fact, known, relations, catalogue)),
        *draw.same_subject({fact.subject for fact in facts}),
        *draw.same_relation({fact.subject for fact in facts}, {fact.relation for fact in facts}),
        *draw.canaries(),
    ]
    order: dict[str, Probe] = {}
    for probe in sorted(probes, key=lambda p: _ORDER.index(p.kind)):
        if probe.kind == "efficacy" or probe.prompt not in edits:
            order.setdefault(probe.prompt, probe)
    return tuple(order.values())


def probes_for(fact: Fact, relation: Relation, entity: Entity, catalogue: Catalogue) -> tuple[Probe, ...]:
    """The probes of one fact: efficacy, paraphrase, question, inverse. What the catalogue holds of it
    otherwise is stale.
    """
    expect = forms_of(fact.object, relation.object, catalogue)
    known = catalogue.facts.get(fact.key)
    old = known.objects if known else ()
    stale = (f for o in old for f in forms_of(o, relation.object, catalogue) if f not in expect)
    reject = tuple(dict.fromkeys(stale)) if relation.cardinality == "one" else ()
    edits = set(relation.prompts("edit", entity))
    sets: tuple[tuple[ProbeKind, tuple[str, ...]], ...] = (
        ("efficacy", relation.prompts("edit", entity)),
        ("paraphrase", _without(relation.prompts("probes", entity), edits)),
        ("question", _without(relation.prompts("questions", entity), edits)),
    )
    forward = [Probe(kind, p, expect, reject, fact.key) for kind, prompts in sets for p in prompts]
    forward += [Probe("chat", dialogue(p), expect, reject, fact.key) for p in sets[2][1][:1]]
    who = forms_of(fact.subject, relation.subject, catalogue)
    back = [
        Probe("inverse", prompt, who, (), fact.key)
        for prompt in relation.inverse_prompts(fact.subject, fact.object)
    ]
    return (*forward, *back)


def overlay_probes(
    facts: Iterable[Fact], relations: Mapping[str, Relation], catalogue: Catalogue
) -> tuple[Probe, ...]:
    """Every forward prompt of facts that are not in the weights; each once. Raises InputError for a relation that nobody described."""
    found = {
        probe.prompt: replace(probe, kind="overlay")
        for fact in facts
        for probe in _own(fact, relations, catalogue)
        if probe.kind in ("efficacy", "paraphrase", "question")
    }
    return tuple(found.values())


def dialogue(question: str) -> str:
    """A question as a turn of a dialogue in plain text, as a chat window or another program may put it."""
    return f"Question: {question}\nAnswer:"


def edit_texts(facts: Iterable[Fact], relations: Mapping[str, Relation], catalogue: Catalogue) -> set[str]:
    """The prompts that the compiler sees for these facts. Raises InputError for a relation that nobody
    described.
    """
    return {
        prompt
        for fact in facts
        for prompt in relation_of(fact.key, relations).prompts("edit", catalogue.entity(fact.subject))
    }


def known_facts(
    relations: Mapping[str, Relation], catalogue: Catalogue, live: Iterable[Fact] = ()
) -> dict[FactKey, tuple[str, ...]]:
    """What a right answer is, by fact: the catalogue's objects, or a live fact's where there is one. Sorted
    by key.
    """
    known = {key: fact.objects for key, fact in catalogue.facts.items() if fact.relation in relations}
    known.update({fact.key: (fact.object,) for fact in live if fact.relation in relations})
    return dict(sorted(known.items()))


def held_out(relation: Relation, entity: Entity) -> tuple[str, ...]:
    """Questions and probes of a relation about `entity`, without texts that also edit; each once."""
    prompts = (*relation.prompts("questions", entity), *relation.prompts("probes", entity))
    return tuple(dict.fromkeys(_without(prompts, set(relation.prompts("edit", entity)))))


def relation_of(key: FactKey, relations: Mapping[str, Relation]) -> Relation:
    """The relation of a fact. Raises InputError when the relations file has none of that name."""
    if key[1] not in relations:
        known = ", ".join(sorted(relations))
        raise InputError(f"{key[0]}: relation {key[1]!r} is not in the relations file; known: {known}")
    return relations[key[1]]


_ORDER: tuple[ProbeKind, ...] = (
    "efficacy", "paraphrase", "question", "chat", "inverse", "portability", "same_subject", "same_relation", "canary",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Draw:
    """Draws probes about what must not change."""

    relations: Mapping[str, Relation]
    catalogue: Catalogue
    known: Known
    sizes: ProbeSizes
    seed: int
    edits: frozenset[str]
    near: Mapping[str, float]

    def same_subject(self, subjects: Collection[str]) -> Iterator[Probe]:
        for key in self.known:
            if key[0] in subjects:
                yield from self._probes("same_subject", key, self.sizes.same_subject)

    def same_relation(self, subjects: Collection[str], names: Collection[str]) -> Iterator[Probe]:
        for name in sorted(names):
            others = [key for key in self.known if key[1] == name and key[0] not in subjects]
            yield from self._sample("same_relation", others, self.sizes.same_relation)

    def canaries(self) -> Iterator[Probe]:
        yield from self._sample("canary", list(self.known), self.sizes.canary)

    def _sample(self, kind: ProbeKind, keys: Sequence[FactKey], size: int) -> Iterator[Probe]:
        near = self.near if kind == "same_relation" else {}
        for key in nsmallest(size, keys, key=lambda k: (-near.get(k[0], -1.0), rank(self.seed, kind, *k))):
            yield from self._probes(kind, key, 1)

    def _probes(self, kind: ProbeKind, key: FactKey, count: int) -> Iterator[Probe]:
        relation = self.relations[key[1]]
        prompts = _without(held_out(relation, self.catalogue.entity(key[0])), self.edits)
        expect = dict.fromkeys(
            f for o in self.known[key] for f in forms_of(o, relation.object, self.catalogue)
        )
        for prompt in sorted(prompts, key=lambda p: rank(self.seed, kind, *key, p))[:count]:
            yield Probe(kind, prompt, tuple(expect), (), key)


def _own(fact: Fact, relations: Mapping[str, Relation], catalogue: Catalogue) -> tuple[Probe, ...]:
    return probes_for(fact, relation_of(fact.key, relations), catalogue.entity(fact.subject), catalogue)


def _without(prompts: Iterable[str], barred: Collection[str]) -> tuple[str, ...]:
    return tuple(prompt for prompt in prompts if prompt not in barred)


def rank(seed: int, *parts: str) -> bytes:
    """A place in an order that depends on these words alone."""
    return hashlib.sha256("\0".join((str(seed), *parts)).encode()).digest()
