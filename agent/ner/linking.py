"""From a name in the text to an entry of the catalogue: exact forms, demonyms, regions and cities, and
people.

A form that several entries share keeps all its readings; who needs one takes it only where a single reading
fits, and otherwise leaves the name unlinked with a reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agent.catalogue import Catalogue
from agent.ner.lexicon import Lexicon
from agent.ner.names import fold, person_words, plain, strip_titles, variant_of, without_accents, word_set
from agent.ner.tickers import ticker_at
from agent.ner.tokens import Token, tokenize
from agent.types import Entity

_STATES_LIKE_COUNTRIES = ("Georgia",)
# Things that news calls by a short name which the catalogue may hold under a longer one.
_METONYMS = {
    "Kremlin": "Russia",
    "White House": "United States",
    "Downing Street": "United Kingdom",
    "Elysee": "France",
}
_BODY_NAMES = {"FDA": "Food and Drug Administration", "SEC": "Securities and Exchange "
                                                             "Commission", "EPA": "Environmental Protection "
                                                                                  "Agency",
               "CDC": "Centers for Disease Control and "
                      "Prevention", "IMO": "International Maritime Organization"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reading:
    """One thing a form can mean. `kind` is the catalogue's sort, `demonym` tells `Japanese` from `Japan`."""

    name: str
    kind: str
    label: str
    demonym: bool = False
    metonym: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """What linking found: the entity's name, or None and why not."""

    entity: str | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Match:
    """Tokens `[start, end)` and all readings of what they spell."""

    start: int
    end: int
    readings: tuple[Reading, ...]


@dataclass(frozen=True, slots=True)
class Linker:
    """The index over a catalogue. `forms` maps the first word of a form to (words, readings), longest form
    first; `tickers` maps NYSE:F to what is listed there."""

    forms: Mapping[str, tuple[tuple[tuple[str, ...], tuple[Reading, ...]], ...]]
    people: Mapping[str, str]
    surnames: Mapping[str, tuple[str, ...]]
    countries_of: Mapping[str, frozenset[str]]
    central_banks: Mapping[str, str]
    tickers: Mapping[str, Reading]

    def find(self, tokens: Sequence[Token]) -> list[Match]:
        """All matches in `tokens`, the longest at each place, left to right without overlap; letter case
        counts."""
        found: list[Match] = []
        position = 0
        while position < len(tokens):
            match = self._at(tokens, position)
            if match:
                found.append(match)
            position = match.end if match else position + 1
        return found

    def _at(self, tokens: Sequence[Token], start: int) -> Match | None:
        ticker = ticker_at(tokens, start)
        if ticker and ticker[0] in self.tickers:
            return Match(start, ticker[1], (self.tickers[ticker[0]],))
        for words, readings in self.forms.get(without_accents(tokens[start].text), ()):
            end = start + len(words)
            if end <= len(tokens) and all(
                without_accents(tokens[start + k].text) == w for k, w in enumerate(words)
            ):
                return Match(start, end, readings)
        return None

    def central_bank(self, country: str, called: str = "") -> str:
        """The name of a country's central bank; where the catalogue has none, what it is `called`, else a plain one."""
        return self.central_banks.get(country) or called or f"Central Bank of {country}"

    def readings(self, name: str) -> tuple[Reading, ...]:
        """Readings of `name` as a whole, empty if no form is exactly that."""
        tokens = tokenize(plain(name))
        match = self._at(tokens, 0) if tokens else None
        return match.readings if match and match.end == len(tokens) else ()

    def link(self, name: str, label: str = "") -> Link:
        """The catalogue's name for `name`. A homonym is left unlinked: the reason names what it could be."""
        if label == "PERSON":
            return self.link_person(name)
        fitting = {r.name for r in self.readings(name) if not label or r.label == label}
        if len(fitting) > 1:
            return Link(None, f"{name!r} can be {', '.join(sorted(fitting))}")
        return Link(next(iter(fitting))) if fitting else Link(None, f"{name!r} is not in the catalogue")

    def link_person(self, name: str) -> Link:
        """A person by full name (accents, initials and spelling variants aside), or by a surname only one of
        them has."""
        words = person_words(name)
        if not words:
            return Link(None, "no name")
        if exact := self.people.get(" ".join(words)) or self.people.get("".join(words)):
            return Link(exact)
        same = self.surnames.get(words[-1], ())
        if len(words) == 1:
            if len(same) == 1:
                return Link(same[0])
            return Link(
                None, f"{name!r} can be {', '.join(same)}" if same else f"{name!r} is not in the catalogue"
            )
        near = {p for p in (*same, *self.surnames.get(words[-1][:4] + "*", ())) if variant_of(name, p)}
        if len(near) == 1:
            return Link(next(iter(near)))
        return Link(
            None,
            f"{name!r} can be {', '.join(sorted(near))}" if near else f"{name!r} is not in the catalogue",
        )


