"""Answers in, numbers out. Asking (`snapshot`) is apart from scoring (all the rest, pure).

Take one `Snapshot` before and one after the edit with the same probes; `compare` turns the two into a
`Report`. Every figure is a share of free generations; perplexity is the one exception and measures damage,
not success.

    efficacy, paraphrase, question, inverse   share of prompts answered with the fact's object
    facts                                     share of facts that all edit prompts and half of the paraphrases tell
    stale                                     share of a fact's own prompts still answered with the old object
    same_subject, same_relation, canary       share answered right
    ..._unchanged                             share answered as before, or rightly now
    others_unchanged                          the same, of same_relation and canary together
    perplexity                                on held-out texts
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agent.errors import InputError
from agent.lm.generate import Progress, generate
from agent.lm.load import LM
from agent.lm.score import perplexity
from agent.types import FactKey, Failure, Probe, Report
from agent.verify.answers import clause, matches, same_answer
from agent.verify.ask import tokens_needed

Rate = tuple[float, int]
FORWARD = ("efficacy", "paraphrase", "question")
GUARDS = ("same_subject", "same_relation", "canary")
NOT_JUDGED = "not judged yet"
_STEP = 8  # tokens; few different lengths, so that batches stay large


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the model said: the raw continuation of each prompt, and its perplexity on `texts` held-out texts
    (NaN for none).
    """

    answers: Mapping[str, str]
    perplexity: float = math.nan
    texts: int = 0


def snapshot(
    lm: LM,
    probes: Sequence[Probe],
    texts: Sequence[str] = (),
    *,
    batch_size: int = 64,
    new_tokens: int = 12,
    progress: Progress | None = None,
) -> Snapshot:
    """Ask every probe once, greedily. `new_tokens` grows where an expected name is longer. `progress(done,
    total)`: prompts.
    """
    if not probes:
        raise InputError("there is nothing to ask; a snapshot needs at least one probe")
    groups = _by_length(lm, probes, new_tokens)
    total, answers = sum(map(len, groups.values())), dict[str, str]()
    for length, prompts in groups.items():
        shown = _shifted(progress, len(answers), total)
        said = generate(lm, prompts, max_new_tokens=length, batch_size=batch_size, progress=shown)
        answers.update(zip(prompts, said, strict=True))
    value = perplexity(lm, texts) if texts else math.nan
    return Snapshot(answers, value, len(texts))


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
    by_kind: dict[str, list[bool]] = {}
    for probe in probes:
        by_kind.setdefault(probe.kind, []).append(is_right(answers, probe))
    return {kind: _rate(oks) for kind, oks in by_kind.items()}


def unchanged(
    before: Mapping[str, str], after: Mapping[str, str], probes: Iterable[Probe]
) -> dict[str, Rate]:
    """Share of the guarding probes answered as before, by kind; `others` pools all but those of the edited
    subjects.

    Only facts that the model knew before can be forgotten: where it answered a guarding probe wrong it was guessing, and
    another guess is no damage. A model that knew none of them is held to its words all the same.
    """
    by_kind: dict[str, list[bool]] = {}
    for probe in _guards(before, probes):
        ok = is_unchanged(before, after, probe)
        by_kind.setdefault(probe.kind, []).append(ok)
        if probe.kind != "same_subject":
            by_kind.setdefault("others", []).append(ok)
    return {kind: _rate(oks) for kind, oks in by_kind.items()}


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


def wilson(right: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The interval in which the true share lies: 95 % for z = 1.96, and sound for few samples (Wilson 1927).
    (0, 1) for n = 0.
    """
    if n == 0:
        return (0.0, 1.0)
    share, z2 = right / n, z * z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return (0.0 if right == 0 else max(0.0, middle - half), 1.0 if right == n else min(1.0, middle + half))


def compare(
    before: Snapshot,
    after: Snapshot,
    probes: Sequence[Probe],
    *,
    max_failures: int = 200,
    max_examples: int = 12,
) -> Report:
    """Both snapshots scored, not yet judged (`passed` is False; see gate.judged).

    A fact none of whose edit prompts is answered right is one failure of kind `fact`, and always in the
    report; of the other kinds there are `max_failures` at most. Raises InputError when a probe is in only one
    of the snapshots.
    """
    pairs = (_metrics(before, before, probes), _metrics(before, after, probes))
    counts = {name: n for name, (_, n) in pairs[1].items()}
    return Report(
        before={name: value for name, (value, _) in pairs[0].items()},
        after={name: value for name, (value, _) in pairs[1].items()},
        counts=counts,
        passed=False,
        reasons=(NOT_JUDGED,),
        failures=_failures(before.answers, after.answers, probes, max_failures),
        examples=_examples(before.answers, after.answers, probes, max_examples),
    )


def _by_length(lm: LM, probes: Sequence[Probe], at_least: int) -> dict[int, list[str]]:
    """Prompts by how many tokens to generate, each once. How long an answer may be depends on its own probe
    alone, so that parts of a probe set, asked one by one, are answered like the whole.
    """
    groups: dict[int, list[str]] = {}
    for prompt, forms in {probe.prompt: probe.expect for probe in probes}.items():
        needed = tokens_needed(lm, forms, at_least)
        groups.setdefault(needed if needed == at_least else -(-needed // _STEP) * _STEP, []).append(prompt)
    return dict(sorted(groups.items()))


def _shifted(progress: Progress | None, before: int, total: int) -> Progress | None:
    return (lambda done, _: progress(before + done, total)) if progress else None


def _metrics(reference: Snapshot, snap: Snapshot, probes: Sequence[Probe]) -> dict[str, Rate]:
    found = accuracy(snap.answers, probes)
    told = facts_told(snap.answers, probes)
    if told:
        found["facts"] = _rate(list(told.values()))
    stale = [matches(_said(snap.answers, p), p.reject) for p in probes if p.reject and p.kind in FORWARD]
    if stale:
        found["stale"] = _rate(stale)
    for kind, rate in unchanged(reference.answers, snap.answers, probes).items():
        found[f"{kind}_unchanged"] = rate
    if snap.texts:
        found["perplexity"] = (snap.perplexity, snap.texts)
    return found


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


def _rate(oks: Sequence[bool]) -> Rate:
    return (sum(oks) / len(oks), len(oks))
