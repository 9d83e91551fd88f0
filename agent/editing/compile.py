"""revision = compile(base weights, set of live facts, edit settings).

The base is never written: it is changed in memory while measuring and restored bit for bit. Values are
optimised against the base once and may be handed in again (`known_values`); then only the linear systems are
solved anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from agent.editing.algorithms.base import Problem
from agent.editing.algorithms.registry import ALGORITHMS
from agent.editing.contexts import prefixes
from agent.editing.covariance import statistics_for
from agent.editing.delta import Delta, LowRank, add_, empty_delta, module_of, restored, stacked
from agent.editing.factors import Factors
from agent.editing.keys import SubjectText, keys_of
from agent.editing.layers import default_layers
from agent.editing.polish import polish
from agent.editing.requests import checked, value_keys
from agent.editing.rows import history, key_rows
from agent.editing.settings import EditSettings
from agent.lm.arch import down_name
from agent.lm.load import LM
from agent.types import EditRequest

Tensor = torch.Tensor
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A delta and the values it came from, keyed by `value_keys`, to be kept for the next compilation."""

    delta: Delta
    values: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Material:
    """What a compilation reads besides the facts: preserve keys, texts for the covariance (else what the
    settings say), a cache folder. `factors`: of statistics that somebody measured already, of these layers at least;
    `preserve_keys`: those of `preserve` on the base, each once (`one_per_key`), (keys, d_in) by layer, likewise, for joint mode.
    """

    preserve: Sequence[SubjectText] = ()
    corpus: Sequence[str] = ()
    cache: Path | None = None
    factors: Factors | None = None
    preserve_keys: Mapping[int, Tensor] = field(default_factory=dict)
    known_values: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Ground:
    """What is measured once, on the base."""

    layers: tuple[int, ...]
    contexts: tuple[str, ...]
    factors: Factors


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
    if settings.mode == "joint":
        return _joint(lm, requests, _ground(lm, settings, material, progress), settings, material, progress)
    updates: dict[str, LowRank] = {}
    for done, step in compiled_in_batches(lm, requests, settings, material, progress):
        for name, update in step.updates.items():
            updates[name] = stacked([updates[name], update]) if name in updates else update
        if progress:
            progress("values", done, len(requests))
    return Compiled(Delta(updates, lm.sha), {})


def prepared(lm: LM, settings: EditSettings, material: Material) -> Material:
    """The material with what does not depend on the requests measured already, for several joint compilations by these settings.

    Raises EditError as `compile_delta` does.
    """
    ground = _ground(lm, settings, material, None)
    keys = _preserve_keys(lm, ground.layers, settings, material)
    return replace(material, factors=ground.factors, preserve_keys=keys)


def compiled_in_batches(
    lm: LM,
    requests: Sequence[EditRequest],
    settings: EditSettings,
    material: Material,
    progress: Progress | None = None,
) -> Iterator[tuple[int, Delta]]:
    """Sequential mode, batch by batch: how many requests are written by now, and what this batch added.

    Each batch is solved against the weights that hold the batches before it. Between two of them the model in memory holds all so far; at
    the end, and when the iteration is left, it is as before. Raises EditError as `compile_delta` does.
    """
    ground = _ground(lm, settings, material, progress)
    material = replace(material, known_values={})
    with restored(lm, [down_name(lm.arch, layer) for layer in ground.layers]):
        for start in range(0, len(requests), settings.batch):
            batch = requests[start : start + settings.batch]
            held = history(requests[:start], batch) if settings.history else []
            kept = replace(material, preserve=[*material.preserve, *held])
            step = _joint(lm, batch, ground, settings, kept, None).delta
            for name, update in step.updates.items():
                add_(module_of(lm, name), update.left, update.right)
            yield start + len(batch), step


def find_values(
    lm: LM,
    requests: Sequence[EditRequest],
    settings: EditSettings,
    known: Mapping[str, Tensor],
    progress: Progress | None = None,
) -> dict[str, Tensor]:
    """What `compile_delta` would compute first in joint mode: (d_model,) float32 by `value_keys`; nothing for an algorithm without values.

    `known` values are not computed again. A value of NaN was given up (`settings.give_up`): the model cannot be made to say
    that target, and `compile_delta` writes nothing for it. Raises EditError as it does.
    """
    layers = settings.layers or default_layers(lm, settings.algorithm)
    contexts = prefixes(lm, settings.contexts, settings.context_tokens, settings.seed)
    asked = checked(requests)
    keys = value_keys(lm, asked, layers, settings)
    return _values(lm, asked, keys, contexts, layers[-1], settings, known, progress)


