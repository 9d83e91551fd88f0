"""Answers in, numbers out: pure. Asking is in `agent.verify.snapshot`.

Take one `Snapshot` before and one after the edit with the same probes; `compare` turns the two into a
`Report`. Every figure is a share of free generations, but for those of neutral texts and the teacher-forced one, which is there
for comparison with other people's tables and decides nothing.

    efficacy, paraphrase, question, chat      share of prompts answered with the fact's object
    inverse, portability                      share answered right; reported only, as no editor of this kind gets there
    facts                                     share of facts that all edit prompts and half of the paraphrases tell
    earlier                                   share of the forward prompts of facts that were live before, answered right
    stale                                     share of a fact's own prompts still answered with the old object
    same_subject, same_relation, canary       share answered right
    ..._unchanged                             share answered as before, or rightly now
    others_unchanged                          the same, of same_relation and canary together
    perplexity, entropy, drift                see `agent.verify.neutral`
    teacher_forced_efficacy                   share of the target's tokens that are the likeliest where the right ones are fed
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from agent.errors import InputError
from agent.lm.generate import Progress
from agent.lm.load import LM
from agent.types import Asked, FactKey, Failure, Probe, Report
from agent.verify.answers import clause, matches, same_answer
from agent.verify.intervals import Interval, ratio_interval, share_interval
from agent.verify.neutral import compare_neutral
from agent.verify.snapshot import Snapshot, snapshot

Rate = tuple[float, int]
# What is counted under one metric: which fact it is about, and whether it went right.
Tally = list[tuple[FactKey, bool]]
FORWARD = ("efficacy", "paraphrase", "question")
GUARDS = ("same_subject", "same_relation", "canary")
NOT_JUDGED = "not judged yet"
_FORMS = 4


def measure(
    lm: LM, probes: Sequence[Probe], *, batch_size: int = 64, progress: Progress | None = None
) -> dict[str, Rate]:
    """Share of right answers and number of probes, by kind of probe."""
    return accuracy(snapshot(lm, probes, batch_size=batch_size, progress=progress).answers, probes)


def is_right(answers: Mapping[str, str], probe: Probe) -> bool:
    """Whether the probe's prompt was answered with what it expects. Raises InputError if it was not asked."""
    return matches(_said(answers, probe), probe.expect)


def accuracy(answers: Mapping[str, str], probes: Iterable[Probe]) -> dict[str, Rate]:
    """Share of right answers and number of probes, by kind of probe; kinds without probes are left out."""
    return {kind: _rate(tally) for kind, tally in _right(answers, probes).items()}


def unchanged(
    before: Mapping[str, str], after: Mapping[str, str], probes: Iterable[Probe]
) -> dict[str, Rate]:
    """Share of the guarding probes answered as before, by kind; `others` pools all but those of the edited
    subjects.

    Only facts that the model knew before can be forgotten: where it answered a guarding probe wrong it was guessing, and
    another guess is no damage. A model that knew none of them is held to its words all the same.
    """
    return {kind: _rate(tally) for kind, tally in _kept(before, after, probes).items()}


def _right(answers: Mapping[str, str], probes: Iterable[Probe]) -> dict[str, Tally]:
    by_kind: dict[str, Tally] = {}
    for probe in probes:
        by_kind.setdefault(probe.kind, []).append((probe.fact_key, is_right(answers, probe)))
    return by_kind


def _kept(before: Mapping[str, str], after: Mapping[str, str], probes: Iterable[Probe]) -> dict[str, Tally]:
    by_kind: dict[str, Tally] = {}
    for probe in _guards(before, probes):
        ok = (probe.fact_key, is_unchanged(before, after, probe))
        by_kind.setdefault(probe.kind, []).append(ok)
        if probe.kind != "same_subject":
            by_kind.setdefault("others", []).append(ok)
    return by_kind


