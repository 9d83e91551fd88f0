from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.types import Failure, Report
from agent.verify.report import lines

values = st.dictionaries(st.text(max_size=8), st.floats(allow_nan=False), max_size=4)
texts = st.text(max_size=20)
reports = st.builds(
    Report,
    before=values,
    after=values,
    counts=st.dictionaries(st.text(max_size=8), st.integers(0, 10**6), max_size=4),
    passed=st.booleans(),
    reasons=st.lists(texts, max_size=3).map(tuple),
    failures=st.lists(
        st.builds(Failure, st.tuples(texts, texts), texts, texts, texts, texts), max_size=3
    ).map(tuple),
    examples=st.lists(st.tuples(texts, texts, texts), max_size=3).map(tuple),
)


@given(reports)
def test_lines_are_lines(report: Report) -> None:
    found = lines(report)
    assert found[0] == f"verification: {'passed' if report.passed else 'refused'}"
    assert all("\n" not in line and line == line.rstrip() for line in found)
    assert len(found) <= 16 + len(report.reasons) + len(report.after) + len(report.failures) + len(
        report.examples
    )


def test_the_table() -> None:
    report = Report(
        before={"perplexity": 10.0, "efficacy": 0.0, "same_subject_unchanged": 1.0},
        after={"perplexity": 10.1, "efficacy": 0.98, "same_subject_unchanged": 0.9},
        counts={"perplexity": 5, "efficacy": 200, "same_subject_unchanged": 30},
        passed=True,
        failures=(Failure(("Brink", "leader"), "same_subject", "Brink is\nled by", "Otto Kelp", "Mu"),) * 3,
        examples=(("Who leads Brink?", "", "Mu"),),
    )
    assert lines(report, max_failures=1) == [
        "verification: passed",
        "",
        "                        before  after    n  95 % interval",
        "efficacy                  0.0%  98.0%  200  95.0% to 99.2%",
        "same subject unchanged  100.0%  90.0%   30  74.4% to 96.5%",
        "perplexity               10.00  10.10    5  times 1.010",
        "",
        "failures (3):",
        "  same subject: Brink is led by  wanted 'Otto Kelp', got 'Mu'",
        "  and 2 more",
        "",
        "examples (before -> after):",
        "  Who leads Brink?  (nothing) -> Mu",
    ]
