"""Our side: `python -m benchmarks.versus.factd JOB OUT` measures one job in this process.

Before the clock runs one edit is compiled, which fills the cache folder; after that every compilation reads its statistics from there,
as the daemon does. Seconds are of `compile_delta` and of putting its delta into the model.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from agent.config import model_editing
from agent.editing.compile import Material, compile_delta
from agent.editing.corpus import text_rows
from agent.editing.covariance import Amount, key_statistics
from agent.editing.delta import applied
from agent.editing.keys import SubjectText, keys_and_states, one_per_key
from agent.editing.settings import EditSettings
from agent.lm.arch import as_out_in, down_module
from agent.lm.load import LM, load_lm
from agent.typed import build
from agent.types import EditRequest
from benchmarks.edits import answers, scores
from benchmarks.versus.job import (
    Clock,
    EditSet,
    Job,
    outcome,
    read_edits,
    read_job,
    read_texts,
    write_outcome,
)
from benchmarks.versus.memory import peak, reset_peak, resident, touch
from benchmarks.versus.settings import Method, Scales, quick_preserved, quick_settings, same_settings

_CHUNK = 20_000  # tokens between two looks


def measure(job: Job) -> dict[str, Any]:
    """Run the job's task. Raises what the compiler raises."""
    lm = load_lm(job.model, dtype="float32", device="cpu")
    touch(lm.model)
    base = resident()
    texts = read_texts(Path(job.texts))
    if job.task == "statistics":
        return _statistics(lm, texts, job, base)
    edits = read_edits(Path(job.edits))
    settings, requests, preserve = sides(lm, job, edits)
    material = Material(preserve=preserve, corpus=texts, cache=Path(job.work) / "cache")
    return _edits(lm, edits, requests, settings, material, base)


def _statistics(lm: LM, texts: Sequence[str], job: Job, base: float) -> dict[str, Any]:
    clock = Clock()
    reset_peak()
    with clock.running():
        rows = text_rows(lm, texts, chunk=_CHUNK)
        found = key_statistics(lm, rows, job.layers, Amount(1, None))
    traces = {str(layer): float(c.double().trace()) for layer, c in found.matrices.items()}
    return outcome(clock.seconds, base, peak(), {}) | {"traces": traces}


def _edits(
    lm: LM, edits: EditSet, requests: Sequence[EditRequest], settings: EditSettings, material: Material, base: float
) -> dict[str, Any]:  # fmt: skip
    """ROME: one edit after the other, each timed on the unedited model, then all together for the scores. Else all at once."""
    compile_delta(lm, requests[:1], settings, material)
    reset_peak()
    clock = Clock()
    batches = [[r] for r in requests] if settings.algorithm == "rome" else [list(requests)]
    for batch in batches:
        with clock.running():
            compiled = compile_delta(lm, batch, settings, material)
            with applied(lm, compiled.delta):
                pass
    highest = peak()
    quality = {}
    if edits.asks:
        if len(batches) > 1:
            compiled = compile_delta(lm, requests, settings, material)
        with applied(lm, compiled.delta):
            quality = scores(edits.asks, edits.before, answers(lm, edits.asks))
    return outcome(clock.seconds, base, highest, quality)


def sides(
    lm: LM, job: Job, edits: EditSet
) -> tuple[EditSettings, Sequence[EditRequest], Sequence[SubjectText]]:
    """Settings, facts, and the texts of other subjects that are preserved."""
    method: Method = job.task  # type: ignore[assignment]
    preserve = [SubjectText(*row) for row in edits.preserve]
    if job.side == "quick":
        few = [replace(r, prompts=r.prompts[:1], keep=()) for r in edits.requests]
        some = one_per_key(preserve)[: quick_preserved(method)]
        return quick_settings(method, job.peer.layers), few, some
    if job.side == "shipped":
        return *_as_shipped(job, edits), preserve
    return *_as_peer(lm, job, edits), ()


def _as_shipped(job: Job, edits: EditSet) -> tuple[EditSettings, Sequence[EditRequest]]:
    """The checkpoint's own settings (a model without any gets our defaults), and the facts as the daemon hands them in."""
    return build(EditSettings, {**model_editing(job.model), "algorithm": job.task}, "editing"), edits.requests


def _as_peer(lm: LM, job: Job, edits: EditSet) -> tuple[EditSettings, Sequence[EditRequest]]:
    """One prompt a fact, its essence "X is a", and the peer's settings in our units."""
    requests = [replace(r, prompts=r.prompts[:1], keep=(f"{r.subject} is a",)) for r in edits.requests]
    method: Method = job.task  # type: ignore[assignment]
    return same_settings(method, job.peer, _scales(lm, requests, method, job.peer.layers[-1])), requests


def _scales(lm: LM, requests: Sequence[EditRequest], method: Method, layer: int) -> Scales:
    """ROME's push is held against the MLP's output, the others' against the layer's."""
    seen = keys_and_states(lm, [SubjectText(r.prompt, r.subject) for r in requests], [layer])
    down = down_module(lm.model, lm.arch, layer)
    state = float(seen.states.norm(dim=-1).mean())
    anchor = state
    if method == "rome":
        written = torch.nn.functional.linear(seen.keys[layer], as_out_in(down), getattr(down, "bias", None))
        anchor = float(written.norm(dim=-1).mean())
    return Scales(seen.states.shape[1], seen.keys[layer].shape[1], state, anchor)


def main() -> None:
    job, out = (Path(a) for a in sys.argv[1:3])
    torch.manual_seed(0)
    write_outcome(out, measure(read_job(job)))


if __name__ == "__main__":
    main()
