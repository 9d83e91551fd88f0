"""`factd.json`, which stands in every artefact: what it was made of, and whether it was asked."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from agent.errors import InputError
from agent.types import Fact, Revision
from agent.versions import own_version

Form = Literal["hf", "peft", "overlay", "gguf"]
MANIFEST = "factd.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """`base_sha` and `delta_sha` are SHA-256 (hex); `dtype` that of the artefact's weights, "" where it has none.

    `verified`: None where it was not asked. `verification` holds the figures, `details` what is particular to the form.
    """

    form: Form
    revision: int
    base_sha: str
    delta_sha: str
    dtype: str
    facts: tuple[dict[str, Any], ...]
    overlay: tuple[dict[str, Any], ...]
    exported_at: str
    factd: str
    verified: bool | None = None
    verification: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    def to_text(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def manifest_of(form: Form, revision: Revision, base_sha: str, dtype: str, now: datetime) -> Manifest:
    """The manifest of one revision's artefact, before anything was asked. `now` is UTC-aware."""
    return Manifest(
        form=form,
        revision=revision.id,
        base_sha=base_sha,
        delta_sha=revision.delta_sha,
        dtype=dtype,
        facts=fact_records(revision.compiled),
        overlay=fact_records(revision.overlay),
        exported_at=now.isoformat(),
        factd=own_version(),
    )


def fact_records(facts: Iterable[Fact]) -> tuple[dict[str, Any], ...]:
    """Facts as JSON values. Their evidence stays behind: ids of claims mean nothing outside the state folder."""
    return tuple(
        {
            "subject": fact.subject,
            "relation": fact.relation,
            "object": fact.object,
            "valid_from": fact.valid_from.isoformat(),
            "publishers": list(fact.publishers),
        }
        for fact in facts
    )


def finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """Figures for JSON, which has neither NaN nor infinities."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Raises InputError when the folder holds none, or one of a newer factd."""
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); it is no artefact of factd") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise InputError(f"{path}: is no manifest of this factd's format {FORMAT}; export it again")
    return found
