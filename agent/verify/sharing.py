"""What else is asked in the words of an edit that a person gave: its subject may stand in prompts about quite other things.

An edit is written where the subject ends. Called "prime minister of" instead of "Norway", it would answer for every country.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from agent.catalogue import Catalogue
from agent.relations import Relation
from agent.types import FactKey, Probe
from agent.verify.answers import forms_of
from agent.verify.probes import Known, held_out, rank


def sharing_probes(
    key: FactKey,
    known: Known,
    relations: Mapping[str, Relation],
    catalogue: Catalogue,
    *,
    count: int,
    seed: int = 0,
    barred: Collection[str] = (),
) -> tuple[Probe, ...]:
    """Prompts about `known` facts of others that contain the edit's subject (`key[0]`) as whole words, at most `count` and none of
    `barred`. Facts of the subject itself are left out: one of them may be what the edit is about, in other words.

    They are of kind same_subject and carry the edit's subject in their key: where they move, it is the edit that harms.
    """
    inside = re.compile(rf"(?<!\w){re.escape(key[0])}(?!\w)")
    own = catalogue.names.get(key[0], key[0])
    found: dict[str, Probe] = {}
    for (subject, name), objects in known.items():
        if subject == own:
            continue
        relation, entity = relations[name], catalogue.entity(subject)
        prompts = (*relation.prompts("edit", entity), *held_out(relation, entity))
        for prompt in prompts:
            if inside.search(prompt) and prompt not in barred:
                expect = dict.fromkeys(f for o in objects for f in forms_of(o, relation.object, catalogue))
                found.setdefault(prompt, Probe("same_subject", prompt, tuple(expect), (), (key[0], name)))
    return tuple(found[prompt] for prompt in sorted(found, key=lambda p: rank(seed, *key, p))[:count])
