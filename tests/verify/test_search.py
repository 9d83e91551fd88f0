"""The search for what to leave out of a batch that the gate refuses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from agent.types import Fact, FactKey, Failure, Report
from agent.verify.gate import judged
from agent.verify.search import bisect
from tests.verify.conftest import fact
from tests.verify.test_gate import lossy

facts_and_bad = st.integers(0, 24).flatmap(
    lambda n: st.tuples(st.just(n), st.sets(st.integers(0, max(n - 1, 0)), max_size=min(n, 4)))
)


def _facts(n: int) -> list[Fact]:
    return [fact(str(i), "weight", "x") for i in range(n)]


@given(facts_and_bad, st.booleans())
def test_bisection_finds_exactly_the_culprits(case: tuple[int, set[int]], named: bool) -> None:
    n, bad = case

    def try_(subset: Sequence[Fact]) -> Report:
        wrong = [f for f in subset if int(f.subject) in bad]
        failures = tuple(Failure(f.key, "fact", "", "", "") for f in wrong[:1] if named)
        return Report({}, {}, {}, not wrong, failures=failures)

    found = bisect(_facts(n), try_, max_trials=100)
    assert {int(f.subject) for f in found.culprits} == bad
    assert [int(f.subject) for f in found.kept] == [i for i in range(n) if i not in bad]
    assert found.undecided == ()
    assert (found.report is not None and found.report.passed) == bool(found.kept)
    assert found.trials <= 1 + 2 * len(bad) * (math.ceil(math.log2(max(n, 2))) + 1)


@given(st.lists(st.integers(0, 9), max_size=16), st.integers(0, 30), st.integers(0, 40))
def test_what_is_kept_passed_together_and_trials_are_bounded(
    weights: list[int], most: int, max_trials: int
) -> None:
    """Facts that only fail together: the sum of their weights must stay within a bound."""
    tried: list[tuple[Fact, ...]] = []

    def try_(subset: Sequence[Fact]) -> Report:
        tried.append(tuple(subset))
        return Report({}, {}, {}, sum(weights[int(f.subject)] for f in subset) <= most)

    facts = _facts(len(weights))
    found = bisect(facts, try_, max_trials=max_trials)
    assert len(tried) == found.trials <= max_trials
    assert sorted([*found.kept, *found.culprits, *found.undecided], key=facts.index) == facts
    assert sum(weights[int(f.subject)] for f in found.kept) <= most
    if found.kept:
        assert found.kept in tried
        assert try_(found.kept).passed
    assert all(list(subset) == sorted(subset, key=facts.index) for subset in tried)


@given(st.integers(2, 24), st.data())
def test_what_spoils_all_others_is_found_by_itself(n: int, data: st.DataObject) -> None:
    """One bad edit and every fact of the batch fails: only the bad ones are left out, whatever the report names."""
    bad = data.draw(st.sets(st.integers(0, n - 1), min_size=1, max_size=3))
    asked: list[Sequence[Fact]] = []

    def try_(subset: Sequence[Fact]) -> Report:
        spoilt = any(int(f.subject) in bad for f in subset)
        failures = tuple(Failure(f.key, "fact", "", "", "") for f in subset if spoilt)
        return Report({}, {}, {}, not spoilt, failures=failures)

    def alone(group: Sequence[Fact]) -> set[FactKey]:
        asked.append(group)
        return {f.key for f in group if int(f.subject) in bad}

    found = bisect(_facts(n), try_, alone=alone, max_trials=3)
    assert {int(f.subject) for f in found.culprits} == bad
    assert len(found.kept) == n - len(bad) and not found.undecided
    assert len(asked) == 1 and found.trials == (2 if found.kept else 1)
    assert len(bisect(_facts(n), try_, max_trials=3).kept) <= len(found.kept)


def test_facts_are_not_tried_by_themselves_where_few_are_named_nor_twice() -> None:
    asked: list[Sequence[Fact]] = []

    def alone(group: Sequence[Fact]) -> set[FactKey]:
        asked.append(group)
        return set()

    def names(share: float) -> Callable[[Sequence[Fact]], Report]:
        def try_(subset: Sequence[Fact]) -> Report:
            named = subset[: int(share * len(subset))]
            failures = tuple(Failure(f.key, "fact", "", "", "") for f in named)
            return Report({}, {}, {}, not named, failures=failures)

        return try_

    bisect(_facts(10), names(0.2), alone=alone, max_trials=40)
    assert not asked
    found = bisect(_facts(10), names(0.6), alone=alone, max_trials=40)
    assert len(asked) == 1 and len(asked[0]) == 10
    assert len(found.kept) + len(found.culprits) == 10


def test_a_harmful_fact_is_left_out_in_the_next_trial() -> None:
    facts = _facts(10)

    def try_(subset: Sequence[Fact]) -> Report:
        harm = {"3": 6} if any(f.subject == "3" for f in subset) else {}
        return judged(lossy(harm, 40))

    found = bisect(facts, try_)
    assert (found.culprits, found.trials) == ((facts[3],), 2)
    assert len(found.kept) == 9


def test_a_kept_fact_gives_way_to_a_group_that_outnumbers_it() -> None:
    """Fact 0 is not told beside more than half of the others; it is kept with the first half, and goes with the second."""
    facts = _facts(12)

    def try_(subset: Sequence[Fact]) -> Report:
        subjects = {f.subject for f in subset}
        spoilt = "0" in subjects and len(subset) > 6
        named = spoilt and len(subset) < 12  # at first nothing is named, and the facts are halved
        failures = (Failure(facts[0].key, "fact", "", "", ""),) if named else ()
        return Report({}, {}, {}, not spoilt, failures=failures)

    found = bisect(facts, try_)
    assert found.culprits == (facts[0],)
    assert found.kept == tuple(facts[1:])
    assert found.report is not None and found.report.passed and try_(found.kept).passed


def test_who_was_left_out_beside_a_spoiler_gets_another_chance() -> None:
    """Three spoil all that are named with them, and nobody can be asked alone: in the end only they are out."""
    bad = {"2", "5", "11"}

    def try_(subset: Sequence[Fact]) -> Report:
        spoilt = any(f.subject in bad for f in subset)
        failures = tuple(Failure(f.key, "fact", "", "", "") for f in subset if spoilt)
        return Report({}, {}, {}, not spoilt, failures=failures)

    found = bisect(_facts(12), try_, max_trials=40)
    assert {f.subject for f in found.culprits} == bad
    assert len(found.kept) == 9 and found.report is not None and found.report.passed


def test_who_is_named_among_few_gets_none() -> None:
    """A clear report costs one more trial, and no search."""

    def try_(subset: Sequence[Fact]) -> Report:
        bad = [f for f in subset if f.subject in ("3", "7")]
        failures = tuple(Failure(f.key, "fact", "", "", "") for f in bad)
        return Report({}, {}, {}, not bad, failures=failures)

    found = bisect(_facts(20), try_)
    assert found.trials == 2 and len(found.culprits) == 2
