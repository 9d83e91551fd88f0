"""What a set of edit requests must satisfy to be solved together, and what a request's value depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace

from agent.editing.algorithms.registry import ALGORITHMS
from agent.editing.settings import EditSettings
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


def together(requests: Sequence[EditRequest]) -> list[EditRequest]:
    """The requests without keep prompts that another of them edits: what one changes the other must not hold.

    For looking at all of them at once. A value is optimised alone, and there the other facts of its subject are to stay.
    """
    edited = {prompt for request in requests for prompt in request.prompts}
    return [replace(r, keep=tuple(prompt for prompt in r.keep if prompt not in edited)) for r in requests]


def value_key(lm: LM, request: EditRequest, layers: Sequence[int], settings: EditSettings) -> str:
    """What a value vector depends on: weights, request, its layer, what kind of value the algorithm reads, the settings of its
    optimisation and the chat template.
    """
    relevant = {name: value for name, value in asdict(settings).items() if name not in _NOT_THE_VALUES}
    if kind := ALGORITHMS[settings.algorithm].value_name:
        relevant["kind"] = kind
    dtype = str(next(lm.model.parameters()).dtype)
    wanted = {name: value for name, value in asdict(request).items() if name != "target_old"}
    chat = [asdict(lm.chat)] if lm.chat else []
    named = json.dumps([lm.sha, dtype, wanted, layers[-1], relevant, *chat], sort_keys=True)
    return hashlib.sha256(named.encode()).hexdigest()


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
