"""A revision's facts as text, for stacks that tell a model its facts: retrieval, a system prompt."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.export.manifest import fact_records, manifest_of
from agent.export.place import placed, told
from agent.export.verified import Exported, finished
from agent.overlay import Overlay
from agent.store import queue, revisions
from agent.types import Fact, Place, Revision
from agent.workshop import Workshop

JSONL = "facts.jsonl"
MARKDOWN = "facts.md"
_MARKDOWN = str.maketrans({c: f"\\{c}" for c in "\\`*_[]<>#|"})


@dataclass(frozen=True, slots=True)
class Told:
    """A fact with the English sentence that tells it, and where the revision has it."""

    fact: Fact
    sentence: str
    place: Place


def export_overlay(shop: Workshop, revision_id: int, folder: Path, *, beside_only: bool = False) -> Exported:
    """Write the facts of a revision into the new `folder`: one JSON object a line, and a Markdown text. `beside_only`: only those that
    its weights do not hold.

    Raises UnknownId, InputError when `folder` exists, StoreError.
    """
    revision = revisions.get(shop.store, revision_id)
    facts = [t for t in told_facts(shop, revision) if t.place == "overlay" or not beside_only]
    with placed(folder) as partial:
        with told(partial):
            (partial / JSONL).write_text("".join(map(_line, facts)), encoding="utf-8")
            (partial / MARKDOWN).write_text(markdown(revision, facts), encoding="utf-8")
        manifest = manifest_of("overlay", revision, revision.base_sha, "", shop.clock())
        manifest = finished(partial, manifest, None, {"written": len(facts)})
    return Exported(folder, manifest)


def told_facts(shop: Workshop, revision: Revision) -> list[Told]:
    """Every fact of the revision, by its proposal's id."""
    overlay = Overlay((), shop.relations, shop.catalogue)
    places = revisions.places(shop.store, revision.id)
    found = []
    for proposal in revisions.members(shop.store, revision.id):
        fact, request = proposal.fact, queue.request(shop.store, proposal.id)
        if fact.relation in shop.relations:
            sentence = overlay.told(fact)
        elif request is not None:  # an edit of a person's own, with its own prompt
            sentence = f"{request.prompt} {request.target_new}."
        else:
            sentence = f"{fact.subject}, {fact.relation}: {fact.object}."
        found.append(Told(fact, one_line(sentence), places[proposal.id]))
    return found


def markdown(revision: Revision, facts: Iterable[Told]) -> str:
    """A text that can stand in a system prompt as it is."""
    lines = [
        "# Facts that are newer than the model",
        "",
        f"State of {revision.created_at:%Y-%m-%d}, revision {revision.id}. "
        "Where these contradict what you remember, these hold.",
        "",
    ]
    for told_fact in facts:
        since = f"{told_fact.fact.valid_from:%Y-%m-%d}"
        voices = ", ".join(map(one_line, told_fact.fact.publishers))
        behind = f"known since {since}" + (f"; {voices}" if voices else "")
        lines.append(f"- {told_fact.sentence.translate(_MARKDOWN)} ({behind.translate(_MARKDOWN)})")
    return "\n".join(lines) + "\n"


def one_line(text: str) -> str:
    """Names come from feeds: no control or format characters, and no line of their own in a prompt."""
    spaced = " ".join(text.split())
    return "".join(c for c in spaced if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co"))


def _line(told_fact: Told) -> str:
    record: dict[str, Any] = {"sentence": told_fact.sentence, **fact_records([told_fact.fact])[0]}
    return json.dumps({**record, "place": told_fact.place}, ensure_ascii=False) + "\n"
