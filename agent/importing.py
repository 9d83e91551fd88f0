"""A Wikidata export -> entries of a catalogue: of which kind each is, which names it may bear, and what stays out.

A name that two entities bear is nobody's (`agent.catalogue`), so an entry that would take a name away from another, of
the catalogue or of the same file, is left out. So is an alias; the entry stays.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agent.catalogue import LABELS, TICKER, Catalogue
from agent.eligible import fold
from agent.errors import InputError
from agent.relations import Relation
from agent.wikibase import ITEM
from agent.wikiexport import Record, Tell, names_in, read_export, silent

# P31 -> our kind. An item of several is of the first kind in this order.
CLASSES: Mapping[str, tuple[str, ...]] = {
    "country": ("Q6256", "Q3624078"),
    "central_bank": ("Q66344",),
    "club": ("Q476028", "Q103229495", "Q847017", "Q12973014", "Q13393265"),
    "company": (
        "Q4830453", "Q783794", "Q6881511", "Q891723", "Q167037", "Q161726", "Q22687", "Q46970", "Q786820",
        "Q18388277", "Q1058914", "Q507619",
    ),
    "body": ("Q484652", "Q245065", "Q327333"),
    "region": ("Q35657", "Q1221156", "Q10864048"),
    "city": ("Q515", "Q1549591", "Q1637706", "Q5119"),
    "person": ("Q5",),
}  # fmt: skip
USUAL = tuple(kind for kind in CLASSES if kind != "person")
EXCHANGES: Mapping[str, str] = {
    "Q13677": "NYSE", "Q82059": "NASDAQ", "Q171240": "LSE", "Q217475": "TYO",
    "new york stock exchange": "NYSE", "nasdaq": "NASDAQ", "london stock exchange": "LSE",
    "tokyo stock exchange": "TYO", "hong kong stock exchange": "HKG", "frankfurt stock exchange": "ETR",
    "xetra": "ETR", "euronext paris": "EPA", "euronext amsterdam": "AMS", "bolsa de madrid": "BME",
    "borsa italiana": "BIT", "six swiss exchange": "SWX", "toronto stock exchange": "TSX",
    "australian securities exchange": "ASX", "national stock exchange of india": "NSE", "korea exchange": "KRX",
}  # fmt: skip
MOST_ENTRIES = 200_000
_MOST_ALIASES = 8
_NAME = re.compile(r"[^\W_](?:[^\W_]|[ .,'’&/!+-]){0,78}[^\W_.]?\.?")
_LATIN = re.compile(r"[\u0000-\u024f\u1e00-\u1eff\u2018\u2019\u2010-\u2013]+")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What of the file is not in the catalogue. `what` is "entry", "alias", "demonym", "ticker" or "fact"; `code` is for counting."""

    what: str
    name: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Imported:
    """Rows of a catalogue file, by kind and then name."""

    rows: tuple[Mapping[str, object], ...]
    left_out: tuple[LeftOut, ...]

    def counts(self) -> Counter[str]:
        return Counter(str(row["kind"]) for row in self.rows)


@dataclass(frozen=True, slots=True)
class _Entry:
    record: Record
    kind: str


def import_export(
    path: Path,
    catalogue: Catalogue,
    relations: Mapping[str, Relation],
    now: datetime,
    *,
    kinds: Collection[str] = USUAL,
    fallback: str = "",
    is_word: Callable[[str], bool] = lambda _: False,
    tell: Tell = silent,
) -> Imported:
    """Entries of these `kinds`. `fallback` is the kind of items of no known class, "" to leave them out; `is_word`
    says of an alias that it is an everyday word, which nobody may be called.

    Memory grows with what is kept, not with the file. Raises InputError for a file that cannot be read, or that would
    give more than 200,000 entries.
    """
    taken = _forms(catalogue)
    left_out: list[LeftOut] = []
    entries: list[_Entry] = []
    names: dict[str, str] = {}
    properties = {r.wikidata for r in relations.values() if r.wikidata}
    classes = {c for kind in kinds for c in CLASSES[kind]}
    for record in read_export(path, classes, properties, now, tell):
        names[record.item] = record.name
        kind = _kind(record, fallback)
        why = _unfit(record, kind, kinds, catalogue, taken)
        if why is not None:
            left_out.append(LeftOut("entry", record.name or record.item, *why))
        elif len(entries) == MOST_ENTRIES:
            raise InputError(f"{path}: more than {MOST_ENTRIES} entries; take fewer kinds, with --kind")
        else:
            entries.append(_Entry(record, kind))
    kept = _without_homonyms(entries, left_out)
    names |= names_in(path, _unnamed(kept, names), tell)
    writer = _Writer(relations, names, taken | _shared(kept), is_word, left_out)
    order = list(LABELS)
    rows = sorted(map(writer.row, kept), key=lambda row: (order.index(str(row["kind"])), str(row["name"])))
    return Imported(tuple(rows), tuple(left_out))


