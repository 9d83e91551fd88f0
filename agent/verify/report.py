"""A report as JSON and as lines of plain text. The caller makes the lines safe for a terminal: answers are
the model's words.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from agent.errors import InputError
from agent.types import Failure, Report
from agent.verify.metrics import wilson

VERSION = 1
_METRICS = (
    "efficacy", "facts", "paraphrase", "question", "inverse", "stale", "same_subject",
    "same_subject_unchanged", "same_relation", "same_relation_unchanged", "canary",
    "canary_unchanged", "others_unchanged", "perplexity",
)  # fmt: skip


def to_json(report: Report) -> str:
    """One JSON object with its format's version; NaN and infinities, which JSON lacks, become their names."""
    document = {
        "version": VERSION,
        "passed": report.passed,
        "reasons": list(report.reasons),
        "before": {name: _number(value) for name, value in report.before.items()},
        "after": {name: _number(value) for name, value in report.after.items()},
        "counts": dict(report.counts),
        "failures": [
            {"subject": f.fact_key[0], "relation": f.fact_key[1], "kind": f.kind, "prompt": f.prompt,
             "expected": f.expected, "got": f.got}
            for f in report.failures
        ],
        "examples": [{"prompt": p, "before": b, "after": a} for p, b, a in report.examples],
    }  # fmt: skip
    return json.dumps(document, sort_keys=True, allow_nan=False)


def from_json(text: str) -> Report:
    """The report that `to_json` wrote. Raises InputError for another version or anything else."""
    try:
        document = json.loads(text)
        version = document["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"this is no verification report ({error}); expected the JSON that factd writes"
        ) from error
    if version != VERSION:
        raise InputError(
            f"the report has version {version!r}, this factd reads {VERSION}; use the factd that wrote it"
        )
    try:
        return _report(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"the verification report is damaged: {error!r}; verify the revision again"
        ) from error


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


def _number(value: float) -> float | str:
    return float(value) if math.isfinite(value) else str(float(value))


def _report(document: Mapping[str, Any]) -> Report:
    return Report(
        before={name: float(value) for name, value in document["before"].items()},
        after={name: float(value) for name, value in document["after"].items()},
        counts={name: int(n) for name, n in document["counts"].items()},
        passed=bool(document["passed"]),
        reasons=tuple(document["reasons"]),
        failures=tuple(
            Failure((f["subject"], f["relation"]), f["kind"], f["prompt"], f["expected"], f["got"])
            for f in document["failures"]
        ),
        examples=tuple((e["prompt"], e["before"], e["after"]) for e in document["examples"]),
    )