def build_linker(catalogue: Catalogue, lexicon: Lexicon) -> Linker:
    """Index `catalogue`, the regions and cities of `lexicon`, and everybody the catalogue's facts name."""
    readings: dict[tuple[str, ...], dict[Reading, None]] = {}

    def add(form: str, reading: Reading) -> None:
        words = tuple(without_accents(t.text) for t in tokenize(plain(form)))
        if words:
            readings.setdefault(words, {})[reading] = None

    for entity in catalogue.entities.values():
        for form in (entity.name, *entity.aliases):
            add(form, Reading(entity.name, entity.kind, entity.label))
        for form in (*entity.demonyms, *_peoples(entity)):
            add(form, Reading(entity.name, entity.kind, entity.label, demonym=True))
    for league in {o for f in catalogue.facts.values() if f.relation == "league" for o in f.objects} - set(
        catalogue.entities
    ):
        add(league, Reading(league, "body", "ORG"))
    for body in lexicon.lists["bodies"]:
        if body not in catalogue.names:
            add(body, Reading(_BODY_NAMES.get(body, body), "body", "ORG"))
    for place, country in catalogue_names(_METONYMS, catalogue).items():
        add(place, Reading(country, "country", "GPE", metonym=True))
    known_places = {e.name for e in catalogue.entities.values() if e.label == "GPE"}
    for region in (*lexicon.regions, *_STATES_LIKE_COUNTRIES):
        if region not in known_places or region in _STATES_LIKE_COUNTRIES:
            add(region, Reading(region, "region", "GPE"))
    for demonym, region in _region_demonyms(lexicon).items():
        if demonym not in catalogue.demonyms:
            add(demonym, Reading(region, "region", "GPE", demonym=True))
    for city in sorted(_cities(catalogue) | set(lexicon.lists["cities"])):
        if city not in known_places:
            add(city, Reading(city, "city", "GPE"))
    forms: dict[str, list[tuple[tuple[str, ...], tuple[Reading, ...]]]] = {}
    for words, found in readings.items():
        forms.setdefault(words[0], []).append((words, tuple(found)))
    ordered = {first: tuple(sorted(entries, key=lambda e: -len(e[0]))) for first, entries in forms.items()}
    people = sorted(_people(catalogue))
    listed = {t: catalogue.entities[name] for t, name in catalogue.tickers.items()}
    return Linker(
        ordered,
        _by_words(people),
        _by_surname(people),
        _countries_of(catalogue),
        _central_banks(catalogue),
        {ticker: Reading(e.name, e.kind, e.label) for ticker, e in listed.items()},
    )


def _peoples(entity: Entity) -> list[str]:
    """ "Latvians" beside "Latvian"; there is no such word for the French."""
    return [f"{form}s" for form in entity.demonyms if form.endswith(("an", "i"))]


def _region_demonyms(lexicon: Lexicon) -> dict[str, str]:
    """The list has "Scottish: Scotland"."""
    found = (entry.partition(": ") for entry in lexicon.lists["region_demonyms"])
    return {demonym: region for demonym, _, region in found}


