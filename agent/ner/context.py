"""What the rest of an article tells about a short name or an office without a country."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from agent.ner.chunks import Symbol
from agent.ner.lexicon import Lexicon
from agent.ner.linking import Linker, Reading
from agent.ner.names import strip_legal, word_set
from agent.ner.people import People
from agent.ner.roles import VAGUE, RoleBook, guess_kind, is_vague
from agent.ner.symbols import Symbols
from agent.relations import Relation

_MONARCHS = word_set("king queen sultan emir emperor monarch amir")
# Their programmes are named after them.
_BROADCASTS = ("Bloomberg ", "CNBC ", "CNN ", "BBC ")
FORMERLY = re.compile(r"(?:former|ex-|then|one-time|erstwhile) <[A-Z](\d+)>")


@dataclass(frozen=True, slots=True)
class Office:
    """A relation of a subject, and how sure the reading of the text is."""

    relation: Relation
    subject: str
    linked: bool
    score: float


@dataclass(slots=True)
class Context:
    """Names met so far in one article. `text` is title and body in plain quotes."""

    linker: Linker
    book: RoleBook
    text: str
    known: Mapping[tuple[str, str], tuple[str, ...]]
    lexicon: Lexicon
    seen: list[tuple[Reading, bool]] = field(default_factory=list)
    people: People = field(init=False)
    roles: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    has_title: bool = False
    asked: dict[tuple[str, Reading], Office | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.people = People(self.linker, self.book, self.text, self.known, self.lexicon)

    def note(self, symbols: Symbols, *, headline: bool) -> None:
        """Remember the subjects and people that a sentence names."""
        for token in symbols.tokens:
            if "-" in token.text and token.capital:
                self.seen += [
                    (r, headline)
                    for part in token.text.split("-")
                    for r in self.linker.readings(part)
                    if r.kind == "country"
                ]
        self.has_title = self.has_title or headline
        self.roles += [(symbols.text, item.roles) for item in symbols.items if item.letter == "R"]
        gone = {int(n) for n in FORMERLY.findall(symbols.line)}
        for number, symbol in enumerate(symbols.items):
            # Of a "former Google engineer" nothing new is told about Google, and media report on others.
            if number in gone or symbol.text in self.lexicon.lists["media"]:
                continue
            if symbol.letter in "GDO" or self._repeated(symbol):
                self.seen += [(r, headline) for r in self.readings(symbol)]
            elif symbol.letter == "P":
                self.people.note(symbol)

    def readings(self, symbol: Symbol) -> tuple[Reading, ...]:
        """What a subject symbol can denote; an uncatalogued name denotes itself."""
        if symbol.readings:
            # A homonym stays one: nobody can tell which is meant.
            alone = len(symbol.readings) == 1
            return (
                ()
                if alone and self._nickname_of_another(symbol.readings[0], symbol.text)
                else symbol.readings
            )
        name = strip_legal(symbol.text)
        exact = self.linker.readings(name)
        if exact:
            return exact
        if (
            not name
            or name in self.lexicon.lists["media"]
            or name.startswith(_BROADCASTS)
            or name in self.lexicon.lists["no_subjects"]
            or sum(c.isalpha() for c in name) < 2
        ):
            return ()
        as_org = Reading(name, "", "ORG")
        return (
            (Reading(name, "", "GPE"), as_org) if symbol.letter == "G" and name == symbol.text else (as_org,)
        )

    def company(self, before: Iterable[Symbol], kinds: Sequence[str]) -> Reading | None:
        """Which organisation "the company" is: the only one of the title, or of an article that has no title; None where the sentence
        has named another `before`.
        """

        def fitting(readings: Iterable[Reading]) -> list[Reading]:
            fit = (r for r in readings if r.label == "ORG" and not r.metonym and r.name not in places)
            fit = (r for r in fit if not kinds or (r.kind or guess_kind(r.name, "ORG", "")) in kinds)
            return list({r.name: r for r in fit}.values())

        places = self._places()
        everywhere = fitting(r for r, _ in self.seen)
        titled = fitting(r for r, headline in self.seen if headline)
        here = fitting(r for symbol in before for r in self.readings(symbol))
        named = next((found[0] for found in (titled, everywhere, here) if len(found) == 1), None)
        if named is None or (self.has_title and named not in titled):
            return None
        longer = [r for r in everywhere if r.name.startswith(f"{named.name} ")]
        same = [named, *longer]
        if any(other not in same for other in here):
            return None
        return longer[0] if len(longer) == 1 and not named.kind else named

    def _nickname_of_another(self, reading: Reading, text: str) -> bool:
        """Whether "Bulls" is read as Chicago's in an article that never mentions Chicago: nicknames of clubs are used again."""
        if reading.kind != "club" or not reading.name.endswith(f" {text}"):
            return False
        town = reading.name[: -len(text) - 1]
        return any(r.label == "GPE" for r in self.linker.readings(town)) and town not in self.text

    def role_before(self, sentence: str) -> tuple[str, ...]:
        """The office named last before `sentence`, which has none; () without any."""
        position = self.text.find(sentence)
        before = [roles for text, roles in self.roles if 0 <= self.text.find(text) < position]
        return before[-1] if before else ()

    def offices_of(self, roles: Iterable[str], reading: Reading) -> list[Office]:
        """The relations that the roles are of one reading."""
        found = (self._office(role, reading) for role in roles)
        return list({o.relation.name: replace_score(o, 0.8) for o in found if o}.values())

    def offices(self, roles: Iterable[str], symbol: Symbol) -> list[Office]:
        """The relations that the roles are of the subject: one per role and relation, none where readings
        compete."""
        found: list[Office] = []
        for role in roles:
            if (
                not symbol.readings
                and symbol.text.endswith(("Committee", "Board", "Council", "Department"))
                and is_vague(role)
            ):
                continue
            if (
                symbol.letter in "XY"
                and is_vague(role)
                and not symbol.readings
                and guess_kind(symbol.text, "ORG", role) == "company"
            ):
                continue
            fitting = {
                (o.relation.name, o.subject): o for r in self.readings(symbol) if (o := self._office(role, r))
            }
            if len({subject for _, subject in fitting}) == 1 and len(fitting) == 1:
                found += fitting.values()
        return list({o.relation.name: o for o in found}.values())

    def _office(self, role: str, reading: Reading) -> Office | None:
        if (role, reading) not in self.asked:
            self.asked[role, reading] = self._find_office(role, reading)
        return self.asked[role, reading]

    def _find_office(self, role: str, reading: Reading) -> Office | None:
        relation = self.book.relation(role, reading)
        if relation is None:
            return None
        if reading.metonym and "GPE" not in relation.subject:
            return None
        return Office(relation, reading.name, bool(reading.kind), 1.0 if reading.kind else 0.85)

    def around(
        self,
        role: str,
        person: str,
        before: Sequence[Symbol],
        after: Iterable[Symbol],
        speakers: Iterable[Symbol] = (),
    ) -> Office | None:
        """The office of a role without a subject ("President Kais Saied"), from the sentence and then the
        whole article. Of several organisations before it, one of the `speakers` ("Acme said its ...") is
        meant."""
        voices = {r.name for s in speakers for r in self.readings(s)}
        left = [r for s in before if s.letter in "GDO" or self._repeated(s) for r in self.readings(s)]
        right = [r for s in after if s.letter in "GD" for r in self.readings(s)]
        here = [o for o in self._fits(role, left) if not self._is_something_else(o)]
        national = any(
            r.kind == "country" for _, r in self._pairs(role, [*left, *right, *(r for r, _ in self.seen)])
        )
        homes = self.linker.countries_of.get(person, frozenset())
        if national or (
            homes
            and any("country" in r.kinds for r in self.book.relations.get(role, ()))
            and not self._known(person, here)
        ):
            return self._national(role, homes, left, right)
        if role in VAGUE:
            here = [o for o in here if o.linked]
        if len(here) == 1:
            return replace_score(here[0], 0.8)
        if len(here) > 1:
            known = self._known(person, here) or [o for o in here if o.subject in voices]
            return replace_score(known[0], 0.8) if len(known) == 1 else None
        earlier = [
            o
            for o in self._fits(role, [r for r, _ in self.seen if not r.demonym])
            if (o.linked or role not in VAGUE) and not self._is_something_else(o)
        ]
        earlier = [o for o in earlier if not any(p.subject.startswith(f"{o.subject} ") for p in earlier)]
        return replace_score(earlier[0], 0.65) if len(earlier) == 1 else None

    def _is_something_else(self, office: Office) -> bool:
        """Whether the unknown organisation is a surname that the recogniser has taken for one, or may be a place."""
        if office.linked:
            return False
        places = self._places() if "ORG" in office.relation.subject else ()
        return office.subject in places or self.people.share(office.subject)

    def _places(self) -> set[str]:
        """Names that may be those of places: what is unknown may be one as well ("Europe's biggest")."""
        return {r.name for r, _ in self.seen if r.label == "GPE"}

    def _known(self, person: str, offices: Iterable[Office]) -> list[Office]:
        return [o for o in offices if person in self.known.get((o.subject, o.relation.name), ())]

    def _repeated(self, symbol: Symbol) -> bool:
        """Whether an unknown capitalised name is what the article is about: it comes twice and is nobody's
        name."""
        if symbol.letter not in "XY" or self.text.count(symbol.text) < 2 or len(symbol.text) < 3:
            return False
        return not self.people.share(symbol.text) and self.linker.link_person(symbol.text).entity is None

    def _pairs(self, role: str, readings: Iterable[Reading]) -> list[tuple[Office, Reading]]:
        return [(o, r) for r in readings if (o := self._office(role, r))]

    def _fits(self, role: str, readings: Iterable[Reading]) -> list[Office]:
        return list({(o.relation.name, o.subject): o for o, _ in self._pairs(role, readings)}.values())

    def _national(
        self, role: str, homes: frozenset[str], left: list[Reading], right: list[Reading]
    ) -> Office | None:
        """Only where the country is certain: the person's own, if the article names it, or the only one named
        at all."""
        everywhere = self._fits(role, [*left, *right, *(r for r, _ in self.seen)])
        if role in _MONARCHS and not homes:
            return None
        if homes:
            own = [o for o in everywhere if o.subject in homes]
            return replace_score(own[0], 0.75) if len(own) == 1 else None
        if len(everywhere) == 1:
            return replace_score(everywhere[0], 0.75)
        first = self._fits(role, left)
        titles = self._fits(role, [r for r, headline in self.seen if headline])
        if len(first) == 1 and titles and titles[0].subject == first[0].subject:
            return replace_score(first[0], 0.6)
        return None


def replace_score(office: Office, factor: float) -> Office:
    """`office`, less sure by `factor`."""
    return Office(office.relation, office.subject, office.linked, office.score * factor)
