"""Edits that contradict each other are told before anything is compiled: to one prompt a model says one thing."""

from __future__ import annotations

from collections.abc import Sequence

from agent.recipe import request_of
from agent.types import Fact, Proposal
from agent.verify.answers import forms_of
from agent.verify.probes import held_out
from agent.workshop import Workshop


def contradicted(shop: Workshop, proposals: Sequence[Proposal]) -> dict[int, str]:
    """Why, by proposal id, of those that want another answer to a prompt than one that goes before them: what is live, then what has
    held since the latest day. A fact is asked in all words of its relation, an edit that a person gave in its own.
    """
    said: dict[str, Proposal] = {}
    refused: dict[int, str] = {}
    order = sorted(proposals, key=lambda p: (p.status != "live", -p.fact.valid_from.timestamp(), p.fact.key))
    for proposal in order:
        prompts = _asked_in(shop, proposal)
        clash = next((p for p in prompts if p in said and not _agree(shop, said[p], proposal)), None)
        if clash is None:
            said |= {prompt: proposal for prompt in prompts if prompt not in said}
        else:
            other = said[clash]
            refused[proposal.id] = (
                f"it contradicts proposal {other.id}, by which {other.fact.object!r} answers {clash!r}"
            )
    return refused


def _asked_in(shop: Workshop, proposal: Proposal) -> tuple[str, ...]:
    own = request_of(shop, proposal).prompts
    relation = shop.relations.get(proposal.fact.relation)
    if relation is None:
        return own
    return (*own, *held_out(relation, shop.catalogue.entity(proposal.fact.subject)))


def _agree(shop: Workshop, one: Proposal, other: Proposal) -> bool:
    """Whether what one wants said is a form of what the other wants said."""
    return bool(_forms(shop, one.fact) & _forms(shop, other.fact))


def _forms(shop: Workshop, fact: Fact) -> set[str]:
    relation = shop.relations.get(fact.relation)
    return {fact.object, *(forms_of(fact.object, relation.object, shop.catalogue) if relation else ())}
