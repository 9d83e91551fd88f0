"""Wikidata through its query service: the statements of some dozens of items in one SPARQL query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from agent.errors import SourceError
from agent.sources.http import shown
from agent.sources.wikidata_api import Place, Server
from agent.sources.wikidata_read import Followed, Found
from agent.wikibase import DOUBTS, END, ITEM, PROPERTY, START, Kind, Statement, listed, mapping, text

ACCEPT = "application/sparql-results+json"
_PAGE = 40  # items of one query; the service allows 60 s each
_PREFIXES = {
    "wd": "http://www.wikidata.org/entity/",
    "p": "http://www.wikidata.org/prop/",
    "ps": "http://www.wikidata.org/prop/statement/",
    "pq": "http://www.wikidata.org/prop/qualifier/",
    "prov": "http://www.w3.org/ns/prov#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "schema": "http://schema.org/",
    "wikibase": "http://wikiba.se/ontology#",
}
_QUERY = """SELECT ?item ?modified ?property ?statement ?rank ?value ?en ?mul ?start ?end ?doubt ?reference ?source ?told WHERE {
  VALUES ?item { %(items)s }
  VALUES (?property ?p ?ps) { %(properties)s }
  ?item ?p ?statement .
  ?statement ?ps ?value ; wikibase:rank ?rank ; a wikibase:BestRank .
  OPTIONAL { ?item schema:dateModified ?modified }
  OPTIONAL { ?value rdfs:label ?en . FILTER(LANG(?en) = "en") }
  OPTIONAL { ?value rdfs:label ?mul . FILTER(LANG(?mul) = "mul") }
  OPTIONAL { ?statement pq:P580 ?start }
  OPTIONAL { ?statement pq:P582 ?end }
  OPTIONAL { VALUES (?doubt ?pq) { %(doubts)s } ?statement ?pq ?doubted }
  OPTIONAL { ?statement prov:wasDerivedFrom ?reference . ?reference ?source ?told .
             FILTER(STRSTARTS(STR(?source), "http://www.wikidata.org/prop/reference/P")) }
}"""
Row = Mapping[str, str]


def query(items: Iterable[str], properties: Iterable[str]) -> str:
    """The SPARQL for the statements of best rank of these items and properties."""
    head = "".join(f"PREFIX {name}: <{url}>\n" for name, url in _PREFIXES.items())
    return head + _QUERY % {
        "items": " ".join(f"wd:{item}" for item in items),
        "properties": " ".join(f"(wd:{p} p:{p} ps:{p})" for p in properties),
        "doubts": " ".join(f"(wd:{p} pq:{p})" for p in DOUBTS),
    }


def steps(
    server: Server, place: Place, items: Sequence[str], followed: Followed
) -> Iterator[tuple[Place, list[Found]]]:
    """(place, findings) page by page: what to remember once the findings are kept."""
    for start in range(place.at, max(1, len(items)), _PAGE):
        batch = items[start : start + _PAGE]
        properties = dict.fromkeys(w.property_id for item in batch for w in followed.items[item])
        document = server.document({"query": query(batch, properties), "format": "json"})
        if "results" not in document:
            raise SourceError(f"{shown(server.endpoint)} answers JSON that is no SPARQL result")
        rows = [_row(b) for b in listed(mapping(document["results"]).get("bindings"))]
        end = start + _PAGE
        yield replace(place, at=end if end < len(items) else 0), _found(rows, batch, followed)


def _row(binding: Any) -> Row:
    """A row as plain strings: the last part of a URI of Wikidata's own, other values as they are."""
    row: dict[str, str] = {}
    for name, cell in mapping(binding).items():
        value = text(mapping(cell).get("value"))
        if mapping(cell).get("type") == "uri" and name != "told":
            value = value.rpartition("/")[2].rpartition("#")[2]
        row[name] = value
    return row


def _found(rows: Sequence[Row], batch: Sequence[str], followed: Followed) -> list[Found]:
    grouped: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for row in rows:
        if ITEM.fullmatch(row.get("item", "")) and PROPERTY.fullmatch(row.get("property", "")):
            key = (row["item"], row["property"])
            grouped.setdefault(key, {}).setdefault(row.get("statement", ""), []).append(row)
    names = {row.get("value", ""): row.get("en") or row.get("mul") or "" for row in rows}
    return [
        Found(
            item,
            wanted,
            tuple(
                _statement(same, wanted.property_id) for same in grouped[item, wanted.property_id].values()
            ),
            names,
            _modified(next(iter(grouped[item, wanted.property_id].values()))[0]),
        )
        for item in batch
        for wanted in followed.items[item]
        if (item, wanted.property_id) in grouped
    ]


def _statement(rows: Sequence[Row], property_id: str) -> Statement:
    """One statement from its rows, of which there is one for each thing that a reference says."""
    first = rows[0]
    value = first.get("value", "")
    kind: Kind = "value" if ITEM.fullmatch(value) else "somevalue"
    qualifiers: dict[str, tuple[tuple[Kind, str], ...]] = {}
    for property_name, variable in ((START, "start"), (END, "end")):
        if first.get(variable):
            qualifiers[property_name] = (("value", first[variable]),)
    qualifiers |= {row["doubt"]: (("value", ""),) for row in rows if row.get("doubt")}
    references: dict[str, dict[tuple[str, str], None]] = {}
    for row in rows:
        if row.get("source"):
            told = row.get("told", "")
            told = told.rpartition("/")[2] if told.startswith(_PREFIXES["wd"]) else told
            references.setdefault(row.get("reference", ""), {})[row["source"], told] = None
    item, _, rest = first.get("statement", "").partition("-")
    return Statement(
        id=f"{item.upper()}${rest}",
        property_id=property_id,
        rank="preferred" if first.get("rank") == "PreferredRank" else "normal",
        kind=kind,
        value=value if kind == "value" else "",
        qualifiers=qualifiers,
        references=tuple(tuple(reference) for reference in references.values()),
    )


def _modified(row: Row) -> datetime | None:
    try:
        at = datetime.fromisoformat(row.get("modified", ""))
    except ValueError:
        return None
    return at if at.tzinfo is not None else None
