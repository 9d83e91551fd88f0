"""Made-up subjects whose facts are drawn at random, told beside the real ones.

A world of a few hundred subjects can be learned by heart: the readout then knows that a person belongs to a company, not as what, and
an edit of its chief executive drags its founder along. Facts without any pattern force one slot per relation, the same for every
subject (measured in docs/pocket-model.md). They also bring every name into the place of an object at least once. Nothing of this is
in the catalogue, and no made-up subject is ever asked or edited.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace

from agent.catalogue import KnownFact
from agent.demo.forms import World, people_of
from agent.types import Entity

# fmt: off
_ONSETS = ["b", "br", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "kl", "l", "m",
           "n", "p", "pr", "r", "s", "sk", "st", "t", "tr", "v", "w", "y", "z"]
# fmt: on
_VOWELS = ["a", "e", "i", "o", "u", "ai", "eo", "ia", "ou"]
_CODAS = ["n", "r", "l", "s", "x", "m", "nd", "rk", "lt", "st"]
_ENDINGS: Mapping[str, Sequence[str]] = {
    "company": ("", "", " Group", " Motors", " Systems"),
    "club": (" FC", " United", " City", ""),
    "country": ("", "", " Islands"),
    "body": (" Organization", " Union"),
}


def with_invented(world: World, share: float, seed: int) -> World:
    """`world` and, for `share` (0 to 1) of its subjects that are no persons, a made-up twin of the same kind and relations.

    A function of its arguments. The twins' objects are those of the real facts; names of people are dealt out in turn, so that all
    are used equally often.
    """
    rng = random.Random(f"{seed}:invented")
    known = world.catalogue
    real = [e for e in known.entities.values() if e.label != "PERSON" and known.facts_of(e.name)]
    pools, people = _pools(world), _dealt(people_of(world), rng)
    taken = {*known.names, *known.entities}
    entities, facts = dict(known.entities), dict(known.facts)
    for model in rng.sample(real, round(share * len(real))):
        twin = Entity(_new_name(model.kind, taken, rng), model.kind, model.label)
        taken.add(twin.name)
        entities[twin.name] = twin
        for fact in known.facts_of(model.name):
            person = "PERSON" in world.relations[fact.relation].object
            object_ = next(people) if person else rng.choice(pools[fact.relation])
            facts[twin.name, fact.relation] = KnownFact(twin.name, fact.relation, (object_,))
    return replace(world, catalogue=replace(known, entities=entities, facts=facts))


def _pools(world: World) -> dict[str, list[str]]:
    """The objects of each relation, each once, in order."""
    pools: dict[str, set[str]] = defaultdict(set)
    for fact in world.catalogue.facts.values():
        pools[fact.relation].add(fact.objects[0])
    return {relation: sorted(objects) for relation, objects in pools.items()}


def _dealt(names: Sequence[str], rng: random.Random) -> Iterator[str]:
    """Without end: every name once, then every name once more, each time shuffled anew."""
    while True:
        yield from rng.sample(names, len(names))


def _new_name(kind: str, taken: Set[str], rng: random.Random) -> str:
    while True:
        word = "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(rng.choice((2, 3))))
        word = (word + rng.choice(_CODAS)).capitalize() + rng.choice(_ENDINGS.get(kind, ("",)))
        name = f"Bank of {word}" if kind == "central_bank" else word
        if name not in taken:
            return name
