"""Portability: questions that need an edited fact and one more that was known before ("the capital of the country whose prime minister
is X"; Zhong et al. 2023, MQuAKE). Editors of this kind seldom get there: it is reported, and not gated on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agent.catalogue import Catalogue
from agent.relations import Relation, fill
from agent.types import Entity, Fact, FactKey, Probe
from agent.verify.answers import forms_of


def portability_probes(
    fact: Fact,
    known: Mapping[FactKey, tuple[str, ...]],
    relations: Mapping[str, Relation],
    catalogue: Catalogue,
) -> Iterator[Probe]:
    """One prompt for each single-valued fact about the same subject, which is not named but described by the edited fact's object.

    None where the object describes several subjects: one king may have fifteen realms. `known`: right answers by fact, without those
    under test.
    """
    described = relations[fact.relation].described(fact.subject, fact.object)
    others = (key for key, objects in known.items() if key[1] == fact.relation and fact.object in objects)
    if not described or any(subject != fact.subject for subject, _ in others):
        return
    nameless = Entity(described, "", "")
    for (subject, name), objects in known.items():
        relation = relations[name]
        if (
            subject != fact.subject
            or name == fact.relation
            or relation.cardinality == "many"
            or len(objects) != 1
        ):
            continue
        prompt = fill(relation.edit[0], nameless, title=relation.title_for(subject))
        expect = forms_of(objects[0], relation.object, catalogue)
        yield Probe("portability", prompt, expect, (), fact.key)