def _kind(record: Record, fallback: str) -> str:
    """By its classes, or by the word that a query gave in their place."""
    for kind, classes in CLASSES.items():
        if kind in record.classes or any(c in record.classes for c in classes):
            return kind
    return fallback


def _unfit(
    record: Record, kind: str, kinds: Collection[str], catalogue: Catalogue, taken: Mapping[str, str]
) -> tuple[str, str] | None:
    """Why an item gets no entry: (code, reason)."""
    name = record.name
    if not name or ITEM.fullmatch(name):
        return "unnamed", "it has no English name"
    if not kind:
        given = ", ".join(record.classes) or "none given"
        return "kind", f"its class ({given}) is of no kind that factd knows; --as KIND gives it one"
    if kind not in kinds:
        return "kind", f"it is a {kind}, which was not asked for"
    if record.dissolved:
        return "dissolved", "it does not exist any more (P576)"
    if not _NAME.fullmatch(name) or not _LATIN.fullmatch(name):
        return "name", "its name is no plain name"
    if record.item in catalogue.items:
        return "known", f"it is in the catalogue already, as {catalogue.items[record.item]}"
    bearer = taken.get(fold(name))
    if bearer is None:
        return None
    if bearer and catalogue.entities[bearer].kind == kind:
        return "known", f"it is in the catalogue already, as {bearer}"
    return "homonym", f"the catalogue calls {bearer or 'several'} so; whom it means could not be told"


def _forms(catalogue: Catalogue) -> dict[str, str]:
    """Folded name, alias or demonym -> whose it is, "" for those of several."""
    forms: dict[str, str] = {}
    for entity in catalogue.entities.values():
        for form in {fold(n) for n in (entity.name, *entity.aliases, *entity.demonyms)}:
            forms[form] = "" if forms.get(form, entity.name) != entity.name else entity.name
    return forms


def _without_homonyms(entries: Sequence[_Entry], left_out: list[LeftOut]) -> list[_Entry]:
    bearers = Counter(fold(e.record.name) for e in entries)
    kept = [e for e in entries if bearers[fold(e.record.name)] == 1]
    for entry in entries:
        if (count := bearers[fold(entry.record.name)]) > 1:
            why = f"{count} entries of this file are called so"
            left_out.append(LeftOut("entry", entry.record.name, "homonym", why))
    return kept


def _shared(kept: Iterable[_Entry]) -> dict[str, str]:
    """Names of the kept entries, and aliases that several of them have: no alias may be one of these."""
    names = {fold(e.record.name): e.record.name for e in kept}
    counts = Counter(a for e in kept for a in {fold(a) for a in (*e.record.aliases, *e.record.demonyms)})
    return {alias: "" for alias, count in counts.items() if count > 1} | names


def _unnamed(kept: Iterable[_Entry], names: Mapping[str, str]) -> set[str]:
    """The items among the values and exchanges whose names are not known yet."""
    wanted = {v for e in kept for found in e.record.values.values() for v in found if v not in e.record.names}
    wanted |= {exchange for e in kept for exchange, _ in e.record.listings if exchange not in EXCHANGES}
    return {v for v in wanted if ITEM.fullmatch(v) and v not in names}


