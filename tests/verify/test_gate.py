from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ConfigError
from agent.types import Failure, Report
from agent.verify.gate import GateSettings, failed_facts, harmful_facts, judge, judged, misses

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


def lossy(lost: Mapping[str, int], asked: int) -> Report:
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
    assert harmful_facts(lossy({"a": 1, "b": 5, "c": 4, "d": 5}, 100), keys, strict) == (
        ("b", "leader"),
        ("d", "leader"),
    )
    assert harmful_facts(lossy({"b": 5, "c": 4}, 100), keys, strict) == ()
    assert harmful_facts(_report({"same_subject_unchanged": 0.5}, 100), keys, strict) == ()
    assert harmful_facts(_report({"others_unchanged": 0.5}, 100), keys, strict) == ()


@pytest.mark.parametrize("bad", [0.51, float("nan"), float("inf")])
def test_circuit_breakers_of_drift_and_norm(bad: float) -> None:
    sound = _report({"drift": 0.2})
    assert judge(sound)[0]
    passed, reasons = judge(_report({"drift": bad}))
    assert not passed and reasons[0].startswith("drift: ")
    passed, reasons = judge(replace(sound, norms={"a.weight": 0.3, "b.weight": 10 * bad}))
    assert not passed and len(reasons) == 1 and "b.weight" in reasons[0]
    assert judge(replace(sound, norms={"a.weight": 4.9}))[0]


def test_free_text_must_keep_its_wealth() -> None:
    def told(after: float) -> tuple[bool, tuple[str, ...]]:
        report = _report({"entropy": after})
        return judge(replace(report, before={**report.before, "entropy": 5.0}))

    assert told(4.1)[0]
    assert not told(3.9)[0] and told(3.9)[1][0].startswith("entropy: ")
    assert not told(float("nan"))[0]
