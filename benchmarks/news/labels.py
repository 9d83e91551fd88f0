"""Labelled news items: reading them, and when a claim and a label speak of the same.

An item has id, publisher, published, title, summary, link; its labels are facts {relation, subject, object, kind,
explicit}.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from agent.ner.linking import Linker
from agent.ner.names import fold, same_person, strip_legal
from agent.types import Article, Claim

_GENERIC_ENDS = {"group", "holdings", "holding", "corporation", "international"}


@dataclass(frozen=True, slots=True)
class Labelled:
    """One labelled fact of one item."""

    relation: str
    subject: str
    object: str
    kind: str
    explicit: bool


def read_items(path: Path) -> Iterator[Article]:
    """Items as articles, in file order."""
    for line in path.read_text(encoding="utf-8").splitlines():
        item: dict[str, Any] = json.loads(line)
        at = _when(str(item.get("published") or ""))
        yield Article(
            id=str(item["id"]),
            source=str(path),
            publisher=str(item.get("publisher", "")),
            url=str(item.get("link", "")),
            title=str(item.get("title") or ""),
            text=str(item.get("summary") or ""),
            published_at=at,
            fetched_at=at,
            sha256="",
        )


def _when(text: str) -> datetime:
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        at = datetime.fromisoformat(text) if text else datetime(1970, 1, 1, tzinfo=UTC)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def read_labels(path: Path) -> dict[str, list[Labelled]]:
    """Labelled facts by item id."""
    labels: dict[str, list[Labelled]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        labels[str(row["id"])] = [
            Labelled(f["relation"], f["subject"], f["object"], f["kind"], bool(f.get("explicit", True)))
            for f in row["facts"]
        ]
    return labels


def same_subject(a: str, b: str, linker: Linker, relation: str) -> bool:
    """Equal after aliases, demonyms, case, accents, legal endings; "IMO" equals the name it abbreviates."""
    left, right = (_canonical(x, linker, relation) for x in (a, b))
    return left == right or _initials(a) == right.replace(" ", "") or _initials(b) == left.replace(" ", "")


def _canonical(name: str, linker: Linker, relation: str) -> str:
    bare = strip_legal(re.sub(r"\s*\([^)]*\)$", "", name))
    found = {r.name for r in linker.readings(bare)}
    resolved = found.pop() if len(found) == 1 else bare
    if relation == "central_bank_governor" and any(r.kind == "country" for r in linker.readings(bare)):
        resolved = linker.central_bank(resolved)
    words = fold(resolved.replace("St. Louis Fed", "Federal Reserve Bank of St. Louis")).split()
    while len(words) > 1 and words[-1] in _GENERIC_ENDS:
        words = words[:-1]
    return " ".join(words)


def _initials(name: str) -> str:
    words = [w for w in re.findall(r"[^\W_]+", name) if w[0].isupper()]
    return "".join(w[0] for w in words).casefold() if len(words) > 1 else "-"


def agrees(claim: Claim, fact: Labelled, linker: Linker) -> bool:
    """Same relation, subject and object; the kind is compared elsewhere."""
    if claim.relation != fact.relation or not same_subject(
        claim.subject, fact.subject, linker, claim.relation
    ):
        return False
    if claim.relation in ("headquarters", "owner"):
        return same_subject(claim.object, fact.object, linker, claim.relation)
    return same_person(claim.object, fact.object)