@dataclass(frozen=True, slots=True)
class _Writer:
    """Makes rows of entries. `taken`: forms that are somebody's already. What it leaves out goes to `left_out`."""

    relations: Mapping[str, Relation]
    names: Mapping[str, str]
    taken: Mapping[str, str]
    is_word: Callable[[str], bool]
    left_out: list[LeftOut]

    def row(self, entry: _Entry) -> dict[str, object]:
        record = entry.record
        row: dict[str, object] = {"name": record.name, "kind": entry.kind}
        found = {
            "aliases": self._aliases(entry),
            "demonyms": [d for d in record.demonyms if self._free(entry, d, "demonym")],
            "tickers": self._tickers(entry),
            "wikidata": record.item if ITEM.fullmatch(record.item) else "",
            "facts": self._facts(entry),
        }
        return row | {key: value for key, value in found.items() if value}

    def _aliases(self, entry: _Entry) -> list[str]:
        own = {fold(entry.record.name)}
        kept: list[str] = []
        for alias in entry.record.aliases:
            if fold(alias) in own or len(kept) == _MOST_ALIASES:
                continue
            if why := self._no_alias(alias, entry.kind):
                self._leave("alias", entry, "word", f"{alias[:60]!a}: {why}")
            elif self._free(entry, alias, "alias"):
                own.add(fold(alias))
                kept.append(alias)
        return kept

    def _no_alias(self, alias: str, kind: str) -> str:
        if not _NAME.fullmatch(alias) or not _LATIN.fullmatch(alias) or not any(c.isupper() for c in alias):
            return "no plain name"
        # JP, JPN, IT: codes, and half of them words.
        if len(alias) < 3 or (alias.isupper() and len(alias) < 4 and LABELS[kind] != "ORG"):
            return "too short to be told from a code or a word"
        return "an everyday word" if self.is_word(alias) else ""

    def _free(self, entry: _Entry, form: str, what: str) -> bool:
        if fold(form) == fold(entry.record.name) or fold(form) not in self.taken:
            return True
        bearer = self.taken[fold(form)]
        self._leave(what, entry, "homonym", f"{form[:60]!a}: {bearer or 'several'} may be called so too")
        return False

    def _tickers(self, entry: _Entry) -> list[str]:
        kept: dict[str, None] = {}
        for exchange, symbol in entry.record.listings:
            where = EXCHANGES.get(exchange) or EXCHANGES.get(
                self.names.get(exchange, exchange).casefold(), ""
            )
            ticker = symbol.replace(" ", "") if ":" in symbol else f"{where}:{symbol}"
            if TICKER.fullmatch(ticker):
                kept[ticker] = None
            else:
                named = self.names.get(exchange, exchange) or "none given"
                self._leave(
                    "ticker", entry, "exchange", f"{symbol[:20]!a}: exchange {named[:60]!a} has no code here"
                )
        return list(kept)

    def _facts(self, entry: _Entry) -> dict[str, object]:
        facts: dict[str, object] = {}
        for relation in self.relations.values():
            if relation.kinds and entry.kind not in relation.kinds:
                continue
            values = {
                **entry.record.values.get(relation.wikidata, {}),
                **entry.record.values.get(relation.name, {}),
            }
            named = [
                entry.record.names.get(v) or self.names.get(v) or ("" if ITEM.fullmatch(v) else v)
                for v in values
            ]
            if not values or LABELS[entry.kind] not in relation.subject:
                continue
            if not all(n and len(n) <= 100 and n.isprintable() for n in named):
                self._leave(
                    "fact", entry, "unnamed", f"{relation.name}: its value has no English name in this file"
                )
            elif relation.cardinality == "one" and len(named) > 1:
                self._leave("fact", entry, "several", f"{relation.name}: {len(named)} values hold at once")
            else:
                facts[relation.name] = named if relation.cardinality == "many" else named[0]
        return facts

    def _leave(self, what: str, entry: _Entry, code: str, reason: str) -> None:
        self.left_out.append(LeftOut(what, entry.record.name, code, reason))
