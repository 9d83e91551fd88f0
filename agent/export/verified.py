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

from agent.editing.delta import applied
from agent.examine import all_texts, gate_of, nearness, neutral_texts, probes_of
from agent.export.manifest import MANIFEST, Manifest, finite
from agent.export.place import told
from agent.lm.load import LM
from agent.store import revisions
from agent.types import Report, Revision
from agent.verify.gate import judged
from agent.verify.metrics import compare
from agent.verify.snapshot import Snapshot, snapshot
from agent.workshop import Workshop, delta_of


@dataclass(frozen=True, slots=True)
class Checked:
    """`memory`: base against the revision in memory, `artefact`: base against what was exported. The artefact is judged."""

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
    probes = probes_of(shop, members, nearness(shop, shop.base(), members))
    base = shop.base()
    texts = neutral_texts(shop.catalogue, all_texts(shop, base), members)

    def ask(lm: LM, stage: str) -> Snapshot:
        return snapshot(lm, probes, texts, progress=lambda done, total: shop.progress(stage, done, total))

    before = ask(base, "before")
    with applied(base, delta_of(shop.store, revision.id, base)) as edited:
        memory = ask(edited, "verify")
    with load() as loaded:
        artefact = ask(loaded, "artefact")
    gate = gate_of(shop.settings.verify)
    reports = [judged(compare(before, after, probes), gate) for after in (memory, artefact)]
    return Checked(reports[0], reports[1])


def finished(
    folder: Path, manifest: Manifest, checked: Checked | None, details: Mapping[str, Any] | None = None
) -> Manifest:
    """The manifest with the verdict, written into the artefact's folder. Raises StoreError."""
    if checked is not None:
        manifest = replace(manifest, verified=checked.passed, verification=checked.to_json())
    manifest = replace(manifest, details={**manifest.details, **(details or {})})
    with told(folder):
        (folder / MANIFEST).write_text(manifest.to_text(), encoding="utf-8")
    return manifest
