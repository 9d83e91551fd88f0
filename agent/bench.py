"""`factd bench` as a function: edit any local model with an edit set, score it after all edits, say what it
cost.

Every figure comes from free generation. The model in memory is as before afterwards; on disk only what the
caller asks for changes (`save`, `cache`).
"""

from __future__ import annotations

import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from agent.editfiles import EditEntry
from agent.editing.compile import Material, compile_delta, stage
from agent.editing.delta import Delta, applied
from agent.editing.keys import SubjectText
from agent.editing.layers import default_layers
from agent.editing.settings import EditSettings
from agent.export.hf import write_checkpoint
from agent.export.place import check_free, placed
from agent.lm.generate import generate
from agent.lm.load import LM
from agent.lm.tokens import encode_targets
from agent.verify.answers import matches, same_answer

Kind = Literal["efficacy", "paraphrase", "locality", "portability"]
Progress = Callable[[str, int, int], None]
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Scored:
    """One question of the edit set: what it expects (any of `expect`), what was said before and after all
    edits.

    `passed`: the answer is an expected one; of a locality question: the answer is the one given before.
    """

    kind: Kind
    entry: int
    prompt: str
    expect: tuple[str, ...]
    before: str
    after: str
    passed: bool

    @property
    def right(self) -> bool:
        """Whether the answer after the edits is an expected one."""
        return matches(self.after, self.expect)

    @property
    def was_right(self) -> bool:
        return matches(self.before, self.expect)


@dataclass(frozen=True, slots=True)
class BenchResult:
    """What one run measured. Shares are between 0 and 1 and missing where the edit set asks no such question.

    `metrics` and `before` (the same on the unedited model): efficacy, paraphrase, portability; locality:
    answers unchanged; locality_truth: locality answers that are the file's. `seconds`: compile, per_edit,
    generate (both passes), total. `memory_mib`: peak_rss of this process since it began, peak_gpu of this run
    on an accelerator.
    """

    model: str
    base_sha: str
    edits: int
    settings: Mapping[str, Any]
    metrics: Mapping[str, float]
    before: Mapping[str, float]
    counts: Mapping[str, int]
    seconds: Mapping[str, float]
    memory_mib: Mapping[str, float]
    answers: tuple[Scored, ...]

    def to_json(self) -> dict[str, Any]:
        """A dict for `json.dumps`; version 1."""
        return {"version": 1, **asdict(self)}


def run_bench(
    lm: LM,
    entries: Sequence[EditEntry],
    settings: EditSettings,
    *,
    save: Path | None = None,
    cache: Path | None = None,
    preserve: Sequence[SubjectText] = (),
    max_new_tokens: int = 12,
    progress: Progress | None = None,
) -> BenchResult:
    """Apply all edits as `settings` say, then score. `save`: folder for the edited checkpoint; `cache`: for
    the key statistics. `preserve`: names that are to hold still, with the weight `settings.preserve`.

    `progress(stage, done, total)` tells of the stages covariance, values, before and verify.
    Raises InputError when `save` exists, EditError for edits that cannot be computed, StoreError when the
    disk is full.
    """
    if save is not None:
        check_free(save)
    settings = replace(settings, layers=settings.layers or default_layers(lm, settings.algorithm, cache))
    if lm.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(lm.device)
    questions = [
        question for number, entry in enumerate(entries, 1) for question in _questions(number, entry)
    ]
    tokens = _tokens_needed(lm, questions, max_new_tokens)
    clock = [time.perf_counter()]
    before = _ask(lm, questions, tokens, stage(progress, "before"))
    clock.append(time.perf_counter())
    material = Material(preserve=preserve if settings.preserve else (), cache=cache)
    delta = compile_delta(lm, [entry.request for entry in entries], settings, material, progress).delta
    clock.append(time.perf_counter())
    with applied(lm, delta):
        after = _ask(lm, questions, tokens, stage(progress, "verify"))
    clock.append(time.perf_counter())
    if save is not None:
        save_edited(lm, delta, save)
    answers = tuple(_score(q, b, a) for q, b, a in zip(questions, before, after, strict=True))
    return _result(lm, settings, answers, clock, len(entries))


