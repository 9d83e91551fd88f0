"""Approval without a person: only what a written rule wants in full, and never over somebody's no."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.approve import rule_on
from agent.errors import ConfigError
from agent.policy import AutoRule, Policy
from agent.types import Fact, Proposal

NOW = datetime(2025, 7, 1, 12, tzinfo=UTC)
RULE = AutoRule(relations=("ceo",), min_publishers=3, min_age_h=24)
DAY = timedelta(days=1)
LATER = NOW + DAY
SURE = {"p0": 0.9, "p1": 0.9, "p2": 0.8, "p3": 0.5}


def draft(subject: str, publishers: int) -> Proposal:
    names = tuple(f"p{i}" for i in range(publishers))
    fact = Fact(subject, "ceo", "X", NOW - 10 * DAY, (), names)
    return Proposal(1, fact, "pending", "", created_at=NOW)


def ruled(**changes: object) -> Policy:
    return Policy(auto_approve=(replace(RULE, **changes),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policy", "proposal", "now", "why"),
    [
        (Policy(), draft("a", 9), LATER, "there are no rules"),
        (ruled(), draft("a", 3), LATER, ""),
        (ruled(), draft("a", 2), LATER, "rule 1 wants 3 publishers, has 2"),
        (ruled(), draft("a", 3), LATER - timedelta(minutes=30), "rule 1 wants 24 hours in the queue, it has waited 23.5"),
        (ruled(), draft("a", 3), LATER - timedelta(seconds=1), "rule 1 wants 24 hours"),
        (ruled(), replace(draft("a", 3), created_at=None), LATER, "has waited 0.0"),
        (ruled(), draft("a", 3), NOW - 3 * DAY, "has waited 0.0"),  # the clock was set back
        (ruled(), replace(draft("a", 3), status="rejected"), LATER, "it is rejected"),
        (ruled(), replace(draft("a", 3), not_before_at=LATER + DAY), LATER, "deferred until 2025-07-03"),
        (replace(ruled(), protected=("A",)), draft("a", 3), LATER, "protected"),
        (replace(ruled(), protected=("x",)), draft("a", 3), LATER, "protected"),
        (ruled(relations=("capital",)), draft("a", 3), LATER, "rule 1 is not for ceo"),
        (ruled(relations=()), draft("a", 3), LATER, ""),
        (ruled(publishers=("p0", "p1", "px")), draft("a", 9), LATER, "wants 3 publishers of its list, has 2"),
        (ruled(publishers=("p0", "p1", "p2")), draft("a", 9), LATER, ""),
        (ruled(min_score=0.8), draft("a", 4), LATER, ""),
        (ruled(min_score=0.81), draft("a", 4), LATER, "that the reader is sure of by 0.81, has 2"),
        (ruled(min_score=0.8), draft("a", 9), LATER, ""),
        (ruled(name="chiefs", min_publishers=9), draft("a", 3), LATER, "rule 1 (chiefs) wants 9 publishers"),
    ],
)  # fmt: skip
def test_only_a_written_rule_approves(policy: Policy, proposal: Proposal, now: datetime, why: str) -> None:
    found = rule_on(proposal, policy, now, SURE)
    assert bool(found.rule) == (why == "")
    assert why in found.why
    assert not rule_on(proposal, policy, now, SURE, refused=True).rule


def test_the_first_rule_that_holds_is_named_and_each_other_says_what_it_misses() -> None:
    rules = (replace(RULE, min_publishers=9), replace(RULE, name="chiefs", min_score=0.5))
    found = rule_on(draft("a", 3), Policy(auto_approve=rules), LATER, SURE)
    assert str(found) == "approved by rule 2 (chiefs): 3 publishers, sure by 0.5, 24.0 hours in the queue"
    found = rule_on(draft("a", 3), Policy(auto_approve=rules), LATER, {})
    assert str(found) == (
        "waits for a person: rule 1 wants 9 publishers, has 3; rule 2 (chiefs) wants 3 publishers that the reader is"
        " sure of by 0.5, has 0"
    )


def test_unknown_scores_are_none() -> None:
    assert not rule_on(draft("a", 9), ruled(min_score=0.1), LATER).rule
    assert rule_on(draft("a", 9), ruled(), LATER).rule


@given(
    st.integers(0, 5),
    st.floats(0, 100),
    st.floats(0, 1),
    st.integers(1, 5),
    st.floats(0, 100),
    st.floats(0, 1),
)
def test_a_stricter_rule_never_passes_more(
    publishers: int, waited_h: float, score: float, min_publishers: int, min_age_h: float, min_score: float
) -> None:
    proposal, now = draft("a", publishers), NOW + timedelta(hours=waited_h)
    scores = dict.fromkeys(proposal.fact.publishers, score)
    loose = ruled(min_publishers=min_publishers, min_age_h=min_age_h, min_score=min_score)
    passes = bool(rule_on(proposal, loose, now, scores).rule)
    assert passes == (
        publishers >= min_publishers and now - NOW >= timedelta(hours=min_age_h) and score >= min_score
    )
    for stricter in (
        ruled(min_publishers=min_publishers + 1, min_age_h=min_age_h, min_score=min_score),
        ruled(min_publishers=min_publishers, min_age_h=min_age_h + 1, min_score=min_score),
        ruled(min_publishers=min_publishers, min_age_h=min_age_h, min_score=(1 + min_score) / 2),
    ):
        assert passes or not rule_on(proposal, stricter, now, scores).rule


@pytest.mark.parametrize("wrong", [{"min_score": 1.1}, {"min_score": -0.1}, {"publishers": ("a", "a", "b")}])
def test_a_rule_that_cannot_work_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"policy\.auto_approve"):
        replace(RULE, **wrong)  # type: ignore[arg-type]
