"""What the page shows, put together from its inputs. `agent.page.document` writes it as JSON, `agent.page.html` as HTML."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from agent.page.facts import FactRow, Others, Share, by_relation, fact_rows, kind_place, others
from agent.page.inputs import Inputs, LeftOut, Past
from agent.page.metrics import MetricRow, finite, metric_rows
from agent.types import Asked, Failure, Report

_TIME = re.compile(r"\b(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\d(?:\.\d+)?(?:Z|\+00:00)")


@dataclass(frozen=True, slots=True)
class Norm:
    """How much of a weight was changed: the spectral norm of its update over its own (`agent.editing.norms`); None where that is not
    finite. `wanted`: what it may be at most.
    """

    name: str
    value: float | None
    wanted: float | None = None

    @property
    def missed(self) -> bool:
        return self.wanted is not None and not (self.value is not None and self.value <= self.wanted)


@dataclass(frozen=True, slots=True)
class Moved:
    """A metric that is not as it was at publication."""

    name: str
    then: float | None
    now: float | None


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """What went wrong, by the kind of what was asked; kind `fact` is a fact that is not told at all."""

    kind: str
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class View:
    """The page. `outcome` is passed, refused or none (nothing was verified, or no report was kept)."""

    outcome: str
    reasons: tuple[str, ...]
    fresh: bool
    made_at: str
    revision: int
    status: str
    created_at: str
    base_sha: str
    delta_sha: str
    weights: int
    overlay: int
    metrics: tuple[MetricRow, ...]
    moved: tuple[Moved, ...]
    facts: tuple[FactRow, ...]
    relations: tuple[Share, ...]
    others: tuple[Others, ...]
    failures: tuple[FailureGroup, ...]
    left_out: tuple[LeftOut, ...]
    norms: tuple[Norm, ...]
    history: tuple[Past, ...]
    examples: tuple[tuple[str, str, str], ...]
    settings: dict[str, dict[str, str]]
    asked: tuple[Asked, ...]
    version: str


def view(inputs: Inputs) -> View:
    revision, members = inputs.revision, inputs.members
    report = inputs.report or Report({}, {}, {}, passed=False)
    placed = [member.place for member in members]
    return View(
        outcome="none" if inputs.report is None else "passed" if report.passed else "refused",
        reasons=report.reasons,
        fresh=inputs.fresh,
        made_at=moment(inputs.made_at),
        revision=revision.id,
        status=inputs.status,
        created_at=moment(revision.created_at),
        base_sha=revision.base_sha,
        delta_sha=revision.delta_sha,
        weights=placed.count("weights"),
        overlay=placed.count("overlay"),
        metrics=metric_rows(report, inputs.thresholds),
        moved=tuple(Moved(name, finite(a), finite(b)) for name, (a, b) in sorted(inputs.moved.items())),
        facts=fact_rows(report, members),
        relations=by_relation(report, members),
        others=others(report, members),
        failures=failure_groups(report.failures),
        left_out=inputs.left_out,
        norms=norms(report, inputs.thresholds["norm"].value if "norm" in inputs.thresholds else None),
        history=tuple(sorted(inputs.history, key=lambda past: past.id)),
        examples=report.examples,
        settings={name: dict(values) for name, values in inputs.settings.items()},
        asked=report.asked,
        version=inputs.version,
    )


def moment(at: datetime) -> str:
    """`2026-03-01T12:00:00Z`"""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def readable(text: str) -> str:
    """`text` with the exact times that are kept in it as people write them: `2026-03-01 12:00 UTC`."""
    return _TIME.sub(r"\1 \2 UTC", text)


def around(text: str, sentence: str) -> tuple[str, str, str]:
    """The text before the sentence, the sentence, the text after it; spaces do not count. Without it: (text, "", "")."""
    whole, wanted = " ".join(text.split()), " ".join(sentence.split())
    place = whole.find(wanted) if wanted else -1
    if place < 0:
        return whole, "", ""
    return whole[:place], wanted, whole[place + len(wanted) :]


def norms(report: Report, wanted: float | None = None) -> tuple[Norm, ...]:
    """By layer: numbers in a name count as numbers."""
    found = sorted(report.norms.items(), key=lambda item: _numbered(item[0]))
    return tuple(Norm(name, finite(value), wanted) for name, value in found)


def failure_groups(failures: Iterable[Failure]) -> tuple[FailureGroup, ...]:
    """By kind, facts that are not told first; within a kind as the report has them."""
    kinds: dict[str, list[Failure]] = {}
    for failure in failures:
        kinds.setdefault(failure.kind, []).append(failure)
    order = sorted(kinds, key=lambda kind: (kind != "fact", kind_place(kind)))
    return tuple(FailureGroup(kind, tuple(kinds[kind])) for kind in order)


def _numbered(name: str) -> tuple[tuple[int, int, str], ...]:
    parts = (part for part in re.split(r"([0-9]{1,9})", name) if part)
    return tuple((0, int(p), "") if p[0] in "0123456789" else (1, 0, p) for p in parts)
