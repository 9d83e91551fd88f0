"""Asking: what a model says to every probe, and what it does with neutral texts. Scoring is in `metrics`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent.errors import InputError
from agent.lm.generate import Progress, generate
from agent.lm.load import LM
from agent.lm.score import target_hits
from agent.types import Probe
from agent.verify.ask import tokens_needed
from agent.verify.neutral import Neutral, read_neutral

_STEP = 8  # tokens; few different lengths, so that batches stay large


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the model said: the raw continuation of each prompt; `forced`: of each efficacy prompt the share of the target's tokens
    that are right under teacher forcing; `neutral`: what it did with held-out texts, None where it got none.
    """

    answers: Mapping[str, str]
    neutral: Neutral | None = None
    forced: Mapping[str, float] = field(default_factory=dict)


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
    return Snapshot(answers, read_neutral(lm, texts) if texts else None, _forced(lm, probes))


def _forced(lm: LM, probes: Sequence[Probe]) -> dict[str, float]:
    edits = {probe.prompt: probe.expect[0] for probe in probes if probe.kind == "efficacy"}
    return dict(zip(edits, target_hits(lm, list(edits), list(edits.values())), strict=True))


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
