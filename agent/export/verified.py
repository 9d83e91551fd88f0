"""An artefact asked as its user would ask it, beside the revision that it was made of.

An artefact can be worse than its revision: bfloat16 rounds small updates away, a compressed adapter leaves some of them out,
eight bits round everything. So it is loaded from its files, asked the revision's probes, and judged by the same gate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent.export.manifest import MANIFEST, Manifest, finite
from agent.export.place import told
from agent.lm.load import LM
from agent.store import revisions
from agent.trial import Trials, checked, questions, verdict
from agent.types import Report, Revision
from agent.workshop import Workshop, delta_of


@dataclass(frozen=True, slots=True)
class Checked:
    """`memory`: base against the revision in memory, `artefact`: base against what was exported. The artefact is judged. `norms`, in
    both, are those of the revision's delta.
    """

    memory: Report
    artefact: Report

    @property
    def passed(self) -> bool:
        return self.artefact.passed

    def to_json(self) -> dict[str, Any]:
        return {
            "reasons": list(self.artefact.reasons),
            "counts": self.artefact.counts,
            "base": finite(self.artefact.before),
            "memory": finite(self.memory.after),
            "artefact": finite(self.artefact.after),
            "norms": finite(self.memory.norms),
        }


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export left: the folder, its manifest, and the verification (None: not asked, or nothing to ask)."""

    folder: Path
    manifest: Manifest
    checked: Checked | None = None


def check(
    shop: Workshop, revision: Revision, load: Callable[[], AbstractContextManager[LM]]
) -> Checked | None:
    """Ask base, revision and artefact, and judge. `load` gives the artefact as its user has it; None when the revision has
    nothing in the weights. Base and artefact are in memory together.

    Raises ModelError when the artefact cannot be loaded.
    """
    members = revisions.members(shop.store, revision.id, "weights")
    if not members:
        return None
    base = shop.base()
    delta = delta_of(shop.store, revision.id, base)
    asked = questions(shop, base, members, Trials())
    memory = checked(shop, base, delta, asked)
    with load() as loaded:
        return Checked(memory, verdict(shop, loaded, asked, memory.norms, "artefact"))


def finished(
    folder: Path, manifest: Manifest, found: Checked | None, details: Mapping[str, Any] | None = None
) -> Manifest:
    """The manifest with the verdict, written into the artefact's folder. Raises StoreError."""
    if found is not None:
        manifest = replace(manifest, verified=found.passed, verification=found.to_json())
    manifest = replace(manifest, details={**manifest.details, **(details or {})})
    with told(folder):
        (folder / MANIFEST).write_text(manifest.to_text(), encoding="utf-8")
    return manifest
