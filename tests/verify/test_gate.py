from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ConfigError
from agent.types import Fact, FactKey, Failure, Report
from agent.verify.gate import GateSettings, bisect, failed_facts, harmful_facts, judge, judged, misses
from tests.verify.conftest import fact

GOOD = {"efficacy": 1.0, "paraphrase": 0.9, "same_subject_unchanged": 0.95, "others_unchanged": 0.99}


def _report(
    after: Mapping[str, float] | None = None, n: int = 100, failures: tuple[Failure, ...] = ()
) -> Report:
    values = {**GOOD, **(after or {})}
    return Report({"perplexity": 10.0}, values, dict.fromkeys(values, n), False, (), failures)


def test_a_good_report_passes_and_each_threshold_refuses() -> None:
    assert judge(_report()) == (True, ())
    assert judged(_report()).passed
    for metric in GOOD:
        passed, reasons = judge(_report({metric: 0.5}))
        assert not passed and len(reasons) == 1 and reasons[0].startswith(metric)
        assert "50.0% of 100" in reasons[0]


def test_one_failure_of_three_does_not_refuse_but_an_untold_fact_does() -> None:
    small = {
        "efficacy": 2 / 3,
        "paraphrase": 2 / 3,
        "same_subject_unchanged": 2 / 3,
        "others_unchanged": 2 / 3,
    }
    assert judge(_report(small, 3))[0]
    untold = Failure(("Atlantis", "leader"), "fact", "The premier of Atlantis is", "Ada Spray", "Doris Shoal")
    report = _report(n=3, failures=(untold,))
    assert judge(report) == (
        False,
        ("Atlantis, leader: 'The premier of Atlantis is' is not answered with 'Ada Spray'",),
    )
    assert failed_facts(report) == {("Atlantis", "leader")}
    assert judge(report, GateSettings(every_fact=False))[0]
    many = _report(n=3, failures=tuple(Failure((str(i), "leader"), "fact", "", "", "") for i in range(9)))
    assert judge(many)[1][-1] == "and 4 more facts that are not told"


def test_few_samples_still_refuse_what_is_beyond_doubt() -> None:
    assert not judge(_report({"paraphrase": 0.0}, 6))[0]
    assert not judge(_report({"others_unchanged": 0.5}, 20))[0]


def test_perplexity() -> None:
    assert judge(_report({"perplexity": 10.4}))[0]
    for bad in (10.6, math.nan, math.inf):
        passed, reasons = judge(_report({"perplexity": bad}))
        assert not passed and reasons[0].startswith("perplexity")


def test_nothing_asked_proves_nothing() -> None:
    assert not judge(Report({}, {}, {}, False))[0]


@pytest.mark.parametrize(
    "bad", [{"efficacy": 1.5}, {"others": -0.1}, {"ppl_ratio": 0}, {"min_count": 0}, {"free_failures": -1}]
)
def test_settings_are_checked(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        GateSettings(**bad)


@given(st.integers(1, 200), st.integers(0, 200), st.floats(0, 1))
def test_more_right_answers_never_turn_a_pass_into_a_refusal(n: int, right: int, least: float) -> None:
    right = min(right, n - 1)
    settings = GateSettings()
    if misses((right + 1) / n, n, least, settings):
        assert misses(right / n, n, least, settings)
    assert not misses(1.0, n, least, settings)


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


def _lossy(lost: Mapping[str, int], asked: int) -> Report:
    """`asked` questions about what else is known of the subjects, `lost` of them by subject."""
    failures = tuple(
        Failure((subject, "capital"), "same_subject", f"prompt {n}", "Mu", "Low Ebb")
        for subject, count in lost.items()
        for n in range(count)
    )
    return _report({"same_subject_unchanged": 1 - len(failures) / asked}, asked, failures)


def test_facts_that_harm_their_subject_are_named_the_worst_first_and_no_more_than_must_go() -> None:
    keys = [(subject, "leader") for subject in "abcdefghij"]
    strict = GateSettings(same_subject=0.9)
    assert harmful_facts(_lossy({"a": 1, "b": 5, "c": 4, "d": 5}, 100), keys, strict) == (
        ("b", "leader"),
        ("d", "leader"),
    )
    assert harmful_facts(_lossy({"b": 5, "c": 4}, 100), keys, strict) == ()
    assert harmful_facts(_report({"same_subject_unchanged": 0.5}, 100), keys, strict) == ()
    assert harmful_facts(_report({"others_unchanged": 0.5}, 100), keys, strict) == ()


def test_a_harmful_fact_is_left_out_in_the_next_trial() -> None:
    facts = _facts(10)

    def try_(subset: Sequence[Fact]) -> Report:
        harm = {"3": 6} if any(f.subject == "3" for f in subset) else {}
        return judged(_lossy(harm, 40))

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


@pytest.mark.parametrize("bad", [0.51, float("nan"), float("inf")])
def test_circuit_breakers_of_drift_and_norm(bad: float) -> None:
    sound = _report({"drift": 0.2})
    assert judge(sound)[0]
    passed, reasons = judge(_report({"drift": bad}))
    assert not passed and reasons[0].startswith("drift: ")
    passed, reasons = judge(replace(sound, norms={"a.weight": 0.3, "b.weight": 2 * bad}))
    assert not passed and len(reasons) == 1 and "b.weight" in reasons[0]
    assert judge(replace(sound, norms={"a.weight": 0.9}))[0]


def test_free_text_must_keep_its_wealth() -> None:
    def told(after: float) -> tuple[bool, tuple[str, ...]]:
        report = _report({"entropy": after})
        return judge(replace(report, before={**report.before, "entropy": 5.0}))

    assert told(4.1)[0]
    assert not told(3.9)[0] and told(3.9)[1][0].startswith("entropy: ")
    assert not told(float("nan"))[0]
