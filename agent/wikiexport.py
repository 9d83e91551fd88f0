"""Files that Wikidata gives out -> one record for each item, in bounded memory.

    SPARQL results       application/sparql-results+json, the query page's own JSON, and CSV
    entities             Special:EntityData, wbgetentities, and lines of a dump ([, one entity a line with a comma)

Any of them may be .gz or .bz2. A dump is read line by line, and only lines that name a wanted class are decoded; the
names of an item's values stand in other lines, so `names_in` goes through the file once more.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

from agent.errors import InputError
from agent.wikibase import ITEM, aliases, judge, label, listed, mapping, statements, text

Tell = Callable[[int, int], None]
CLASS, DEMONYM, EXCHANGE, TICKER, DISSOLVED = "P31", "P1549", "P414", "P249", "P576"
MAX_LINE = 64 * 1024 * 1024
MAX_DOCUMENT = 512 * 1024 * 1024  # of a file that is one JSON document
_TOLD_EVERY = 1000  # lines
_OWN_ID = re.compile(rb'"id"\s*:\s*"(Q[1-9][0-9]{0,11})"')
_URI = re.compile(r"https?://[^/]+/(?:entity|wiki)/(Q[1-9][0-9]{0,11})")


def silent(_done: int, _total: int) -> None:
    """Nothing is told."""


@dataclass(slots=True)
class Record:
    """What a file says of one item. `classes` are P31, `values` maps a property or column to items (Q17) or names,
    `listings` are (exchange, symbol). `names` are names of values that the file gives beside them.
    """

    item: str
    name: str = ""
    classes: dict[str, None] = field(default_factory=dict)
    aliases: dict[str, None] = field(default_factory=dict)
    demonyms: dict[str, None] = field(default_factory=dict)
    listings: dict[tuple[str, str], None] = field(default_factory=dict)
    values: dict[str, dict[str, None]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    dissolved: bool = False


def read_export(
    path: Path, classes: Collection[str], properties: Collection[str], now: datetime, tell: Tell = silent
) -> Iterator[Record]:
    """The items of a file: of a dump those of one of `classes`, of another file all. `properties` (P169) are what is
    wanted of them; `now` decides what has begun. `tell` is given bytes read and bytes in all.

    Raises InputError for a file that cannot be read, is of another form, or is damaged.
    """
    with opened(path) as file:
        head = file.stream.read(1 << 16)
        file.stream.seek(0)
        if _is_lines(head):
            yield from _of_lines(file, classes, properties, now, tell)
            return
        body = file.stream.read(MAX_DOCUMENT + 1)
    if len(body) > MAX_DOCUMENT:
        raise InputError(
            f"{path}: one JSON document of more than {MAX_DOCUMENT >> 20} MB; a dump has one entity a line"
        )
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b"["):
        yield from _of_rows(
            _csv_rows(path, body), f"{path}: this is neither JSON nor CSV with a column 'item'"
        )
        return
    yield from _of_document(path, body, properties, now)


def names_in(path: Path, items: Collection[str], tell: Tell = silent) -> dict[str, str]:
    """The English names that a dump gives these items; empty for files of another form. Raises InputError."""
    found: dict[str, str] = {}
    with opened(path) as file:
        if not items or not _is_lines(file.stream.read(1 << 16)):
            return found
        file.stream.seek(0)
        for line in _lines(file, tell):
            own = _OWN_ID.search(line, 0, 200)
            if own is not None and own[1].decode() not in items:
                continue
            entity = _decoded(line)
            if entity.get("id") in items:
                found[text(entity["id"])] = label(entity)
    return found


@dataclass(frozen=True, slots=True)
class Opened:
    """A file's unpacked bytes, and the file itself, whose position tells how far we are."""

    path: Path
    stream: IO[bytes]
    plain: IO[bytes]
    size: int


@contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """Raises InputError where it cannot be read, and later where it is cut off or damaged."""
    try:
        with path.open("rb") as plain:
            magic = plain.read(3)
            size = plain.seek(0, 2)
            plain.seek(0)
            stream: IO[bytes] = plain
            if magic[:2] == b"\x1f\x8b":
                stream = cast(IO[bytes], gzip.GzipFile(fileobj=plain))
            elif magic == b"BZh":
                stream = cast(IO[bytes], bz2.BZ2File(plain))
            yield Opened(path, stream, plain, size)
    except EOFError as error:
        raise InputError(f"{path}: it is cut off; fetch it again") from error
    except zlib.error as error:
        raise InputError(f"{path}: it is damaged ({error}); fetch it again") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check the file") from error


def _is_lines(head: bytes) -> bool:
    """A dump: `[` alone in its line, or one whole entity in each of several lines."""
    first, _, rest = head.lstrip(b"\xef\xbb\xbf \t\r\n").partition(b"\n")
    first = first.strip()
    if first == b"[":
        return rest.lstrip().startswith(b"{") and b'"type"' in rest[:200]
    return first.startswith(b'{"type":') or (
        first.startswith(b"{") and first.rstrip(b",").endswith(b"}") and rest.lstrip().startswith(b"{")
    )


def _lines(file: Opened, tell: Tell) -> Iterator[bytes]:
    number = 0
    while line := file.stream.readline(MAX_LINE):
        number += 1
        if number % _TOLD_EVERY == 0:
            tell(file.plain.tell(), file.size)
        if len(line) == MAX_LINE and not line.endswith(b"\n"):
            raise InputError(f"{file.path}: a line of more than {MAX_LINE >> 20} MB; this is no dump")
        stripped = line.strip().rstrip(b",")
        if stripped not in (b"", b"[", b"]"):
            yield stripped