def _guards(before: Mapping[str, str], probes: Iterable[Probe]) -> list[Probe]:
    """The guarding probes that count: those answered right before, or all when none was."""
    guards = [probe for probe in probes if probe.kind in GUARDS]
    return [probe for probe in guards if is_right(before, probe)] or guards


def is_unchanged(before: Mapping[str, str], after: Mapping[str, str], probe: Probe) -> bool:
    """Whether nothing was lost: right now; or wrong before as well, in the same words."""
    if is_right(after, probe):
        return True
    return not is_right(before, probe) and same_answer(_said(before, probe), _said(after, probe))


def facts_told(answers: Mapping[str, str], probes: Iterable[Probe]) -> dict[FactKey, bool]:
    """Per fact whether it is told: every edit prompt is answered with it, and at least half of its held-out paraphrases.

    A fact that only one sentence brings out is parroted, and not worth a revision.
    """
    asked: dict[FactKey, dict[str, list[bool]]] = {}
    for probe in probes:
        if probe.kind in ("efficacy", "paraphrase"):
            kinds = asked.setdefault(probe.fact_key, {"efficacy": [], "paraphrase": []})
            kinds[probe.kind].append(is_right(answers, probe))
    return {
        key: all(kinds["efficacy"]) and 2 * sum(kinds["paraphrase"]) >= len(kinds["paraphrase"])
        for key, kinds in asked.items()
        if kinds["efficacy"]
    }


def facts_by_share(answers: Mapping[str, str], probes: Iterable[Probe]) -> dict[FactKey, float]:
    """Per fact the share of its probes that are answered right."""
    asked: dict[FactKey, list[bool]] = {}
    for probe in probes:
        asked.setdefault(probe.fact_key, []).append(is_right(answers, probe))
    return {key: sum(oks) / len(oks) for key, oks in asked.items()}


def compare(
    before: Snapshot,
    after: Snapshot,
    probes: Sequence[Probe],
    *,
    earlier: Collection[FactKey] = (),
    max_failures: int = 200,
    max_examples: int = 12,
) -> Report:
    """Both snapshots scored, not yet judged (`passed` is False; see gate.judged). `earlier`: the facts that were live already.

    A fact none of whose edit prompts is answered right is one failure of kind `fact`, and always in the
    report; of the other kinds there are `max_failures` at most. Raises InputError when a probe is in only one
    of the snapshots.
    """
    old = _tallies(before, before, probes, earlier)
    new = _tallies(before, after, probes, earlier)
    found = {name: _Metric.of_shares(old[name], tally) for name, tally in new.items()}
    found |= _other_metrics(before, after)
    return Report(
        before={name: metric.before for name, metric in found.items()},
        after={name: metric.after for name, metric in found.items()},
        counts={name: metric.count for name, metric in found.items()},
        passed=False,
        reasons=(NOT_JUDGED,),
        failures=_failures(before.answers, after.answers, probes, max_failures),
        examples=_examples(before.answers, after.answers, probes, max_examples),
        intervals={name: metric.interval for name, metric in found.items()},
        asked=tuple(asked_of(before.answers, after.answers, probe) for probe in probes),
    )


def asked_of(before: Mapping[str, str], after: Mapping[str, str], probe: Probe) -> Asked:
    """One probe with both answers."""
    right = is_right(after, probe)
    kept = is_unchanged(before, after, probe) if probe.kind in GUARDS else right
    said = clause(_said(before, probe)), clause(_said(after, probe))
    return Asked(
        probe.kind,
        probe.fact_key,
        probe.prompt,
        probe.expect[:_FORMS],
        *said,
        is_right(before, probe),
        right,
        kept,
    )


@dataclass(frozen=True, slots=True)
class _Metric:
    """A row of the report."""

    before: float
    after: float
    count: int
    interval: Interval

    @classmethod
    def of_shares(cls, before: Tally, after: Tally) -> _Metric:
        return cls(_rate(before)[0], _rate(after)[0], len(after), share_interval(after))


