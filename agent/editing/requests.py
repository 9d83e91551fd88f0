"""What a set of edit requests must satisfy to be solved together, and what a request's value depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from agent.editing.algorithms.registry import ALGORITHMS
from agent.editing.settings import EditSettings
from agent.editing.subjects import by_subject
from agent.errors import EditError
from agent.lm.load import LM
from agent.types import EditRequest

# Settings that the optimisation of a value does not read.
_NOT_THE_VALUES = frozenset({
    "algorithm", "mode", "batch", "layers", "covariance", "preserve", "samples", "sample_tokens", "batch_rows",
    "carriers", "rounds", "null_share", "polish", "polish_covariance", "polish_lr", "corpus", "statistics", "statistics_tokens", "ft_eps", "history",
})  # fmt: skip


def checked(requests: Sequence[EditRequest]) -> list[EditRequest]:
    """The requests in an order of their own, so that the one they are given in does not matter. Raises EditError for a request
    without prompt or target and for two that contradict each other.
    """
    _check(requests)
    return sorted(requests, key=lambda r: (r.subject, r.prompts, r.target_new))


def value_keys(
    lm: LM, requests: Sequence[EditRequest], layers: Sequence[int], settings: EditSettings
) -> list[str]:
    """The `value_key` of each request, beside those of its subject."""
    keys = [""] * len(requests)
    for group in by_subject(requests):
        for index in group:
            beside = [requests[other] for other in group if other != index]
            keys[index] = value_key(lm, requests[index], layers, settings, beside)
    return keys


def value_key(
    lm: LM,
    request: EditRequest,
    layers: Sequence[int],
    settings: EditSettings,
    beside: Sequence[EditRequest] = (),
) -> str:
    """What a value vector depends on: weights, request and those of the same subject `beside` it, its layer, what kind of value the
    algorithm reads, the settings of its optimisation and the chat template.
    """
    relevant = {name: value for name, value in asdict(settings).items() if name not in _NOT_THE_VALUES}
    if kind := ALGORITHMS[settings.algorithm].value_name:
        relevant["kind"] = kind
    dtype = str(next(lm.model.parameters()).dtype)
    others = [sorted(json.dumps(_told(other), sort_keys=True) for other in beside)] if beside else []
    chat = [asdict(lm.chat)] if lm.chat else []
    named = json.dumps([lm.sha, dtype, _told(request), layers[-1], relevant, *others, *chat], sort_keys=True)
    return hashlib.sha256(named.encode()).hexdigest()


def _told(request: EditRequest) -> dict[str, Any]:
    """What of a request the optimisation reads."""
    return {name: value for name, value in asdict(request).items() if name != "target_old"}


def _check(requests: Sequence[EditRequest]) -> None:
    targets: dict[tuple[str, str], str] = {}
    for request in requests:
        if not request.prompts or not request.target_new.strip():
            raise EditError(
                f"the edit of {request.subject!r} has no prompt or no target; give both or drop it"
            )
        for prompt in request.prompts:
            other = targets.setdefault((request.subject, prompt), request.target_new)
            if other != request.target_new:
                raise EditError(
                    f"two edits contradict each other: {prompt!r} -> {other!r} and "
                    f"-> {request.target_new!r}; drop one of them"
                )
