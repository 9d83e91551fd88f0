from __future__ import annotations

import random
from collections import Counter
from itertools import islice

from agent.demo.corpus import documents, prepare
from agent.demo.forms import World, load_world
from agent.demo.invented import with_invented


def test_twins_have_the_relations_of_the_real_and_objects_of_the_world(small_world: World) -> None:
    real = small_world.catalogue
    told = with_invented(small_world, 1.0, 0).catalogue
    twins = [e for name, e in told.entities.items() if name not in real.entities]
    assert Counter(e.kind for e in twins) == Counter(
        e.kind for e in real.entities.values() if e.kind != "person"
    )
    objects = {o for f in real.facts.values() for o in f.objects} | {
        e.name for e in real.entities.values() if e.kind == "person"
    }
    relations = Counter(f.relation for f in real.facts.values() if real.entity(f.subject).kind != "person")
    assert Counter(f.relation for key, f in told.facts.items() if key not in real.facts) == relations
    assert all(set(f.objects) <= objects for f in told.facts.values())


def test_what_is_real_stays_as_it_was() -> None:
    world = load_world()
    told = with_invented(world, 1.0, 0).catalogue
    assert {key: told.facts[key] for key in world.catalogue.facts} == dict(world.catalogue.facts)
    new = set(told.entities) - set(world.catalogue.entities)
    assert len(new) == len(
        {f.subject for f in world.catalogue.facts.values()}
        - {e.name for e in world.catalogue.entities.values() if e.kind == "person"}
    )
    assert not new & set(world.catalogue.names)


def test_names_of_people_are_dealt_out_evenly() -> None:
    world = load_world()
    told = with_invented(world, 1.0, 0).catalogue
    used = Counter(
        f.objects[0]
        for key, f in told.facts.items()
        if key not in world.catalogue.facts and "PERSON" in world.relations[f.relation].object
    )
    assert max(used.values()) <= min(used.values()) + 1


def test_the_same_seed_gives_the_same_twins_and_their_facts_are_told(small_world: World) -> None:
    first, again, other = (with_invented(small_world, 1.0, seed).catalogue for seed in (3, 3, 4))
    assert first.facts == again.facts != other.facts
    text = " ".join(islice(documents(prepare(with_invented(small_world, 1.0, 3), 0), random.Random(1)), 3000))
    assert all(f.subject in text for f in first.facts.values())


def test_a_share_of_nothing_changes_nothing(small_world: World) -> None:
    assert with_invented(small_world, 0.0, 0).catalogue.facts == small_world.catalogue.facts
