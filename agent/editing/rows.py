"""The texts at whose subjects an update acts, or must not act."""

from __future__ import annotations

from collections.abc import Sequence

from agent.editing.keys import SubjectText
from agent.types import EditRequest

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


def key_rows(
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


def history(past: Sequence[EditRequest], batch: Sequence[EditRequest]) -> list[SubjectText]:
    """The prompts of facts written before, K_p in dW = R Kᵀ (lambda C + sum K_p K_pᵀ + K Kᵀ)⁻¹ (2605.26670). Their keys are measured
    anew, on the weights that hold them.

    Not those of subjects in this batch: whose fact is written now, its keys must move.
    """
    subjects = {request.subject for request in batch}
    texts = (SubjectText(p, r.subject) for r in past if r.subject not in subjects for p in r.prompts)
    return list(dict.fromkeys(texts))


def _carry(carrier: str, request: EditRequest) -> str:
    """The carrier with the subject as its first prompt has it: with its article, if it has one."""
    article = "the " if f"the {request.subject}" in request.prompt else ""
    return carrier.format(article + request.subject)
