"""Edits of the taught models, and settings under which models of that size can be edited."""

from __future__ import annotations

from typing import Any

from agent.editing.compile import Material
from agent.editing.keys import SubjectText
from agent.editing.settings import EditSettings
from agent.types import EditRequest
from tests.models import COUNTRIES, FACTS, FORMS


def settings(**changes: Any) -> EditSettings:
    wanted: dict[str, Any] = {
        "layers": (0, 1), "contexts": 2, "clamp": 4.0, "steps": 30, "lr": 0.2, "covariance": 0.02,
        "decay": 0.01, "samples": 60, "sample_tokens": 20,
    }  # fmt: skip
    return EditSettings(**{**wanted, **changes})


def edit(subject: str, target: str, relation: str = "capital", *, forms: int = 2) -> EditRequest:
    """The subject gets another object; its other relations are to be kept."""
    return EditRequest(
        subject,
        tuple(form.format(relation=relation, subject=subject) for form in FORMS[:forms]),
        target,
        keep=tuple(f"The {other} of {subject} is" for other in FACTS if other != relation),
    )


def material(*edited: str) -> Material:
    """The keys of every subject that is not edited are to be preserved."""
    rest = [subject for subject in COUNTRIES if subject not in edited]
    forms = [form.format(relation="capital", subject="{}") for form in FORMS]
    return Material(
        preserve=[SubjectText(form.format(subject), subject) for subject in rest for form in forms]
    )


ZORLAND = edit("Zorland", "Sorna")
QUENIA = edit("Quenia", "Tebbin")
