"""What may be changed at all: which names mean which entity, and which subjects, relations and objects
are out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from agent.catalogue import Catalogue
from agent.policy import Policy
from agent.relations import Relation
from agent.types import Entity

_NEITHER = re.compile(r"[^0-9a-z]+")

Refusal = tuple[str, str]
_LABELS = {"PERSON": "person", "GPE": "place", "ORG": "organisation", "LOC": "place"}


@dataclass(frozen=True, slots=True)
class Names:
    """The catalogue by folded form: `bearers[form]` are all the entities that are called so."""

    catalogue: Catalogue
    bearers: Mapping[str, tuple[Entity, ...]]

    def fitting(self, name: str, labels: Collection[str], kinds: Collection[str] = ()) -> tuple[Entity, ...]:
        """The entities that `name` can mean where one of these labels and kinds (empty for any) is wanted."""
        found = self.bearers.get(fold(name), ())
        return tuple(e for e in found if e.label in labels and (not kinds or e.kind in kinds))

    def canonical(self, name: str, labels: Collection[str], kinds: Collection[str] = ()) -> str:
        """The catalogue's name for it where only one entity fits, else `name` as it is."""
        found = self.fitting(name, labels, kinds)
        if len(found) == 1 and name not in self.catalogue.entities:
            return found[0].name
        return name


def index(catalogue: Catalogue) -> Names:
    found: dict[str, dict[str, Entity]] = {}
    for entity in catalogue.entities.values():
        for form in (entity.name, *entity.aliases):
            found.setdefault(fold(form), {})[entity.name] = entity
    return Names(catalogue, {form: tuple(entities.values()) for form, entities in found.items()})


def fold(name: str) -> str:
    """A name for comparing: no accents, case or punctuation."""
    if name.isascii():  # nearly all: a catalogue is folded in every round
        return " ".join(_NEITHER.sub(" ", name.lower()).split()) or name
    bare = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c)).casefold()
    return " ".join("".join(c if c.isalnum() else " " for c in bare).split()) or name


def refuse_subject(subject: str, relation: Relation, names: Names, policy: Policy) -> Refusal | None:
    """Why facts of this subject and relation are never proposed: (code, reason)."""
    if relation.cardinality == "many":
        return "many", f"{relation.name} can have several answers at once and is never replaced automatically"
    if not relation.policy.editable:
        return "not_editable", f"the relations file says that {relation.name} is not editable"
    if is_protected(subject, policy):
        return "protected", f"{subject} is protected by policy.protected"
    entity = names.catalogue.entities.get(subject)
    if entity is None:
        could_be = sorted(e.name for e in names.fitting(subject, relation.subject, relation.kinds))
        if len(could_be) > 1:
            return "homonym", f"{subject!r} can be {listed(could_be, 'or')}; nobody can tell which is meant"
        if not policy.allow_unknown_subjects:
            return "unknown_subject", f"{subject} is not in the catalogue; add it there to follow it"
    elif entity.label not in relation.subject or (relation.kinds and entity.kind not in relation.kinds):
        wanted = listed([_in_words(kind) for kind in relation.kinds or relation.subject], "or")
        return (
            "wrong_subject",
            f"{relation.name} is asked of {wanted}, and {subject} is {_in_words(entity.kind)}",
        )
    return None


def refuse_object(
    subject: str, object_: str, relation: Relation, names: Names, policy: Policy
) -> Refusal | None:
    """Why this object cannot be the answer: (code, reason). A name that nobody has catalogued passes."""
    if is_protected(object_, policy):
        return "protected", f"{object_} is protected by policy.protected"
    if fold(object_) == fold(subject) and "PERSON" in relation.object:
        return "wrong_object", f"{object_} is the subject itself"
    entity = names.catalogue.entities.get(object_)
    if entity is not None and entity.label not in relation.object:
        wanted = listed([_in_words(label) for label in relation.object], "or")
        return (
            "wrong_object",
            f"{relation.name} is answered by {wanted}, and {object_} is {_in_words(entity.kind)}",
        )
    could_be = sorted(e.name for e in names.fitting(object_, relation.object))
    if entity is None and len(could_be) > 1:
        return "homonym", f"{object_!r} can be {listed(could_be, 'or')}; nobody can tell which is meant"
    return None


def _in_words(kind: str) -> str:
    """A kind or label with its article: "a place", "an organisation", "a central bank"."""
    plain = _LABELS.get(kind, kind).replace("_", " ").lower()
    return f"an {plain}" if plain[:1] in "aeiou" else f"a {plain}"


def is_protected(name: str, policy: Policy) -> bool:
    """Whether the owner forbids touching that name, however it is spelt."""
    return bool(policy.protected) and fold(name) in {fold(p) for p in policy.protected}


def listed(names: Collection[str], last: str = "and") -> str:
    """`A, B and C`."""
    *most, end = names or ("nobody",)
    return f"{', '.join(most)} {last} {end}" if most else end
