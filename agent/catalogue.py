"""The catalogue of entities: who and what has a name, other names, and (optionally) facts known about it.

One YAML list, one entity a line. The embedded world ships in this form; a user's own file is read by the same function:

    - {name: United Kingdom, kind: country, article: the, aliases: [UK, Britain], demonyms: [British],
       wikidata: Q145, facts: {capital: London}}
    - {name: Ford, kind: company, tickers: [NYSE:F], facts: {headquarters: Dearborn}}

A ticker is no alias: "F" alone is never Ford, "(NYSE: F)" is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent.errors import ConfigError
from agent.strict import as_mapping, as_strings, brief, check_keys, read_yaml
from agent.types import Entity

LABELS: Mapping[str, str] = {
    "country": "GPE", "city": "GPE", "region": "GPE", "company": "ORG", "club": "ORG", "body": "ORG",
    "central_bank": "ORG", "person": "PERSON",
}  # fmt: skip
_KEYS = ("name", "kind", "article", "aliases", "demonyms", "tickers", "wikidata", "facts")
TICKER = re.compile(r"[A-Z][A-Z-]{1,11}:[A-Z0-9]{1,10}(?:[.-][A-Z0-9]{1,3})?")
ITEM = re.compile(r"Q[1-9][0-9]{0,11}")


@dataclass(frozen=True, slots=True)
class KnownFact:
    """A fact of the catalogue; what the model is expected to know before any news."""

    subject: str
    relation: str
    objects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Entities by canonical name, names by surface form, and the known facts by (subject, relation).

    `tickers` and `items` map NYSE:F and Q17 to a canonical name.
    """

    entities: Mapping[str, Entity]
    names: Mapping[str, str]
    demonyms: Mapping[str, str]
    facts: Mapping[tuple[str, str], KnownFact]
    tickers: Mapping[str, str] = field(default_factory=dict)
    items: Mapping[str, str] = field(default_factory=dict)

    def entity(self, name: str, label: str = "") -> Entity:
        """The entity of that canonical name, or a plain one made up for a name nobody has catalogued."""
        return self.entities.get(name) or Entity(name, "", label)

    def facts_of(self, subject: str) -> tuple[KnownFact, ...]:
        return tuple(f for f in self.facts.values() if f.subject == subject)


def load_catalogue(paths: Iterable[Path]) -> Catalogue:
    """Read catalogue files; a folder stands for its `*.yaml` files. A later file may add entities, not redefine names.

    Raises ConfigError for an unknown key or kind, or a name or a Wikidata item that two entities claim.
    """
    entities: dict[str, Entity] = {}
    facts: dict[tuple[str, str], KnownFact] = {}
    items: dict[str, str] = {}
    for path in _files(paths):
        rows = read_yaml(path) or []
        if not isinstance(rows, list):
            raise ConfigError(f"{path}: expected a list of entities, one a line")
        for number, row in enumerate(rows, 1):
            where = f"{path}: entry {number}"
            entity, known = _parse(as_mapping(row, where), where)
            if entity.name in entities:
                raise ConfigError(f"{where}: {entity.name!r} is in the catalogue already")
            if entity.wikidata and items.setdefault(entity.wikidata, entity.name) != entity.name:
                raise ConfigError(
                    f"{where}: {entity.name!r} and {items[entity.wikidata]!r} are both {entity.wikidata}"
                )
            entities[entity.name] = entity
            facts.update({(f.subject, f.relation): f for f in known})
    names = _index(entities.values(), lambda e: (e.name, *e.aliases))
    demonyms = _index(entities.values(), lambda e: e.demonyms)
    tickers = _index(entities.values(), lambda e: e.tickers)
    return Catalogue(entities, names, demonyms, facts, tickers, items)


def _files(paths: Iterable[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        files += sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    return files


def _parse(row: dict[str, object], where: str) -> tuple[Entity, list[KnownFact]]:
    check_keys(row, _KEYS, where)
    name, kind = row.get("name"), row.get("kind")
    if not isinstance(name, str) or not name.strip():
        raise ConfigError(f"{where}: needs a name")
    if kind not in LABELS:
        raise ConfigError(f"{where} ({name}): kind must be one of {', '.join(LABELS)}; got {brief(kind)}")
    entity = Entity(
        name=name,
        kind=str(kind),
        label=LABELS[str(kind)],
        article=str(row.get("article") or ""),
        aliases=as_strings(row.get("aliases"), f"{where}: aliases"),
        demonyms=as_strings(row.get("demonyms"), f"{where}: demonyms"),
        tickers=as_strings(row.get("tickers"), f"{where}: tickers"),
        wikidata=str(row.get("wikidata") or ""),
    )
    for ticker in entity.tickers:
        if not TICKER.fullmatch(ticker):
            raise ConfigError(
                f"{where} ({name}): {ticker!r} is no ticker; write EXCHANGE:SYMBOL, as in NYSE:F"
            )
    if entity.wikidata and not ITEM.fullmatch(entity.wikidata):
        raise ConfigError(
            f"{where} ({name}): wikidata must be an item such as Q17, got {brief(entity.wikidata)}"
        )
    entries = as_mapping(row.get("facts"), f"{where}: facts")
    known = [KnownFact(name, r, as_strings(o, f"{where}: facts.{r}")) for r, o in entries.items()]
    return entity, known


def _index(entities: Iterable[Entity], forms: Callable[[Entity], tuple[str, ...]]) -> dict[str, str]:
    index: dict[str, str] = {}
    for entity in entities:
        for form in forms(entity):
            # A form that two entities claim is nobody's: linking must skip a homonym, never guess.
            index[form] = "" if index.get(form, entity.name) != entity.name else entity.name
    return {form: name for form, name in index.items() if name}