def _of_lines(
    file: Opened, classes: Collection[str], properties: Collection[str], now: datetime, tell: Tell
) -> Iterator[Record]:
    wanted = re.compile(rb'"id"\s*:\s*"(?:' + b"|".join(c.encode() for c in sorted(classes)) + rb')"')
    for line in _lines(file, tell):
        if wanted.search(line) is None:
            continue
        record = _of_entity(_decoded(line), properties, now)
        if record is not None and any(c in classes for c in record.classes):
            yield record


def _decoded(line: bytes) -> Mapping[str, Any]:
    """A line's entity; an empty one for a line that is none: a dump of a hundred million has some."""
    try:
        return mapping(json.loads(line))
    except (ValueError, RecursionError):
        return {}


def _of_document(path: Path, body: bytes, properties: Collection[str], now: datetime) -> Iterator[Record]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: this is no JSON: {str(error)[:200]}") from error
    other = f"{path}: this JSON is neither entities nor the result of a query; give what Wikidata downloads"
    entities = mapping(document).get("entities", document if "claims" in mapping(document) else None)
    if isinstance(document, list) or "results" in document:
        rows = document if isinstance(document, list) else mapping(document["results"]).get("bindings")
        yield from _of_rows((_flat(row) for row in listed(rows)), other)
        return
    if entities is document:
        entities = {"": document}
    elif isinstance(entities, list):
        entities = {str(n): entity for n, entity in enumerate(entities)}
    if not isinstance(entities, Mapping):
        raise InputError(other)
    for entity in entities.values():
        record = _of_entity(mapping(entity), properties, now)
        if record is not None:
            yield record


def _of_entity(entity: Mapping[str, Any], properties: Collection[str], now: datetime) -> Record | None:
    item = text(entity.get("id"))
    if not ITEM.fullmatch(item) or "missing" in entity:
        return None
    record = Record(item, label(entity), aliases=dict.fromkeys(aliases(entity)))
    for property_id in (CLASS, DEMONYM, *properties):
        kept, _ = judge(statements(entity, property_id), now, single=False, sourced=False)
        if kept:
            record.values[property_id] = dict.fromkeys(s.value for s in kept)
    record.classes = record.values.pop(CLASS, {})
    record.demonyms = _english(entity, record.values.pop(DEMONYM, {}))
    for listing in judge(statements(entity, EXCHANGE), now, single=False, sourced=False)[0]:
        for _, symbol in listing.qualifiers.get(TICKER, ()):
            record.listings[listing.value, symbol] = None
    record.dissolved = any(s.kind == "value" for s in statements(entity, DISSOLVED) if s.rank != "deprecated")
    return record


def _english(entity: Mapping[str, Any], demonyms: Iterable[str]) -> dict[str, None]:
    """Of the demonyms, which are texts in all languages, the English ones."""
    values = (
        mapping(mapping(mapping(mapping(c).get("mainsnak")).get("datavalue")).get("value"))
        for c in listed(mapping(entity.get("claims")).get(DEMONYM))
    )
    english = {text(v.get("text")) for v in values if v.get("language") == "en"}
    return {d: None for d in demonyms if d in english}


def _flat(row: Any) -> dict[str, str]:
    """One row of either JSON form, as plain strings."""
    return {
        name: text(mapping(cell).get("value")) if isinstance(cell, Mapping) else text(cell)
        for name, cell in mapping(row).items()
    }


def _csv_rows(path: Path, body: bytes) -> Iterator[dict[str, str]]:
    try:
        reader = csv.DictReader(io.StringIO(body.decode("utf-8-sig")))
        for row in reader:
            yield {name: value for name, value in row.items() if name and isinstance(value, str)}
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: this is neither JSON nor CSV ({error})") from error


def _of_rows(rows: Iterable[Mapping[str, str]], other: str) -> Iterator[Record]:
    """Rows of a query; those of one item become one record. Columns: see docs/wikidata.md."""
    records: dict[str, Record] = {}
    for row in rows:
        item = _item(row.get("item", ""))
        name = row.get("itemLabel") or row.get("name") or row.get("label") or ""
        if not item and not name:
            continue
        record = records.setdefault(item or name, Record(item, name))
        _add_row(record, row)
    if not records:
        raise InputError(f"{other}; a query must give ?item and ?itemLabel")
    yield from records.values()


def _add_row(record: Record, row: Mapping[str, str]) -> None:
    for column, value in row.items():
        if not value or column in ("item", "itemLabel", "name", "label", "itemDescription"):
            continue
        if column in ("kind", "class"):
            record.classes[_item(value) or value] = None
        elif column in ("alias", "aliases", "itemAltLabel"):
            record.aliases |= dict.fromkeys(filter(None, (a.strip() for a in value.split(","))))
        elif column in ("demonym", "demonyms"):
            record.demonyms[value] = None
        elif column == "ticker":
            record.listings[row.get("exchangeLabel") or _item(row.get("exchange", "")), value] = None
        elif not column.startswith("exchange") and not column.endswith("Label"):
            found = _item(value) or value
            record.values.setdefault(column, {})[found] = None
            if row.get(f"{column}Label"):
                record.names[found] = row[f"{column}Label"]
        elif column.endswith("Label") and column.removesuffix("Label") not in row:
            record.values.setdefault(column.removesuffix("Label"), {})[value] = None


def _item(value: str) -> str:
    match = _URI.fullmatch(value)
    return match[1] if match else value if ITEM.fullmatch(value) else ""
