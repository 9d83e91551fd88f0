"""From an answer of the model back to the articles it came from."""

from __future__ import annotations

from dataclasses import dataclass

from agent.store.articles import articles_of, claims_by_id
from agent.store.db import Store
from agent.store.published import current, members, places
from agent.types import Article, Claim, Place, Proposal, Revision


@dataclass(frozen=True, slots=True)
class Provenance:
    """Why the model answers as it does: the revision being served, where that has the fact, the proposal, and its evidence."""

    revision: Revision
    proposal: Proposal
    claims: tuple[Claim, ...]
    articles: tuple[Article, ...]
    place: Place = "weights"


def blame(store: Store, subject: str, relation: str) -> tuple[Provenance, ...]:
    """What the current revision's answers for this key rest on; some relations have several facts."""
    with store.reading():
        revision = current(store)
        where = places(store, revision.id)
        found = [item for item in members(store, revision.id) if item.fact.key == (subject, relation)]
        return tuple(_provenance(store, revision, proposal, where[proposal.id]) for proposal in found)


def _provenance(store: Store, revision: Revision, proposal: Proposal, place: Place) -> Provenance:
    claims = claims_by_id(store, proposal.fact.evidence)
    cited = tuple(articles_of(store, (claim.article_id for claim in claims)))
    return Provenance(revision, proposal, claims, cited, place)
