"""What Wikidata's JSON says of an item, and which of its statements may be believed. Pure.

The form is Wikibase's (doc.wikimedia.org/Wikibase: docs_topics_json), the same in the API, in Special:EntityData and
in dumps. Whatever is not of that form reads as absent: anybody can write there, and a mirror can serve anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlsplit

Kind = Literal["value", "somevalue", "novalue"]
ITEM = re.compile(r"Q[1-9][0-9]{0,11}")
PROPERTY = re.compile(r"P[1-9][0-9]{0,8}")
# English, else the default for all languages: a name that is the same everywhere is kept there alone since 2024.
LANGUAGES = ("en", "mul")
START, END = "P580", "P582"
# Qualifiers that take something back: sourcing circumstances, nature of statement, disputed by, applies to part.
DOUBTS = {
    "P1480": "its sourcing circumstances (P1480) are special",
    "P5102": "it holds in a special sense (P5102)",
    "P1310": "somebody disputes it (P1310)",
    "P518": "it holds for a part only (P518)",
}
# What a reference may hold that is no evidence: where a wiki had it from, when somebody looked, and how it was inferred.
_NO_EVIDENCE = frozenset(("P143", "P4656", "P813", "P887", "P3452"))
_STATED_IN, _URL = "P248", "P854"
_WIKIS = frozenset(("Q52", "Q2013", "Q328"))  # Wikipedia, Wikidata, English Wikipedia
_WIKI_HOSTS = (
    "wikipedia.org",
    "wikidata.org",
    "wikimedia.org",
    "wikinews.org",
    "wikivoyage.org",
    "dbpedia.org",
)
_TIME = re.compile(r"\+?(\d{4})-(\d{2})-(\d{2})T\d{2}:\d{2}:\d{2}Z")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. `value` is an item's number (Q17) or a string, "" where `kind` is not `value`.

    `qualifiers` has the kinds and values of each property; `references` one tuple of (property, value) for each.
    """

    id: str
    property_id: str
    rank: str
    kind: Kind
    value: str
    qualifiers: Mapping[str, tuple[tuple[Kind, str], ...]]
    references: tuple[tuple[tuple[str, str], ...], ...]

    @property
    def start_at(self) -> datetime | None:
        """When it began to hold, as far as it says so."""
        times = (read_time(value) for kind, value in self.qualifiers.get(START, ()) if kind == "value")
        return next(filter(None, times), None)


@dataclass(frozen=True, slots=True)
class Refused:
    """A statement that may not be believed, and why."""

    statement: Statement
    reason: str


def is_source(url: str) -> bool:
    """Whether a source's url means Wikidata, and neither a page nor a path."""
    return url.lower().startswith("wikidata:")


def label(entity: Mapping[str, Any]) -> str:
    """The English name, "" without one."""
    labels = mapping(entity.get("labels"))
    return next((text(mapping(labels.get(code)).get("value")) for code in LANGUAGES if code in labels), "")


def aliases(entity: Mapping[str, Any]) -> tuple[str, ...]:
    """The other English names."""
    by_language = mapping(entity.get("aliases"))
    found = (text(mapping(a).get("value")) for code in LANGUAGES for a in listed(by_language.get(code)))
    return tuple(dict.fromkeys(filter(None, found)))


def statements(entity: Mapping[str, Any], property_id: str) -> tuple[Statement, ...]:
    """The statements of one property, in their order."""
    found = mapping(entity.get("claims")).get(property_id)
    return tuple(
        _statement(mapping(claim), property_id) for claim in listed(found) if isinstance(claim, Mapping)
    )


def _statement(claim: Mapping[str, Any], property_id: str) -> Statement:
    kind, value = _snak(mapping(claim.get("mainsnak")))
    qualifiers = {
        key: tuple(_snak(mapping(snak)) for snak in listed(snaks))
        for key, snaks in mapping(claim.get("qualifiers")).items()
    }
    references = tuple(
        tuple(
            (key, _snak(mapping(snak))[1])
            for key, snaks in mapping(mapping(reference).get("snaks")).items()
            for snak in listed(snaks)
        )
        for reference in listed(claim.get("references"))
    )
    return Statement(
        text(claim.get("id")), property_id, text(claim.get("rank")), kind, value, qualifiers, references
    )


def _snak(snak: Mapping[str, Any]) -> tuple[Kind, str]:
    kind: Kind = "novalue" if snak.get("snaktype") == "novalue" else "somevalue"
    if snak.get("snaktype") != "value":
        return kind, ""
    value = mapping(snak.get("datavalue")).get("value")
    if isinstance(value, Mapping):
        number = value.get("numeric-id")
        of_number = f"Q{number}" if isinstance(number, int) and value.get("entity-type") == "item" else ""
        value = value.get("id") or of_number or value.get("time") or value.get("text")
    return ("value", text(value)) if text(value) else ("somevalue", "")


def judge(
    found: Sequence[Statement], now: datetime, *, single: bool = True, sourced: bool = True
) -> tuple[list[Statement], list[Refused]]:
    """The statements of one item and property that hold now and have a source, and the others with reasons.

    Of the best rank, not ended, a known value, and a reference that is no wiki, unless `sourced` is off. Where `single`
    and several different values are left, none is believed.
    """
    preferred = any(s.rank == "preferred" for s in found)
    kept: list[Statement] = []
    refused: list[Refused] = []
    for statement in found:
        reason = _refusal(statement, now, "preferred" if preferred else "normal")
        if not reason and sourced and not any(map(is_evidence, statement.references)):
            reason = "it has no reference but wikis"
        if reason:
            refused.append(Refused(statement, reason))
        else:
            kept.append(statement)
    if single and len({s.value for s in kept}) > 1:
        return [], [*refused, *(Refused(s, f"{len(kept)} values hold at once") for s in kept)]
    return kept, refused


def _refusal(statement: Statement, now: datetime, best: str) -> str:
    if statement.rank == "deprecated":
        return "its rank is deprecated"
    if statement.rank != best:
        return "another statement is preferred"
    if statement.kind != "value":
        return "its value is unknown" if statement.kind == "somevalue" else "it says that there is none"
    # "novalue" as an end says that it has none.
    if any(kind != "novalue" for kind, _ in statement.qualifiers.get(END, ())):
        return "it has an end time (P582)"
    if statement.start_at is not None and statement.start_at > now:
        return f"it begins on {statement.start_at:%Y-%m-%d} only"
    return next((why for key, why in DOUBTS.items() if key in statement.qualifiers), "")


def is_evidence(reference: Iterable[tuple[str, str]]) -> bool:
    """Whether a reference names a source outside the wikis."""
    named = [(key, value) for key, value in reference if key not in _NO_EVIDENCE]
    return any(
        not (key == _STATED_IN and value in _WIKIS) and not (key == _URL and _is_wiki(value)) and value
        for key, value in named
    )


def _is_wiki(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return True
    return any(host == wiki or host.endswith(f".{wiki}") for wiki in _WIKI_HOSTS)


def read_time(value: str) -> datetime | None:
    """`+2021-10-04T00:00:00Z`; a year or month without a day (00) counts from its beginning. None for others."""
    match = _TIME.fullmatch(value)
    if match is None:
        return None
    try:
        return datetime(int(match[1]), int(match[2]) or 1, int(match[3]) or 1, tzinfo=UTC)
    except ValueError:
        return None


def mapping(value: Any) -> Mapping[str, Any]:
    """`value` if it is a mapping, else an empty one: PHP writes an empty mapping as []."""
    return value if isinstance(value, Mapping) else {}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""
