"""The embedded world and the sentences it can be told in: every prompt form of every relation, and which are
held out for a fact.

A *prompt form* ends just before the object; an *object-first* form is a whole sentence that begins with it.
For each fact a few of its prompt forms are never shown (they are shown for other facts), so that knowing the
fact can be told from knowing a sentence: Allen-Zhu and Li, Physics of Language Models 3.1 (arXiv 2309.14316).
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from agent.catalogue import Catalogue, KnownFact, load_catalogue
from agent.errors import ConfigError
from agent.paths import data_file
from agent.relations import Relation, fill, load_relations
from agent.strict import as_mapping, as_strings, check_keys, read_yaml
from agent.types import Entity

HELD_OUT_SHARE = 8
# In the catalogue, but not told to the model: one-off phrases that cost as much to learn as all its other names together.
UNTOLD = frozenset({"position"})
_SLOT = re.compile(r"\{(\w*)\}")
_SLOTS = {
    "prompts": {"subject"},
    "object_first": {"subject", "object"},
    "demonym": {"demonym"},
    "names": {"name"},
}


@dataclass(frozen=True, slots=True)
class Form:
    """One way to state a fact of `relation`. A template with `{demonym}` in the subject's place is never held
    out or asked.
    """

    relation: str
    template: str
    object_first: bool = False

    @property
    def demonym(self) -> bool:
        return "{demonym}" in self.template


@dataclass(frozen=True, slots=True)
class World:
    """The embedded world: its entities and facts, the relations, and the forms by relation. `names` state no
    fact.
    """

    catalogue: Catalogue
    relations: Mapping[str, Relation]
    forms: Mapping[str, tuple[Form, ...]]
    names: tuple[str, ...] = ()


def load_world(
    facts: Path | None = None, relations: Path | None = None, phrasings: Path | None = None
) -> World:
    """The embedded world; each part may be replaced by another file (`facts` also by a folder). Raises
    ConfigError.
    """
    here = Path(__file__).resolve().parent
    catalogue = _told(load_catalogue([facts or here / "world"]))
    known = load_relations(relations or data_file("relations.yaml"))
    path = phrasings or here / "phrasings.yaml"
    document = as_mapping(read_yaml(path), str(path))
    names = as_strings(document.pop("names", None), f"{path}: names")
    _check(names, "names", known, f"{path}: names")
    check_keys(document, tuple(known), str(path))
    for fact in catalogue.facts.values():
        if fact.relation not in known:
            raise ConfigError(
                f"{fact.subject}: no relation {fact.relation!r} in the relations file; add it there"
            )
    forms = {name: _forms(r, document.get(name), known, f"{path}: {name}") for name, r in known.items()}
    return World(catalogue, known, forms, names)


def people_of(world: World) -> tuple[str, ...]:
    """Every person's name, in order: those in the catalogue and those who only hold an office."""
    people = {e.name for e in world.catalogue.entities.values() if e.label == "PERSON"}
    for fact in world.catalogue.facts.values():
        if "PERSON" in world.relations[fact.relation].object:
            people.update(fact.objects)
    return tuple(sorted(people))


def _told(catalogue: Catalogue) -> Catalogue:
    return replace(
        catalogue, facts={key: fact for key, fact in catalogue.facts.items() if fact.relation not in UNTOLD}
    )


def _forms(relation: Relation, entry: object, known: Mapping[str, Relation], where: str) -> tuple[Form, ...]:
    extra = as_mapping(entry, where)
    check_keys(extra, ("prompts", "object_first", "demonym"), where)
    lists = {
        key: as_strings(extra.get(key), f"{where}: {key}") for key in ("prompts", "object_first", "demonym")
    }
    for key, templates in lists.items():
        _check(templates, key, known, f"{where}: {key}")
    prompts = (*relation.edit, *relation.probes, *relation.questions, *lists["prompts"], *lists["demonym"])
    sentences = (*lists["object_first"], *(f"{template} {{subject}}" for template in relation.inverse))
    return (
        *(Form(relation.name, t) for t in dict.fromkeys(prompts)),
        *(Form(relation.name, t, object_first=True) for t in dict.fromkeys(sentences)),
    )


def _check(templates: tuple[str, ...], key: str, known: Mapping[str, Relation], where: str) -> None:
    optional = {"other"} if key == "names" else {"title"}
    for template in templates:
        slots = set(_SLOT.findall(template))
        if not _SLOTS[key] <= slots <= _SLOTS[key] | optional:
            raise ConfigError(
                f"{where}: {template!r} must have the slots {sorted(_SLOTS[key])} and no others"
            )


def prompt_text(world: World, form: Form, entity: Entity) -> str:
    """The prompt of a form about `entity`, ending just before the object. The form is neither object-first
    nor a demonym's.
    """
    return fill(form.template, entity, title=world.relations[form.relation].title_for(entity.name))


def prompt_forms(world: World, relation: str) -> tuple[Form, ...]:
    """The forms of a relation that can be asked."""
    return tuple(f for f in world.forms[relation] if not f.object_first and not f.demonym)


def split_forms(world: World, fact: KnownFact, seed: int) -> tuple[tuple[Form, ...], tuple[Form, ...]]:
    """The prompt forms of a fact that are trained and those that are held out, about one in eight.

    Never an `edit` form (they must work for the compiler), always a form that `relations.yaml` asks or
    verifies with. A hash of (seed, subject, relation) chooses, so the answer depends on nothing else in the
    world.
    """
    relation = world.relations[fact.relation]
    forms = prompt_forms(world, fact.relation)
    digest = hashlib.sha256(f"{seed}|{fact.subject}|{fact.relation}".encode()).digest()
    rng = random.Random(int.from_bytes(digest[:8], "big"))
    asked = {*relation.probes, *relation.questions}
    candidates = [f for f in forms if f.template not in relation.edit]
    first = rng.choice([f for f in candidates if f.template in asked])
    rest = [f for f in candidates if f != first]
    others = rng.sample(rest, min(len(rest), max(0, round(len(forms) / HELD_OUT_SHARE) - 1)))
    entity = world.catalogue.entity(fact.subject)
    # Two templates can read the same once the title is in: held out means the text, not the template.
    texts = {prompt_text(world, form, entity) for form in (first, *others)}
    split: tuple[list[Form], list[Form]] = ([], [])
    for form in forms:
        held_out = prompt_text(world, form, entity) in texts and form.template not in relation.edit
        split[held_out].append(form)
    return tuple(split[0]), tuple(split[1])
