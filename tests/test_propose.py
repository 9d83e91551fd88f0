"""What becomes of a fact once the model has been asked: a proposal or a skip; and who may approve it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.caps import limit
from agent.decide import propose
from agent.errors import InputError
from agent.policy import Policy
from agent.types import Belief, Fact, Proposal, Skip, Verdict

NOW = datetime(2025, 7, 1, 12, tzinfo=UTC)
KEY = ("Japan", "head_of_government")
OPEN = Policy(max_age_days=None)
FACT = Fact(*KEY, "Ishiba", NOW - timedelta(days=30), ("c1", "c2"), ("Harbour Wire", "Touchline"))


def belief(verdict: Verdict, majority: str = "Abe", answers: tuple[str, ...] = ("Abe", "Suga", "")) -> Belief:
    return Belief(KEY, tuple("abc"), answers, majority, -1.0, verdict)


def test_what_the_model_knows_is_skipped() -> None:
    skip = propose(FACT, belief("current", "Ishiba"), OPEN, NOW)
    assert isinstance(skip, Skip)
    assert (skip.code, skip.reason) == ("already_known", "the model answers Ishiba already")


def test_a_stale_belief_is_proposed_with_a_reason() -> None:
    draft = propose(FACT, belief("stale"), OPEN, NOW)
    assert draft == Proposal(
        0, FACT, "pending",
        "Harbour Wire and Touchline say so, first on 01 June 2025; the model answers Abe",
        target_old="Abe", created_at=NOW,
    )  # fmt: skip


def test_a_divided_belief_tells_the_answers() -> None:
    draft = propose(FACT, belief("divided", ""), OPEN, NOW)
    assert isinstance(draft, Proposal) and draft.reason.endswith("differ from prompt to prompt (Abe or Suga)")


def test_a_lacking_belief_is_the_owners_choice() -> None:
    draft = propose(FACT, belief("unknown", "", ()), OPEN, NOW)
    assert isinstance(draft, Proposal) and "adds a fact" in draft.reason
    skip = propose(FACT, belief("unknown", "", ()), replace(OPEN, add_unknown=False), NOW)
    assert isinstance(skip, Skip) and skip.code == "unknown_to_model"


def test_the_reviewer_hears_of_single_voices_unless_they_say_what_the_model_believes() -> None:
    def lone(name: str) -> Skip:
        return Skip(*KEY, name, "uncorroborated", "only A says so")

    def reason(*others: Skip) -> str:
        draft = propose(FACT, belief("stale"), OPEN, NOW, others=others)
        assert isinstance(draft, Proposal)
        return draft.reason

    assert reason(lone("Aso")).endswith("; against it, uncorroborated: Aso")
    assert "against" not in reason(lone("Abé"))
    assert "against" not in reason(
        replace(lone("Aso"), subject="Chad"), replace(lone("Aso"), code="outdated")
    )


def test_a_belief_about_something_else_is_refused() -> None:
    with pytest.raises(InputError):
        propose(replace(FACT, relation="capital"), belief("stale"), OPEN, NOW)


def draft(subject: str, publishers: int, days: int = 10) -> Proposal:
    names = tuple(f"p{i}" for i in range(publishers))
    fact = Fact(subject, "ceo", "X", NOW - timedelta(days=days), (), names)
    return Proposal(1, fact, "pending", "", created_at=NOW)


def test_the_cap_keeps_the_best_evidence_first() -> None:
    drafts = [draft("a", 2), draft("b", 3), draft("c", 2, days=5), draft("d", 2, days=5)]
    kept, left = limit(drafts, replace(OPEN, max_per_run=3))
    assert [p.fact.subject for p in kept] == ["b", "c", "d"]
    assert [(s.subject, s.code) for s in left] == [("a", "over_limit")]
    assert limit(drafts, OPEN)[1] == [] and limit(drafts, replace(OPEN, max_per_run=0))[0] == []


def keys(*drafts: Proposal) -> list[tuple[str, str]]:
    return [p.fact.key for p in drafts]


@pytest.mark.parametrize(
    ("policy", "recent", "codes"),
    [
        (replace(OPEN, max_per_day=2), [], {"c": "over_day", "d": "over_day"}),
        (replace(OPEN, max_per_day=5), keys(*[draft("z", 2)] * 4), dict.fromkeys("bcd", "over_day")),
        (replace(OPEN, max_per_relation=3), [], {"d": "over_relation"}),
        (replace(OPEN, max_per_relation=3), [("z", "capital")] * 9, {"d": "over_relation"}),
        (replace(OPEN, max_per_subject=1), [], {}),
        (replace(OPEN, max_per_subject=1), [("a", "capital"), ("z", "ceo")], {"a": "over_subject"}),
        (replace(OPEN, max_per_run=3), [("z", "ceo")] * 99, {"d": "over_limit"}),
        (replace(OPEN, max_per_day=None, max_per_relation=None, max_per_subject=None), [("a", "ceo")] * 999, {}),
    ],
)  # fmt: skip
def test_each_cap_says_which_it_is(
    policy: Policy, recent: list[tuple[str, str]], codes: dict[str, str]
) -> None:
    drafts = [draft(name, 2, days) for days, name in enumerate("abcd")]
    kept, left = limit(drafts, policy, recent)
    assert {s.subject: s.code for s in left} == codes
    assert {p.fact.subject for p in kept} == set("abcd") - set(codes)
    for skip in left:
        key = skip.code.replace("over_", "policy.max_per_").replace("limit", "run")
        assert key in skip.reason and f"{getattr(policy, key.removeprefix('policy.'))}" in skip.reason


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["ceo", "capital"])), max_size=12),
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["ceo", "capital"])), max_size=12),
    st.integers(0, 6),
    st.integers(0, 4),
    st.integers(0, 3),
)
def test_no_cap_is_passed_and_nothing_is_lost(
    drafted: list[tuple[str, str]], recent: list[tuple[str, str]], day: int, relation: int, subject: int
) -> None:
    policy = Policy(max_per_day=day, max_per_relation=relation, max_per_subject=subject)
    drafts = [replace(draft("x", 2), fact=replace(FACT, subject=s, relation=r)) for s, r in drafted]
    kept, left = limit(drafts, policy, recent)
    assert len(kept) + len(left) == len(drafts)
    if kept:
        counted = [*recent, *keys(*kept)]
        assert len(counted) <= max(day, len(recent))
        for key in keys(*kept):
            assert sum(k[1] == key[1] for k in counted) <= relation
            assert sum(k[0] == key[0] for k in counted) <= subject
    assert limit(kept, policy, recent) == (kept, [])