def _result(
    lm: LM, settings: EditSettings, answers: tuple[Scored, ...], clock: Sequence[float], edits: int
) -> BenchResult:
    return BenchResult(
        model=lm.path,
        base_sha=lm.sha,
        edits=edits,
        settings=asdict(settings),
        metrics=_metrics(answers, after=True),
        before=_metrics(answers, after=False),
        counts=dict(Counter(answer.kind for answer in answers)),
        seconds=_seconds(clock, edits),
        memory_mib=_memory(lm),
        answers=answers,
    )


def _seconds(clock: Sequence[float], edits: int) -> dict[str, float]:
    """From the times before and after asking, after compiling and after asking again."""
    started, compiling, compiled, ended = clock
    found = {
        "compile": compiled - compiling,
        "per_edit": (compiled - compiling) / max(edits, 1),
        "generate": (ended - compiled) + (compiling - started),
        "total": ended - started,
    }
    return {name: round(value, 4) for name, value in found.items()}


def save_edited(lm: LM, delta: Delta, folder: Path) -> None:
    """Write the edited checkpoint, in the dtype in which the model is loaded. The folder appears whole or not
    at all.

    Raises InputError when it exists, StoreError when it cannot be written, ModelError when transformers
    refuses.
    """
    with placed(folder) as partial, applied(lm, delta):
        write_checkpoint(lm, partial)


@dataclass(frozen=True, slots=True)
class _Question:
    kind: Kind
    entry: int
    prompt: str
    expect: tuple[str, ...]


def _questions(number: int, entry: EditEntry) -> list[_Question]:
    wanted = (entry.target_new,)
    return [
        _Question("efficacy", number, entry.prompt, wanted),
        *(_Question("paraphrase", number, prompt, wanted) for prompt in entry.rephrase),
        *(_Question("locality", number, q.prompt, q.answers) for q in entry.locality),
        *(_Question("portability", number, q.prompt, q.answers) for q in entry.portability if q.answers),
    ]


def _tokens_needed(lm: LM, questions: Sequence[_Question], least: int) -> int:
    """Long enough for the longest expected answer and the token that ends it."""
    expected = encode_targets(lm, [text for q in questions for text in q.expect])
    longest = max(map(len, expected), default=0)
    return max(least, longest + 2)


def _ask(
    lm: LM, questions: Sequence[_Question], tokens: int, progress: Callable[[int, int], None] | None
) -> list[str]:
    """The answer to each question; a prompt that several entries share is asked once."""
    prompts = list(dict.fromkeys(q.prompt for q in questions))
    said = dict(zip(prompts, generate(lm, prompts, max_new_tokens=tokens, progress=progress), strict=True))
    return [said[q.prompt] for q in questions]


def _score(question: _Question, before: str, after: str) -> Scored:
    local = question.kind == "locality"
    passed = same_answer(before, after) if local else matches(after, question.expect)
    return Scored(question.kind, question.entry, question.prompt, question.expect, before, after, passed)


def _metrics(answers: Sequence[Scored], *, after: bool) -> dict[str, float]:
    judged: dict[str, list[bool]] = {}
    for answer in answers:
        right = answer.right if after else answer.was_right
        if answer.kind != "locality":
            judged.setdefault(answer.kind, []).append(right)
            continue
        if after:
            judged.setdefault("locality", []).append(answer.passed)
        if answer.expect:
            judged.setdefault("locality_truth", []).append(right)
    return {name: sum(values) / len(values) for name, values in judged.items()}


def _memory(lm: LM) -> dict[str, float]:
    kibi = 1 if sys.platform == "darwin" else 1024  # ru_maxrss counts bytes there, KiB elsewhere
    peak = {"peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kibi / _MIB}
    if lm.device.type == "cuda":
        peak["peak_gpu"] = torch.cuda.max_memory_allocated(lm.device) / _MIB
    return {name: round(value, 1) for name, value in peak.items()}