def catalogue_names(metonyms: Mapping[str, str], catalogue: Catalogue) -> dict[str, str]:
    """Those of `metonyms` that stand for an entity of this catalogue and are not names in it themselves."""
    return {
        m: name for m, name in metonyms.items() if name in catalogue.entities and m not in catalogue.names
    }


def _cities(catalogue: Catalogue) -> set[str]:
    place = {"capital", "headquarters", "home_city"}
    return {o for f in catalogue.facts.values() if f.relation in place for o in f.objects}


_PERSONAL = word_set(
    "head_of_state head_of_government foreign_minister finance_minister defense_minister subnational_head "
    "central_bank_governor head_of_organisation ceo chairperson cfo founder head_coach"
)
_NATIONAL = (
    "head_of_state",
    "head_of_government",
    "foreign_minister",
    "finance_minister",
    "defense_minister",
)


def _people(catalogue: Catalogue) -> set[str]:
    named = {e.name for e in catalogue.entities.values() if e.kind == "person"}
    return named | {o for f in catalogue.facts.values() if f.relation in _PERSONAL for o in f.objects}


def _by_words(people: Iterable[str]) -> dict[str, str]:
    index: dict[str, str] = {}
    for person in people:
        words = person_words(person)
        for form in {" ".join(words), "".join(words)}:
            index[form] = "" if index.get(form, person) != person else person
    return {form: person for form, person in index.items() if person}


def _by_surname(people: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """People by surname, and by its first four letters with a star, for spelling variants."""
    index: dict[str, list[str]] = {}
    for person in people:
        words = person_words(person)
        if len(words) > 1:
            index.setdefault(words[-1], []).append(person)
            index.setdefault(words[-1][:4] + "*", []).append(person)
    return {surname: tuple(found) for surname, found in index.items()}


def _countries_of(catalogue: Catalogue) -> dict[str, frozenset[str]]:
    """The countries a person belongs to, from nationality and national offices."""
    found: dict[str, set[str]] = {}
    for fact in catalogue.facts.values():
        if fact.relation == "nationality":
            found.setdefault(fact.subject, set()).update(fact.objects)
        elif fact.relation in _NATIONAL:
            for person in fact.objects:
                found.setdefault(person, set()).add(fact.subject)
    return {person: frozenset(names) for person, names in found.items()}


_BANKS = {
    "United States": "Federal Reserve",
    "Germany": "Bundesbank",
    "Sweden": "Riksbank",
    "Norway": "Norges Bank",
    "United Kingdom": "Bank of England",
    "France": "Banque de France",
    "Switzerland": "Swiss National Bank",
}


def _central_banks(catalogue: Catalogue) -> dict[str, str]:
    """Country -> its central bank: by a name that contains the country's or its people's, else by the seat in
    its capital."""
    banks = [e for e in catalogue.entities.values() if e.kind == "central_bank"]
    index: dict[str, str] = {}
    for country in (e for e in catalogue.entities.values() if e.kind == "country"):
        names = {fold(n) for n in (country.name, *country.demonyms)}
        fitting = [b.name for b in banks if any(_named_after(b, n) for n in names)]
        capital = catalogue.facts.get((country.name, "capital"))
        seats = {b.name: catalogue.facts.get((b.name, "headquarters")) for b in banks}
        seat = [b for b, city in seats.items() if capital and city and city.objects[0] in capital.objects]
        known = _BANKS.get(country.name)
        if known in catalogue.entities:
            index[country.name] = str(known)
        elif len(fitting) == 1:
            index[country.name] = fitting[0]
        elif len(seat) == 1:
            index[country.name] = seat[0]
    return index


def _named_after(bank: Entity, country: str) -> bool:
    forms = fold(" ".join((bank.name, *bank.aliases)))
    return country in forms.split() or fold(bank.name).endswith(country)


def display_name(name: str) -> str:
    """A person's name as a claim carries it: no titles, no possessive, ASCII quotes."""
    text = strip_titles(plain(name)).strip(" ,.;:")
    text = text[:-2] if text.endswith("'s") else text
    return text + "." if text.endswith((" Jr", " Sr")) else text