def _values(
    lm: LM, requests: Sequence[EditRequest], keys: Sequence[str], contexts: Sequence[str], layer: int,
    settings: EditSettings, known: Mapping[str, Tensor], progress: Progress | None,
) -> dict[str, Tensor]:  # fmt: skip
    """By `keys`, the requests' own; nothing for an algorithm without values."""
    optimise = ALGORITHMS[settings.algorithm].values
    if optimise is None:
        return {}
    values = {key: known[key] for key in keys if key in known}
    # Facts of one subject have one value: where one of them is missing all are found anew.
    missing = {request.subject for request, key in zip(requests, keys, strict=True) if key not in known}
    if missing:
        asked = {key: r for key, r in zip(keys, requests, strict=True) if r.subject in missing}
        tell = stage(progress, "values")
        found = optimise(lm, list(asked.values()), contexts, layer, settings, tell)
        values.update(zip(asked, found, strict=True))
    return values


def _joint(
    lm: LM, requests: Sequence[EditRequest], ground: _Ground, settings: EditSettings, material: Material,
    progress: Progress | None,
) -> Compiled:  # fmt: skip
    spec, asked = ALGORITHMS[settings.algorithm], checked(requests)
    contexts, layers = ground.contexts, ground.layers
    keys = value_keys(lm, asked, layers, settings)
    values = _values(lm, asked, keys, contexts, layers[-1], settings, material.known_values, progress)
    pushes = [values.get(key, torch.zeros(0)) for key in keys]
    told = [(r, push) for r, push in zip(asked, pushes, strict=True) if not push.isnan().any()]
    if not told:
        return Compiled(empty_delta(lm.sha), values)
    requests = [request for request, _ in told]
    rows, owner = key_rows(requests, contexts, settings.carriers)
    problem = Problem(
        requests=requests,
        values=torch.stack([push for _, push in told]),
        rows=rows,
        owner=torch.tensor(owner),
        layers=layers,
        factors=ground.factors,
        settings=settings,
        preserve=material.preserve,
        preserve_keys=_preserve_keys(lm, layers, settings, material),
    )
    updates = spec.solve(lm, problem)
    if settings.polish and spec.columns:
        updates = polish(lm, problem, contexts, updates, stage(progress, "polish"))
    return Compiled(Delta({down_name(lm.arch, layer): u for layer, u in updates.items()}, lm.sha), values)


def _preserve_keys(
    lm: LM, layers: Sequence[int], settings: EditSettings, material: Material
) -> Mapping[int, Tensor]:
    """As `Problem` has them; none for an algorithm (ft) that preserves nothing. Polishing asks which of them were moved, also where
    the solve does not heed them.
    """
    read = ALGORITHMS[settings.algorithm].covariance and (
        settings.preserve or (settings.polish and settings.kl)
    )
    if not (material.preserve and read):
        return {}
    if material.preserve_keys and settings.mode == "joint":
        return material.preserve_keys
    return keys_of(lm, material.preserve, layers, batch_rows=settings.batch_rows)


def _ground(lm: LM, settings: EditSettings, material: Material, progress: Progress | None) -> _Ground:
    layers = settings.layers or default_layers(lm, settings.algorithm, material.cache)
    contexts = prefixes(lm, settings.contexts, settings.context_tokens, settings.seed)
    if not ALGORITHMS[settings.algorithm].covariance:
        return _Ground(layers, contexts, Factors({}))
    if material.factors is not None:
        return _Ground(layers, contexts, material.factors)
    tell = stage(progress, "covariance")
    found = statistics_for(lm, layers, settings, texts=material.corpus, folder=material.cache, progress=tell)
    return _Ground(layers, contexts, Factors(found.matrices, found.key, material.cache))


def stage(progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    """`progress` for one stage: done and total only."""
    return partial(progress, name) if progress else None
