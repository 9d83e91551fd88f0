"""revision = compile(base weights, set of live facts, edit settings).

The base is never written: it is changed in memory while measuring and restored bit for bit. Values are
optimised against the base once and may be handed in again (`known_values`); then only the linear systems are
solved anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from agent.editing.algorithms.base import Problem
from agent.editing.algorithms.registry import ALGORITHMS
from agent.editing.contexts import prefixes
from agent.editing.covariance import cached_covariance, covariance, own_samples
from agent.editing.delta import Delta, LowRank, add_, empty_delta, module_of, restored, stacked
from agent.editing.keys import SubjectText
from agent.editing.polish import polish
from agent.editing.requests import checked, together, value_key
from agent.editing.settings import EditSettings
from agent.lm.arch import down_name
from agent.lm.load import LM
from agent.types import EditRequest

Tensor = torch.Tensor
Progress = Callable[[str, int, int], None]
_CARRIERS = (
    "{}",
    "In {}",
    "As for {}",
    "It is said of {}",
    "What about {}",
    "Who in {}",
    "News from {}",
    "Today {}",
    "For {}",
)
# Prompts about other subjects whose answers polishing watches: the first of the preserve keys, which come shuffled.
_PROTECTED = 320
# Where published work edits: the early middle of the stack (causal tracing of ROME; layers 4-8 of 32 in
# MEMIT's Llama settings).
_DEFAULT_SPAN = (0.12, 0.27)


@dataclass(frozen=True, slots=True)
class Compiled:
    """A delta and the values it came from, keyed by `value_key`, to be kept for the next compilation."""

    delta: Delta
    values: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Material:
    """What a compilation reads besides the facts: preserve keys, a corpus for the covariance (else own
    samples), a cache folder.
    """

    preserve: Sequence[SubjectText] = ()
    corpus: Sequence[str] = ()
    cache: Path | None = None
    known_values: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Ground:
    """What is measured once, on the base. `covariance` by layer: (d_in, d_in) float64."""

    layers: tuple[int, ...]
    contexts: tuple[str, ...]
    covariance: Mapping[int, Tensor]


def compile_delta(
    lm: LM,
    requests: Sequence[EditRequest],
    settings: EditSettings,
    material: Material,
    progress: Progress | None = None,
) -> Compiled:
    """Solve for all requests: jointly, or batch by batch in the order given when `settings.mode` is
    sequential.

    The same arguments give the same delta, byte for byte on one machine; of a joint solve the order of the
    requests does not matter. A sequential delta comes without values, for they hold on its way only. Raises
    EditError for a request without its subject in a prompt, without a target or contradicting another in its
    solve, and for a singular system.
    """
    if not requests:
        return Compiled(empty_delta(lm.sha), {})
    layers = settings.layers or default_layers(lm)
    contexts = prefixes(lm, settings.contexts, settings.context_tokens, settings.seed)
    ground = _Ground(layers, contexts, _covariance(lm, layers, settings, material, progress))
    if settings.mode == "joint":
        return _joint(lm, requests, ground, settings, material, progress)
    return _sequential(lm, requests, ground, settings, replace(material, known_values={}), progress)


def find_values(
    lm: LM,
    requests: Sequence[EditRequest],
    settings: EditSettings,
    known: Mapping[str, Tensor],
    progress: Progress | None = None,
) -> dict[str, Tensor]:
    """What `compile_delta` would compute first in joint mode: (d_model,) float32 by `value_key`; nothing for an algorithm without values.

    `known` values are not computed again. A value of NaN was given up (`settings.give_up`): the model cannot be made to say
    that target, and `compile_delta` writes nothing for it. Raises EditError as it does.
    """
    layers = settings.layers or default_layers(lm)
    contexts = prefixes(lm, settings.contexts, settings.context_tokens, settings.seed)
    return _values(lm, checked(requests), contexts, layers, settings, known, progress)


def _values(
    lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str], layers: Sequence[int],
    settings: EditSettings, known: Mapping[str, Tensor], progress: Progress | None,
) -> dict[str, Tensor]:  # fmt: skip
    optimise = ALGORITHMS[settings.algorithm].values
    if optimise is None:
        return {}
    keys = [value_key(lm, request, layers, settings) for request in requests]
    missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in known}
    values = {key: known[key] for key in keys if key in known}
    if missing:
        tell = stage(progress, "values")
        found = optimise(lm, list(missing.values()), contexts, layers[-1], settings, tell)
        values.update(zip(missing, found, strict=True))
    return values


def _joint(
    lm: LM, requests: Sequence[EditRequest], ground: _Ground, settings: EditSettings, material: Material,
    progress: Progress | None,
) -> Compiled:  # fmt: skip
    spec, asked = ALGORITHMS[settings.algorithm], checked(requests)
    contexts, layers = ground.contexts, ground.layers
    values = _values(lm, asked, contexts, layers, settings, material.known_values, progress)
    nothing = torch.zeros(0)
    pushes = [values[value_key(lm, r, layers, settings)] if spec.values else nothing for r in asked]
    told = [(r, push) for r, push in zip(asked, pushes, strict=True) if not push.isnan().any()]
    if not told:
        return Compiled(empty_delta(lm.sha), values)
    requests = [request for request, _ in told]
    rows, owner = _key_rows(requests, contexts, settings.carriers)
    problem = Problem(
        requests=requests,
        values=_by_subject(requests, torch.stack([push for _, push in told])),
        rows=rows,
        owner=torch.tensor(owner),
        layers=layers,
        covariance=ground.covariance,
        preserve=material.preserve,
        settings=settings,
    )
    updates = spec.solve(lm, problem)
    if settings.polish and spec.columns:
        protected = [row.text for row in material.preserve[:_PROTECTED]]
        updates = polish(
            lm, together(requests), contexts, updates, protected, settings, stage(progress, "polish")
        )
    return Compiled(Delta({down_name(lm.arch, layer): u for layer, u in updates.items()}, lm.sha), values)


def _sequential(
    lm: LM, requests: Sequence[EditRequest], ground: _Ground, settings: EditSettings, material: Material,
    progress: Progress | None,
) -> Compiled:  # fmt: skip
    """Each batch is solved against the weights that hold the batches before it."""
    found: dict[str, LowRank] = {}
    with restored(lm, [down_name(lm.arch, layer) for layer in ground.layers]):
        for start in range(0, len(requests), settings.batch):
            batch = requests[start : start + settings.batch]
            held = _history(requests[:start], batch) if settings.history else []
            kept = replace(material, preserve=[*material.preserve, *held])
            step = _joint(lm, batch, ground, settings, kept, None)
            for name, update in step.delta.updates.items():
                add_(module_of(lm, name), update.left, update.right)
                found[name] = stacked([found[name], update]) if name in found else update
            if progress:
                progress("values", min(start + settings.batch, len(requests)), len(requests))
    return Compiled(Delta(found, lm.sha), {})


def _history(past: Sequence[EditRequest], batch: Sequence[EditRequest]) -> list[SubjectText]:
    """The prompts of facts written before, K_p in dW = R Kᵀ (lambda C + sum K_p K_pᵀ + K Kᵀ)⁻¹ (2605.26670). Their keys are measured
    anew, on the weights that hold them.

    Not those of subjects in this batch: whose fact is written now, its keys must move.
    """
    subjects = {request.subject for request in batch}
    texts = (SubjectText(p, r.subject) for r in past if r.subject not in subjects for p in r.prompts)
    return list(dict.fromkeys(texts))


def _by_subject(requests: Sequence[EditRequest], values: Tensor) -> Tensor:
    """(requests, d_model): each request's value with those of its subject's other facts. They share their keys, so that whatever one
    writes the others find as well; solved apart they would meet in the middle.
    """
    index: dict[str, int] = {}
    ids = torch.tensor([index.setdefault(request.subject, len(index)) for request in requests])
    return torch.zeros(len(index), values.shape[1]).index_add_(0, ids, values)[ids]


def _key_rows(
    requests: Sequence[EditRequest], contexts: Sequence[str], carriers: bool
) -> tuple[list[SubjectText], list[int]]:
    """The texts at whose subject the update must act, and the request of each.

    Besides the prompts in their contexts these are short carriers of the bare subject: a key depends on the
    few words before the subject, and a held-out phrasing brings others. A carrier costs one short truncated
    pass and no optimisation.
    """
    rows: list[SubjectText] = []
    owner: list[int] = []
    for index, request in enumerate(requests):
        texts = [context + prompt for prompt in request.prompts for context in contexts]
        if carriers:
            texts += [_carry(carrier, request) for carrier in _CARRIERS]
        rows += [SubjectText(text, request.subject) for text in texts]
        owner += [index] * len(texts)
    return rows, owner


def _carry(carrier: str, request: EditRequest) -> str:
    """The carrier with the subject as its first prompt has it: with its article, if it has one."""
    article = "the " if f"the {request.subject}" in request.prompt else ""
    return carrier.format(article + request.subject)


def default_layers(lm: LM) -> tuple[int, ...]:
    """Layers for a model without settings of its own: the published span, scaled to its depth."""
    low, high = (round(share * lm.n_layers) for share in _DEFAULT_SPAN)
    return tuple(range(max(low, 0), max(high, low + 1)))


def _covariance(
    lm: LM, layers: Sequence[int], settings: EditSettings, material: Material, progress: Progress | None
) -> dict[int, Tensor]:
    if not ALGORITHMS[settings.algorithm].covariance:
        return {}
    texts = material.corpus or own_samples(lm, settings.samples, settings.sample_tokens, settings.seed)
    tell = stage(progress, "covariance")
    if material.cache is None:
        return covariance(lm, texts, layers, progress=tell)
    return cached_covariance(lm, texts, layers, material.cache, progress=tell)


def stage(progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    """`progress` for one stage: done and total only."""
    return partial(progress, name) if progress else None
