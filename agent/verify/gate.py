"""Whether a candidate revision may be published, and which facts to leave out when it may not. Pure: reports
in, verdicts out.

A share is held against its threshold where there are samples enough. With few, one failure says little: then
a candidate is refused only if more than `free_failures` went wrong and even the upper end of the share's 95 %
interval misses the threshold.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from agent.errors import ConfigError
from agent.types import FactKey, Report
from agent.verify.intervals import wilson


@dataclass(frozen=True, slots=True)
class GateSettings:
    """Least shares (0 to 1) and the largest growth of perplexity (a factor).

    `efficacy`: edit prompts answered with the fact. `paraphrase`: held-out prompts. `same_subject`, `others`:
    answers that must not move. `every_fact`: refuse while some fact is not told (see
    `metrics.facts_told`), so that it is left out. `drift`: most nats that the next token's distribution may move on neutral text,
    `entropy`: least share of the wealth of free text that must be left, `norm`: most that an update may stretch an
    input, relative to the most that its weight does. These three are circuit breakers: far off what a sound edit does.
    """

    efficacy: float = 0.95
    paraphrase: float = 0.80
    same_subject: float = 0.90
    others: float = 0.97
    ppl_ratio: float = 1.05
    min_count: int = 30
    free_failures: int = 1
    every_fact: bool = True
    drift: float = 0.5
    entropy: float = 0.8
    norm: float = 5.0

    def __post_init__(self) -> None:
        for field in fields(self)[:4]:
            if not 0 <= getattr(self, field.name) <= 1:
                raise ConfigError(
                    f"gate.{field.name} must be between 0 and 1, got {getattr(self, field.name)!r}"
                )
        if not (self.drift > 0 and self.norm > 0 and 0 <= self.entropy <= 1):
            raise ConfigError(
                "gate: drift and norm must be more than 0 and entropy between 0 and 1; got "
                f"{self.drift!r}, {self.norm!r} and {self.entropy!r}"
            )
        if not self.ppl_ratio > 0 or self.min_count < 1 or self.free_failures < 0:
            raise ConfigError(
                "gate: ppl_ratio must be more than 0, min_count at least 1 and free_failures at least 0; got "
                f"{self.ppl_ratio!r}, {self.min_count!r} and {self.free_failures!r}"
            )


_NAMED_FACTS = 5
# What may be lost after harmful facts are left out, of what the gate allows: the next solve loses other answers.
_SLACK = 0.75
# metric of the report, threshold of the settings, what it counts
_RULES = (
    ("efficacy", "efficacy", "edit prompts are answered with the new fact"),
    ("paraphrase", "paraphrase", "held-out prompts are answered with the new fact"),
    ("same_subject_unchanged", "same_subject", "answers about the edited subjects are unchanged"),
    ("others_unchanged", "others", "answers about other subjects are unchanged"),
)


def judge(report: Report, settings: GateSettings | None = None) -> tuple[bool, tuple[str, ...]]:
    """(passed, reasons for refusing). A report without any efficacy probe is refused: it proves nothing."""
    settings = settings or GateSettings()
    reasons = (
        [] if report.counts.get("efficacy") else ["efficacy: no edit prompt was asked; nothing is proved"]
    )
    reasons += _untold(report) if settings.every_fact else []
    for metric, threshold, what in _RULES:
        least, n = getattr(settings, threshold), report.counts.get(metric, 0)
        if n and misses(report.after[metric], n, least, settings):
            reasons.append(f"{metric}: {report.after[metric]:.1%} of {n} {what}, {least:.1%} wanted")
    reasons += [*_perplexity(report, settings), *_breakers(report, settings)]
    return (not reasons, tuple(reasons))


def judged(report: Report, settings: GateSettings | None = None) -> Report:
    """The report with its verdict."""
    passed, reasons = judge(report, settings)
    return replace(report, passed=passed, reasons=reasons)


def misses(share: float, n: int, least: float, settings: GateSettings) -> bool:
    """Whether `share` of `n` samples is too small; with fewer than `min_count` samples, whether that is
    beyond doubt.
    """
    if share >= least:
        return False
    if n >= settings.min_count:
        return True
    right = round(share * n)
    return n - right > settings.free_failures and wilson(right, n)[1] < least


def failed_facts(report: Report) -> frozenset[FactKey]:
    """The facts that are not told (`metrics.facts_told`): to be left out before anything else is
    tried.
    """
    return frozenset(failure.fact_key for failure in report.failures if failure.kind == "fact")


def harmful_facts(
    report: Report, keys: Sequence[FactKey], settings: GateSettings | None = None
) -> tuple[FactKey, ...]:
    """Of `keys`, those whose own subjects lost most of what the model knew about them, where too much was lost in all: as many as
    must go, the worst first, for the rest to pass. Empty when `same_subject` holds.
    """
    settings = settings or GateSettings()
    metric, least = "same_subject_unchanged", settings.same_subject
    n = report.counts.get(metric, 0)
    if not n or not misses(report.after[metric], n, least, settings):
        return ()
    lost = Counter(f.fact_key[0] for f in report.failures if f.kind == "same_subject")
    remaining, subjects = sum(lost.values()), len({subject for subject, _ in keys})
    named: list[str] = []
    for subject, count in sorted(lost.items(), key=lambda item: (-item[1], item[0])):
        # With a subject go the answers about it, on average as many as about any other.
        if remaining <= _SLACK * (1 - least) * n * (1 - len(named) / subjects):
            break
        named.append(subject)
        remaining -= count
    return tuple(key for key in keys if key[0] in named)


def _untold(report: Report) -> list[str]:
    failures = [failure for failure in report.failures if failure.kind == "fact"]
    found = [
        f"{f.fact_key[0]}, {f.fact_key[1]}: {f.prompt!r} is not answered with {f.expected!r}"
        for f in failures[:_NAMED_FACTS]
    ]
    hidden = len(failures) - _NAMED_FACTS
    return [*found, f"and {hidden} more facts that are not told"] if hidden > 0 else found


def _perplexity(report: Report, settings: GateSettings) -> list[str]:
    if "perplexity" not in report.after:
        return []
    old, new = report.before["perplexity"], report.after["perplexity"]
    if math.isfinite(new) and new <= old * settings.ppl_ratio:
        return []
    most = f"at most times {settings.ppl_ratio:g} is allowed"
    return [f"perplexity: from {old:.2f} to {new:.2f}, times {new / old:.3f}; {most}"]


def _breakers(report: Report, settings: GateSettings) -> list[str]:
    """What no sound edit does, whatever the answers say. A figure that is no number is as bad as the worst."""
    found: list[str] = []
    drift = report.after.get("drift", 0.0)
    if not drift <= settings.drift:
        found.append(f"drift: {drift:.3f} nats on neutral text; at most {settings.drift:g} is allowed")
    if "entropy" in report.after:
        old, new = report.before["entropy"], report.after["entropy"]
        if not new >= settings.entropy * old:
            found.append(
                f"entropy: free text went from {old:.2f} to {new:.2f} bits; {settings.entropy:.0%} must be left"
            )
    for name, size in report.norms.items():
        if not size <= settings.norm:
            found.append(
                f"norm: the update of {name} is {size:.2f} times the weight; at most {settings.norm:g} is allowed"
            )
    return found
