"""Edits that a person gives: from the command line or an edit file to facts of the queue."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.errors import InputError, PolicyRefused, UsageError
from agent.types import EditRequest, Fact, Proposal

if TYPE_CHECKING:
    from agent.catalogue import Catalogue
    from agent.relations import Relation
    from agent.settings import Settings

OWN_PREFIX = "edit:"
_UNITS_H = {"h": 1, "d": 24, "w": 168}
_SPAN = re.compile(r"(\d+)\s*([hdw])")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One edit to queue. `request` where it brings prompts of its own, `single` where its key has one object
    at a time.
    """

    draft: Proposal
    request: EditRequest | None = None
    single: bool = True


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What a name or a relation is checked against."""

    settings: Settings
    relations: Mapping[str, Relation]
    catalogue: Catalogue


def knowledge(settings: Settings) -> Knowledge:
    """Raises ConfigError."""
    from agent.catalogue import load_catalogue
    from agent.relations import load_relations

    return Knowledge(settings, load_relations(settings.relations), load_catalogue(settings.catalogue))


def of_fact(
    subject: str, relation: str, object_: str, known: Knowledge, now: datetime, *, where: str = ""
) -> Wanted:
    """A fact of a known relation. Raises UsageError for an unknown relation, PolicyRefused where the owner's
    rules forbid it.
    """
    at = f"{where}: " if where else ""
    if relation not in known.relations:
        raise UsageError(at + unknown_relation(relation, known.relations))
    names = known.catalogue.names
    fact = Fact(
        names.get(subject.strip(), subject.strip()),
        relation,
        names.get(object_.strip(), object_.strip()),
        now,
    )
    if not (fact.subject and fact.object):
        raise InputError(f"{at}an edit needs a subject and an object")
    if not known.relations[relation].policy.editable:
        raise PolicyRefused(
            f"{at}{relation} may not be edited: policy.editable is false in the relations file"
        )
    _not_protected((fact.subject, fact.object), known, at)
    return Wanted(_draft(fact), None, known.relations[relation].cardinality == "one")


def unknown_relation(name: str, relations: Iterable[str]) -> str:
    """What to say of a relation that is none."""
    near = difflib.get_close_matches(name, list(relations), n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(relations)}"
    return f"unknown relation {name!r}; {hint}"


def of_request(request: EditRequest, known: Knowledge, now: datetime, *, where: str = "") -> Wanted:
    """An edit with its own prompts. Its relation is named by the prompts without the subject: two edits of
    one question meet.
    """
    templates = [prompt.replace(request.subject, "{}") for prompt in request.prompts]
    name = OWN_PREFIX + hashlib.sha256(json.dumps(templates).encode()).hexdigest()[:8]
    _not_protected((request.subject, request.target_new), known, f"{where}: " if where else "")
    fact = Fact(request.subject, name, request.target_new, now)
    return Wanted(
        _draft(fact, request.target_old, f'as given: "{request.prompt} {request.target_new}"'), request
    )


def of_file(path: Path, known: Knowledge, now: datetime) -> list[Wanted]:
    """Every edit of a file, in its order: factd's own form, else what `agent.editfiles` reads. Raises
    InputError, naming the entry.
    """
    own = _own_rows(path)
    if own is not None:
        return [
            of_fact(
                row["subject"], row["relation"], row["object"], known, now, where=f"{path}: entry {number}"
            )
            for number, row in enumerate(own, 1)
        ]
    from agent.editfiles import read_edits

    return [
        of_request(edit.request, known, now, where=f"{path}: entry {number}")
        for number, edit in enumerate(read_edits(path), 1)
    ]


def moment(text: str, now: datetime) -> datetime:
    """`3d`, `12h`, `2w` from now, or a date or time (UTC unless it says otherwise). Raises UsageError; also
    for the past.
    """
    span = _SPAN.fullmatch(text.strip())
    try:
        if span:
            at = now + timedelta(hours=int(span[1]) * _UNITS_H[span[2]])
        else:
            at = datetime.fromisoformat(text.strip())
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"--until: {text!r} is no time; give 3d, 12h, 2w, or a date like 2026-01-31"
        ) from error
    if at <= now:
        raise UsageError(f"--until: {text!r} is in the past")
    return at


def _own_rows(path: Path) -> list[dict[str, str]] | None:
    """The rows if the file is of factd's own form ({subject, relation, object}, or a list of them), else
    None.
    """
    try:
        document: Any = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (ValueError, RecursionError):
        return None
    rows = [document] if isinstance(document, dict) else document
    keys = ("subject", "relation", "object")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        return None
    if not all(isinstance(row.get(key), str) for row in rows for key in keys):
        return None
    return rows


def _draft(fact: Fact, target_old: str = "", reason: str = "given by a person") -> Proposal:
    return Proposal(0, fact, "pending", reason, target_old)


def _not_protected(names: tuple[str, str], known: Knowledge, at: str) -> None:
    touched = sorted(set(names) & set(known.settings.policy.protected))
    if touched:
        raise PolicyRefused(f"{at}{touched[0]!r} may not be touched: it is in policy.protected")
