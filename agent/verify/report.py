"""A report as lines of plain text. The caller makes them safe for a terminal: answers are the model's words."""

from __future__ import annotations

import math

from agent.types import Failure, Report
from agent.verify.metrics import wilson

_METRICS = (
    "efficacy", "facts", "paraphrase", "question", "inverse", "stale", "same_subject",
    "same_subject_unchanged", "same_relation", "same_relation_unchanged", "canary",
    "canary_unchanged", "others_unchanged", "perplexity",
)  # fmt: skip


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
    names = [*(m for m in _METRICS if m in report.after), *sorted(set(report.after) - set(_METRICS))]
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
    if name == "perplexity":
        ratio = f"times {after / before:.3f}" if before > 0 else ""
        return (name, f"{before:.2f}", f"{after:.2f}", str(n), ratio)
    interval = ""
    if n > 0 and 0 <= after <= 1:
        low, high = wilson(round(after * n), n)
        interval = f"{low:.1%} to {high:.1%}"
    return (_one_line(name.replace("_", " ")), _percent(before), _percent(after), str(n), interval)


def _failure_line(failure: Failure) -> str:
    head = f"  {_one_line(failure.kind.replace('_', ' '))}: {_one_line(failure.prompt)}"
    return f"{head}  wanted {_one_line(failure.expected)!r}, got {_one_line(failure.got)!r}"


def _percent(share: float) -> str:
    return f"{share:.1%}" if math.isfinite(share) else "-"


def _one_line(text: str) -> str:
    return " ".join(text.split())
