"""Facts of one subject have the same keys, so whatever is written for one of them every other one reads.

They are therefore one value: a push after which the model says all of them. Optimised apart and added up, each would hold the others
at their old answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agent.types import EditRequest


def by_subject(requests: Sequence[EditRequest]) -> list[list[int]]:
    """Indices of the requests of each subject."""
    groups: dict[str, list[int]] = {}
    for index, request in enumerate(requests):
        groups.setdefault(request.subject, []).append(index)
    return list(groups.values())


def together(requests: Sequence[EditRequest]) -> list[EditRequest]:
    """The requests without keep prompts that another of them edits: what one changes the other must not hold."""
    edited = {prompt for request in requests for prompt in request.prompts}
    return [replace(r, keep=tuple(prompt for prompt in r.keep if prompt not in edited)) for r in requests]


def merged(requests: Sequence[EditRequest]) -> list[EditRequest]:
    """All requests, those of each subject as `one_push` has them."""
    result = list(requests)
    for group in by_subject(requests):
        for index, request in zip(group, one_push([requests[i] for i in group]), strict=True):
            result[index] = request
    return result


def one_push(requests: Sequence[EditRequest]) -> list[EditRequest]:
    """Requests of one subject as they are optimised together: each keep prompt once, with the first of them."""
    if len(requests) == 1:
        return list(requests)
    first, *others = together(requests)
    keep = dict.fromkeys(prompt for request in (first, *others) for prompt in request.keep)
    return [replace(first, keep=tuple(keep)), *(replace(other, keep=()) for other in others)]
