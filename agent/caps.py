"""How many proposals may be made at once, a day, of one relation and about one subject. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from agent.policy import Policy
from agent.types import Fact, FactKey, Proposal, Skip


def limit(
    drafts: Iterable[Proposal], policy: Policy, recent: Iterable[FactKey] = ()
) -> tuple[list[Proposal], list[Skip]]:
    """The drafts that the caps leave room for, most publishers and then newest first, and a Skip for each
    other. `recent`: the (subject, relation) of each proposal that the news made in the last 24 hours.
    """
    ranked = sorted(
        drafts, key=lambda p: (-len(p.fact.publishers), -p.fact.valid_from.timestamp(), p.fact.key)
    )
    kept: list[Proposal] = []
    skips: list[Skip] = []
    taken = Counter(name for key in recent for name in _capped(key))
    for draft in ranked:
        over = _over(draft.fact, len(kept), taken, policy)
        if over is None:
            kept.append(draft)
            taken.update(_capped(draft.fact.key))
        else:
            skips.append(Skip.of(draft.fact, *over))
    return kept, skips


def _capped(key: FactKey) -> tuple[str, str, str]:
    """What a proposal is counted under: all, its relation, its subject."""
    return ("day", f"relation {key[1]}", f"subject {key[0]}")


def _over(fact: Fact, done: int, taken: Mapping[str, int], policy: Policy) -> tuple[str, str] | None:
    """(code, reason) of the first cap that leaves no room."""
    if done >= policy.max_per_run:
        why = f"this run has its {policy.max_per_run} proposals (policy.max_per_run); a later run takes it up"
        return "over_limit", why
    caps = {
        "day": (policy.max_per_day, "in all"),
        "relation": (policy.max_per_relation, f"for {fact.relation}"),
        "subject": (policy.max_per_subject, f"about {fact.subject}"),
    }
    for (name, (cap, what)), counted in zip(caps.items(), _capped(fact.key), strict=True):
        if cap is not None and taken.get(counted, 0) >= cap:
            why = (
                f"{cap} were proposed {what} within 24 hours (policy.max_per_{name}); a later run takes it up"
            )
            return f"over_{name}", why
    return None
