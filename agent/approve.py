"""Which proposals pass without a person, by the owner's written rules. Pure: the clock and the scores are arguments.

Off by default. A rule passes a proposal when every condition of it holds; what nobody wrote down waits for a person, and so does what
a person refused before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.eligible import is_protected
from agent.policy import AutoRule, Policy
from agent.types import Proposal

# Publisher -> how sure the reader was (0 to 1) of the clearest sentence of it that says so.
Scores = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Ruling:
    """`rule`: the first that passes it, "" where a person is to decide; `why`: what it rests on, or what each rule misses."""

    rule: str
    why: str

    def __str__(self) -> str:
        return f"approved by {self.rule}: {self.why}" if self.rule else f"waits for a person: {self.why}"


def rule_on(
    proposal: Proposal, policy: Policy, now: datetime, scores: Scores | None = None, *, refused: bool = False
) -> Ruling:
    """What the rules say of a proposal. `scores`: None where they are not known; a rule with `min_score` then passes nothing.
    `refused`: a person rejected it once, or took it back.
    """
    fact = proposal.fact
    if not policy.auto_approve:
        return Ruling("", "there are no rules (policy.auto_approve)")
    if proposal.status != "pending":
        return Ruling("", f"it is {proposal.status.replace('_', ' ')}")
    if proposal.not_before_at is not None and now < proposal.not_before_at:
        return Ruling("", f"it is deferred until {proposal.not_before_at:%Y-%m-%d %H:%M} UTC")
    if is_protected(fact.subject, policy) or is_protected(fact.object, policy):
        return Ruling("", "one of its names is protected (policy.protected)")
    if refused:
        return Ruling("", "somebody refused it before")
    missed = []
    for number, rule in enumerate(policy.auto_approve, 1):
        lacks = _lacks(rule, proposal, now, scores)
        if not lacks:
            return Ruling(label(rule, number), _rests_on(rule, proposal, now))
        missed.append(f"{label(rule, number)} {lacks}")
    return Ruling("", "; ".join(missed))


def label(rule: AutoRule, number: int) -> str:
    """How a rule is called: by its name, else by its place in the list."""
    return f"rule {number} ({rule.name})" if rule.name else f"rule {number}"


def _counted(rule: AutoRule, proposal: Proposal, scores: Scores | None) -> tuple[str, ...]:
    """The publishers that this rule counts."""
    return tuple(
        p
        for p in proposal.fact.publishers
        if (not rule.publishers or p in rule.publishers)
        and (not rule.min_score or (scores or {}).get(p, 0.0) >= rule.min_score)
    )


def _lacks(rule: AutoRule, proposal: Proposal, now: datetime, scores: Scores | None) -> str:
    """The first condition that does not hold; "" when all do."""
    if rule.relations and proposal.fact.relation not in rule.relations:
        return f"is not for {proposal.fact.relation}"
    counted = _counted(rule, proposal, scores)
    if len(counted) < rule.min_publishers:
        of = " of its list" if rule.publishers else ""
        sure = f" that the reader is sure of by {rule.min_score:g}" if rule.min_score else ""
        return f"wants {rule.min_publishers} publishers{of}{sure}, has {len(counted)}"
    waited = _waited(proposal, now)
    if waited < timedelta(hours=rule.min_age_h):
        waited_h = waited / timedelta(hours=1)
        return f"wants {rule.min_age_h:g} hours in the queue, it has waited {max(0.0, waited_h):.1f}"
    return ""


def _rests_on(rule: AutoRule, proposal: Proposal, now: datetime) -> str:
    said = [f"{len(proposal.fact.publishers)} publishers"]
    said += [f"sure by {rule.min_score:g}"] if rule.min_score else []
    return ", ".join([*said, f"{_waited(proposal, now) / timedelta(hours=1):.1f} hours in the queue"])


def _waited(proposal: Proposal, now: datetime) -> timedelta:
    """By our own clock; nothing for one that says not when it came."""
    return timedelta(0) if proposal.created_at is None else now - proposal.created_at