def _other_metrics(before: Snapshot, after: Snapshot) -> dict[str, _Metric]:
    """Those that are no shares of probes."""
    found: dict[str, _Metric] = {}
    if before.neutral is not None and after.neutral is not None:
        for name, figure in compare_neutral(before.neutral, after.neutral).items():
            found[name] = _Metric(figure.before, figure.after, figure.count, figure.interval)
    prompts = [prompt for prompt in after.forced if prompt in before.forced]
    if prompts:
        old, new = ([side.forced[prompt] for prompt in prompts] for side in (before, after))
        interval = ratio_interval(new, [1.0] * len(new))
        count = len(prompts)
        found["teacher_forced_efficacy"] = _Metric(
            math.fsum(old) / count, math.fsum(new) / count, count, interval
        )
    return found


def _tallies(
    reference: Snapshot, snap: Snapshot, probes: Sequence[Probe], earlier: Collection[FactKey]
) -> dict[str, Tally]:
    found = _right(snap.answers, probes)
    told = facts_told(snap.answers, probes)
    if told:
        found["facts"] = list(told.items())
    forward = [probe for probe in probes if probe.kind in FORWARD]
    found["earlier"] = [(p.fact_key, is_right(snap.answers, p)) for p in forward if p.fact_key in earlier]
    found["stale"] = [(p.fact_key, matches(_said(snap.answers, p), p.reject)) for p in forward if p.reject]
    for kind, tally in _kept(reference.answers, snap.answers, probes).items():
        found[f"{kind}_unchanged"] = tally
    return {name: tally for name, tally in found.items() if tally}


def _failures(
    before: Mapping[str, str], after: Mapping[str, str], probes: Sequence[Probe], limit: int
) -> tuple[Failure, ...]:
    untold = {key for key, told in facts_told(after, probes).items() if not told}
    facts: dict[FactKey, Failure] = {}
    rest: list[Failure] = []
    for probe in probes:
        got = clause(_said(after, probe))
        wrong = probe.kind in FORWARD and not is_right(after, probe)
        if wrong and probe.fact_key in untold and probe.fact_key not in facts:
            facts[probe.fact_key] = _failure("fact", probe, probe.expect[0], got)
        elif wrong:
            rest.append(_failure(probe.kind, probe, probe.expect[0], got))
    for probe in _guards(before, probes):
        if not is_unchanged(before, after, probe):
            right = probe.expect[0] if is_right(before, probe) else clause(_said(before, probe))
            rest.append(_failure(probe.kind, probe, right, clause(_said(after, probe))))
    return (*facts.values(), *rest[:limit])


def _failure(kind: str, probe: Probe, expected: str, got: str) -> Failure:
    return Failure(probe.fact_key, kind, probe.prompt, expected, got)


def _examples(
    before: Mapping[str, str], after: Mapping[str, str], probes: Sequence[Probe], limit: int
) -> tuple[tuple[str, str, str], ...]:
    """(prompt, before, after) of one held-out prompt per fact, a question where there is one."""
    shown: dict[FactKey, Probe] = {}
    for kind in ("question", "paraphrase", "efficacy"):
        for probe in probes:
            if probe.kind == kind:
                shown.setdefault(probe.fact_key, probe)
    chosen = [shown[key] for key in dict.fromkeys(p.fact_key for p in probes) if key in shown][:limit]
    return tuple((p.prompt, clause(_said(before, p)), clause(_said(after, p))) for p in chosen)


def _said(answers: Mapping[str, str], probe: Probe) -> str:
    if probe.prompt not in answers:
        raise InputError(
            f"{probe.prompt!r} was not asked; take both snapshots with the probes that are compared"
        )
    return answers[probe.prompt]


def _rate(tally: Tally) -> Rate:
    return (sum(ok for _, ok in tally) / len(tally), len(tally))
