"""A report as lines of plain text. The caller makes them safe for a terminal: answers are the model's words."""

from __future__ import annotations

import math

from agent.types import Failure, Report
from agent.verify.intervals import Interval, wilson

METRICS = (
    "efficacy", "facts", "paraphrase", "question", "chat", "earlier", "stale", "overlay", "overlay_held_out",
    "overlay_unchanged", "same_subject", "same_subject_unchanged", "same_relation", "same_relation_unchanged", "canary",
    "canary_unchanged", "others_unchanged", "portability", "inverse", "perplexity", "entropy", "drift",
    "teacher_forced_efficacy",
)  # fmt: skip
# Figures that are no shares: how they are written, and what they are in.
_NUMBERS = {"perplexity": "{:.2f}", "entropy": "{:.2f}", "drift": "{:.4f}"}


def lines(report: Report, *, max_failures: int = 20, max_examples: int = 8) -> list[str]:
    """The verdict, a table of the metrics (share before, after, number of samples, 95 % interval), failures
    and examples.
    """
    found = [f"verification: {'passed' if report.passed else 'refused'}"]
    found += [f"  - {_one_line(reason)}" for reason in report.reasons]
    found += ["", *_table(report)]
    if report.failures:
        found += ["", f"failures ({len(report.failures)}):"]
        found += [_failure_line(failure) for failure in report.failures[:max_failures]]
        if hidden := len(report.failures) - max_failures:
            found += [f"  and {hidden} more"] if hidden > 0 else []
    if report.examples:
        found += ["", "examples (before -> after):"]
        found += [
            f"  {_one_line(prompt)}  {_one_line(before) or '(nothing)'} -> {_one_line(after) or '(nothing)'}"
            for prompt, before, after in report.examples[:max_examples]
        ]
    return [line.rstrip() for line in found]


def _table(report: Report) -> list[str]:
    names = [*(m for m in METRICS if m in report.after), *sorted(set(report.after) - set(METRICS))]
    rows = [("", "before", "after", "n", "95 % interval")]
    rows += [_row(report, name) for name in names]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join((row[0].ljust(widths[0]), *map(str.rjust, row[1:4], widths[1:4]), row[4])).rstrip()
        for row in rows
    ]


def _row(report: Report, name: str) -> tuple[str, str, str, str, str]:
    after, n = report.after[name], report.counts.get(name, 0)
    before = report.before.get(name, math.nan)
    form = _NUMBERS.get(name, "{:.1%}")
    interval = ""
    if ends := _interval(report, name):
        interval = f"{_number(form, ends[0])} to {_number(form, ends[1])}"
    if name == "perplexity" and before > 0:
        interval = f"{interval}  times {after / before:.3f}".strip()
    return (_one_line(name.replace("_", " ")), _number(form, before), _number(form, after), str(n), interval)


def _interval(report: Report, name: str) -> Interval | None:
    """The report's own; of a share in a report of the first version, which has none, that of independent prompts."""
    after, n = report.after[name], report.counts.get(name, 0)
    if name in report.intervals or name in _NUMBERS or not n or not 0 <= after <= 1:
        return report.intervals.get(name)
    return wilson(round(after * n), n)


def _failure_line(failure: Failure) -> str:
    head = f"  {_one_line(failure.kind.replace('_', ' '))}: {_one_line(failure.prompt)}"
    return f"{head}  wanted {_one_line(failure.expected)!r}, got {_one_line(failure.got)!r}"


def _number(form: str, value: float) -> str:
    return form.format(value) if math.isfinite(value) else "-"


def _one_line(text: str) -> str:
    return " ".join(text.split())
