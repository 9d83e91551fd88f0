"""From facts to what the compiler takes: edit requests, and the keys of everything that must not move.

The relation catalogue makes this possible (no peer does it): a fact comes with several prompts, with prompts about the same subject whose
answers must stay, and with the keys of other subjects' facts.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping

from agent.catalogue import Catalogue
from agent.editing.keys import SubjectText
from agent.relations import Relation
from agent.types import EditRequest, Fact

_KEEP = 10
# In how many ways the other facts of an edited subject are asked.
_FORMS = 2


def edit_request(
    fact: Fact, relations: Mapping[str, Relation], catalogue: Catalogue, *, target_old: str = ""
) -> EditRequest:
    """The request of one fact. `keep` holds the edit prompts of the subject's other known relations, else ROME's "X is a"."""
    relation = relations[fact.relation]
    entity = catalogue.entity(fact.subject)
    others = [
        f for f in catalogue.facts_of(fact.subject) if f.relation != fact.relation and f.relation in relations
    ]
    # First one prompt of every relation, by turns relation-first and subject-first, then the other: each costs a row in every step.
    sets = [relations[known.relation].prompts("edit", entity)[:_FORMS] for known in others]
    keep = [_by_turns(prompts, i + turn) for turn in range(_FORMS) for i, prompts in enumerate(sets)]
    return EditRequest(
        subject=fact.subject,
        prompts=relation.prompts("edit", entity),
        target_new=fact.object,
        target_old=target_old,
        keep=tuple(dict.fromkeys(keep))[:_KEEP] or (f"{fact.subject} is a",),
    )


def _by_turns(prompts: tuple[str, ...], turn: int) -> str:
    return prompts[turn % len(prompts)]


def preserve_texts(
    catalogue: Catalogue, relations: Mapping[str, Relation], edited: Collection[str], *, limit: int, seed: int
) -> tuple[SubjectText, ...]:
    """Edit prompts about subjects that are not edited, all those that have one of up to `limit` keys; a seeded sample.

    Only the text before and at the subject decides its key, so prompts that differ behind it share one.
    """
    found: dict[str, list[SubjectText]] = {}
    for fact in catalogue.facts.values():
        if fact.subject in edited or fact.relation not in relations:
            continue
        for prompt in relations[fact.relation].prompts("edit", catalogue.entity(fact.subject)):
            text = SubjectText(prompt, fact.subject)
            found.setdefault(text.upto_subject, []).append(text)
    keys = random.Random(seed).sample(sorted(found), min(limit, len(found)))
    return tuple(dict.fromkeys(text for key in keys for text in found[key]))
