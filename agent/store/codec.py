"""How our types are written to columns and files and read back: sorted JSON, times as text of one form."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from agent.errors import StoreError
from agent.types import Asked, Belief, EditRequest, Fact, Failure, Report


def to_text(at: datetime) -> str:
    """`2024-07-05T12:00:00.000000+00:00`: always UTC and of one length, so that text order is time order.

    Raises StoreError for a time without a zone: it would be a guess.
    """
    if at.tzinfo is None:
        raise StoreError(f"time {at.isoformat()} has no time zone; pass a UTC-aware datetime")
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def to_text_or_none(at: datetime | None) -> str | None:
    return None if at is None else to_text(at)


def to_time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def to_time_or_none(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def canonical(value: object) -> str:
    """The one JSON text of a value of mappings, sequences, strings, numbers, booleans and None.

    Raises StoreError for NaN and infinities, which JSON does not know, for half a surrogate pair, and for
    what is no JSON at all.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        text.encode("utf-8")
        return text
    except (TypeError, ValueError) as error:
        raise StoreError(f"a record cannot be written as JSON: {error}") from error


def digest(value: object) -> str:
    """SHA-256 of the canonical JSON, in hex."""
    return hashlib.sha256(canonical(value).encode("utf-8")).hexdigest()


def storable(text: str) -> str:
    """`text` with halves of surrogate pairs replaced: JSON feeds may hold them, UTF-8 and SQLite may not."""
    return text.encode("utf-8", "replace").decode("utf-8")


def strings(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def fact_record(fact: Fact) -> dict[str, Any]:
    return {
        "subject": fact.subject,
        "relation": fact.relation,
        "object": fact.object,
        "valid_from": to_text(fact.valid_from),
        "evidence": list(fact.evidence),
        "publishers": list(fact.publishers),
    }


def fact_of(record: Mapping[str, Any]) -> Fact:
    return Fact(
        subject=record["subject"],
        relation=record["relation"],
        object=record["object"],
        valid_from=to_time(record["valid_from"]),
        evidence=tuple(record["evidence"]),
        publishers=tuple(record["publishers"]),
    )


def facts_of(text: str) -> tuple[Fact, ...]:
    return tuple(fact_of(record) for record in json.loads(text))


def belief_record(belief: Belief) -> dict[str, Any]:
    return {**_flat(belief), "logp": _number(belief.logp)}


def belief_of(text: str) -> Belief:
    record = json.loads(text)
    subject, relation = record.pop("fact_key")
    logp = float(record.pop("logp"))
    return Belief(fact_key=(subject, relation), logp=logp, **_tuples(record))


def request_record(request: EditRequest) -> dict[str, Any]:
    return _flat(request)


def request_of(text: str) -> EditRequest:
    return EditRequest(**_tuples(json.loads(text)))


def report_record(report: Report) -> dict[str, Any]:
    """The report as plain JSON values, without `asked`; a NaN or infinite metric becomes its name, as JSON has none."""
    record = _without(_flat(report), "asked")
    record["failures"] = [_flat(failure) for failure in report.failures]
    for side in ("before", "after", "norms"):
        record[side] = {name: _number(value) for name, value in record[side].items()}
    record["intervals"] = {name: [_number(end) for end in ends] for name, ends in report.intervals.items()}
    return record


def report_of(text: str) -> Report:
    record = json.loads(text)
    failures = tuple(
        Failure(fact_key=(entry["fact_key"][0], entry["fact_key"][1]), **_without(entry, "fact_key"))
        for entry in record["failures"]
    )
    return Report(
        before={name: float(value) for name, value in record["before"].items()},
        after={name: float(value) for name, value in record["after"].items()},
        counts=record["counts"],
        passed=record["passed"],
        reasons=tuple(record["reasons"]),
        failures=failures,
        examples=tuple((first, second, third) for first, second, third in record["examples"]),
        # Reports of the first version lack these.
        intervals={name: (float(a), float(b)) for name, (a, b) in record.get("intervals", {}).items()},
        norms={name: float(value) for name, value in record.get("norms", {}).items()},
    )


def asked_record(asked: Asked) -> dict[str, Any]:
    return _flat(asked)


def asked_of(text: str) -> tuple[Asked, ...]:
    """The inverse of a JSON list of `asked_record`s."""
    found = []
    for record in json.loads(text):
        subject, relation = record.pop("fact_key")
        found.append(Asked(fact_key=(subject, relation), **_tuples(record)))
    return tuple(found)


def _number(value: float) -> float | str:
    finite = value == value and value not in (float("inf"), float("-inf"))
    return float(value) if finite else str(float(value))


def _flat(value: Any) -> dict[str, Any]:
    """The fields of a dataclass, one level deep, tuples as lists."""
    return {entry.name: _listed(getattr(value, entry.name)) for entry in fields(value)}


def _listed(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_listed(item) for item in value]
    return value


def _tuples(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
        for name, value in record.items()
    }


def _without(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != name}
