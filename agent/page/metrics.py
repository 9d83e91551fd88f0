"""The report's metrics as rows: in a fixed order, with words, threshold and what became of it. Names are open-ended."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from agent.page.inputs import Threshold
from agent.types import Report

TEACHER_FORCED = "teacher_forced"
EDITED, KEPT, LANGUAGE, OTHER, BESIDE = "edited", "kept", "language", "other", "beside"
GROUPS = {
    EDITED: "What was edited",
    KEPT: "What must stay as it was",
    LANGUAGE: "The language as a whole",
    OTHER: "Other figures",
    BESIDE: "Beside: teacher forcing. It flatters, and nothing is judged by it",
}
# name, group, what it says
_KNOWN = (
    ("efficacy", EDITED, "edit prompts answered with the new fact"),
    ("facts", EDITED, "facts told: every edit prompt and half of the paraphrases"),
    ("paraphrase", EDITED, "held-out prompts answered with the new fact"),
    ("question", EDITED, "held-out questions answered with the new fact"),
    ("chat", EDITED, "questions in a chat answered with the new fact"),
    ("overlay", EDITED, "facts beside the weights: prompts answered with the fact"),
    ("overlay_held_out", EDITED, "the same, where the prompt's own wording is in no catalogue"),
    ("portability", EDITED, "what follows from the new fact is answered so"),
    ("inverse", EDITED, "asked the other way round, from the object"),
    ("stale", EDITED, "own prompts still answered with the old object; less is better"),
    ("earlier", KEPT, "facts of earlier revisions still told"),
    ("same_subject", KEPT, "other facts about edited subjects answered right"),
    ("same_subject_unchanged", KEPT, "of those it knew, still right"),
    ("same_relation", KEPT, "edited relations of other subjects answered right"),
    ("same_relation_unchanged", KEPT, "of those it knew, still right"),
    ("canary", KEPT, "a sample of all that is known answered right"),
    ("canary_unchanged", KEPT, "of those it knew, still right"),
    ("others_unchanged", KEPT, "all answers about other subjects that it knew, still right"),
    ("overlay_unchanged", KEPT, "other answers about the overlay's subjects, with the overlay and without"),
    ("perplexity", LANGUAGE, "of held-out texts that tell nothing edited; less is better"),
    ("drift", LANGUAGE, "KL divergence of the next token, base to edited, in nats; less is better"),
    ("entropy", LANGUAGE, "2- and 3-grams of free text, in bits: repetition has little"),
)  # fmt: skip
_ORDER = {name: place for place, (name, _, _) in enumerate(_KNOWN)}
_WORDS = {name: (group, words) for name, group, words in _KNOWN}
# A figure whose name holds one of these is no share, even where it looks like one.
_NO_SHARES = (
    "perplexity",
    "drift",
    "entropy",
    "kl",
    "nats",
    "ppl",
    "ratio",
    "seconds",
    "norm",
    "logp",
    "nll",
)


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric. `low`, `high`: the 95 % interval of `after`. `wanted`: the gate's threshold in the metric's own unit, `at_most`
    or at least. `outcome`: holds, refused, below (missed, and no reason to refuse: with few samples one failure says
    little) or "" where nothing is wanted.
    """

    name: str
    label: str
    words: str
    group: str
    share: bool
    before: float | None
    after: float | None
    n: int | None
    low: float | None
    high: float | None
    wanted: float | None
    at_most: bool
    outcome: str

    @property
    def factor(self) -> float | None:
        """After over before, of a figure that is no share."""
        if self.share or self.before is None or self.after is None or not self.before > 0:
            return None
        return self.after / self.before


def metric_rows(report: Report, thresholds: Mapping[str, Threshold]) -> tuple[MetricRow, ...]:
    """Every metric of the report once, by group."""
    names = sorted({*report.before, *report.after}, key=_place)
    return tuple(_row(name, report, thresholds.get(name)) for name in names)


def group_of(name: str) -> str:
    if name.startswith(TEACHER_FORCED):
        return BESIDE
    known = _WORDS.get(name)
    if known is not None:
        return known[0]
    if name.endswith("_unchanged"):
        return KEPT
    return LANGUAGE if any(part in _NO_SHARES[:3] for part in name.split("_")) else OTHER


def is_share(name: str, report: Report) -> bool:
    """Whether a metric is a share of its samples: between 0 and 1, and a whole number of them."""
    if any(part in _NO_SHARES for part in name.split("_")):
        return False
    n = report.counts.get(name, 0)
    # Teacher forcing counts tokens, not samples.
    whole = not name.startswith(TEACHER_FORCED)
    values = [value for side in (report.before, report.after) if (value := side.get(name)) is not None]
    if n == 0 or not all(0 <= value <= 1 for value in values):
        return False
    return not whole or all(math.isclose(value * n, round(value * n), abs_tol=1e-6 * n) for value in values)


def finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def spoken(name: str) -> str:
    """`same_subject_unchanged` in words."""
    return name.replace("_", " ")


def _row(name: str, report: Report, threshold: Threshold | None) -> MetricRow:
    before, after = finite(report.before.get(name)), finite(report.after.get(name))
    low, high = report.intervals.get(name, (None, None))
    wanted = None
    if threshold is not None:
        wanted = threshold.value if not threshold.relative else _times(before, threshold.value)
    return MetricRow(
        name=name,
        label=spoken(name),
        words=_WORDS.get(name, ("", ""))[1],
        group=group_of(name),
        share=is_share(name, report),
        before=before,
        after=after,
        n=report.counts.get(name),
        low=finite(low),
        high=finite(high),
        wanted=wanted,
        at_most=threshold is not None and threshold.at_most,
        outcome=_outcome(name, report, wanted, threshold),
    )


def _outcome(name: str, report: Report, wanted: float | None, threshold: Threshold | None) -> str:
    """The gate has judged already: a metric that it refused begins one of its reasons."""
    if threshold is None or wanted is None or name not in report.after:
        return ""
    after = report.after[name]
    if after <= wanted if threshold.at_most else after >= wanted:
        return "holds"
    named = any(reason.startswith(f"{name}:") for reason in report.reasons)
    return "refused" if named or (name == "facts" and not report.passed) else "below"


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _place(name: str) -> tuple[int, int, str]:
    return (list(GROUPS).index(group_of(name)), _ORDER.get(name, len(_ORDER)), name)
