"""Who a name in an article means: its people, each at the fullest name that the article or the catalogue has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice

from agent.ner.chunks import Symbol
from agent.ner.lexicon import Lexicon
from agent.ner.linking import Linker, display_name
from agent.ner.names import person_words, same_person, word_set
from agent.ner.roles import RoleBook, guess_kind

Known = Mapping[tuple[str, str], tuple[str, ...]]
# Every name is compared with all others: a text with more people than this is a list, not a story.
_MOST_PEOPLE = 100
_PERSON_WORD = re.compile(r"^(?:[^\W\d_][\w'.-]*)$")
_NOT_PERSON = word_set(
    "the a an of for and says said talks group company government office house ministry department party "
    "state court bank union council today monday tuesday wednesday thursday friday saturday sunday who he "
    "she it they"
)


@dataclass(slots=True)
class People:
    """The people met so far in one article. `text` is title and body in plain quotes, `known` the catalogue's facts by (subject,
    relation).
    """

    linker: Linker
    book: RoleBook
    text: str
    known: Known
    lexicon: Lexicon
    named: list[str] = field(default_factory=list)
    full: dict[str, str] = field(default_factory=dict)

    def note(self, symbol: Symbol) -> None:
        """Remember whom the recogniser or the catalogue sees."""
        name = display_name(symbol.text)
        if name and len(self.named) < _MOST_PEOPLE and name not in self.named:
            self.named.append(name)

    def share(self, word: str) -> bool:
        """Whether `word` is a word of one of their names."""
        return any(word in person.split() for person in self.named)

    def belongs(self, person: str, subject: str) -> bool:
        """Whether the catalogue ties the person to the subject; a lone surname counts only then."""
        return belongs(person, subject, self.linker, self.known)

    def person(self, symbol: Symbol) -> tuple[str, float, bool] | None:
        """The person's name at its fullest, a factor for the score, and whether only the catalogue's surname
        gave it; None if it cannot be a person."""
        people = {r.name for r in symbol.readings if r.label == "PERSON"}
        if len(people) == 1:
            return people.pop(), 1.0, False
        name = display_name(symbol.text)
        if not is_person_like(name, symbol, self.linker) or self._is_organisation(name):
            return None
        words = person_words(name)
        link = self.linker.link_person(name)
        if len(words) > 1 and link.entity:
            return link.entity, 1.0, False
        full = self._fullest(name)
        if len(person_words(full)) > 1:
            again = self.linker.link_person(full)
            return (again.entity or full), 1.0 if len(words) > 1 else 0.95, False
        if link.entity:
            return link.entity, 0.8, True
        if symbol.letter == "P" or len(words) > 1 or self._surname(name):
            return name, 0.5 if len(words) == 1 else 0.9, False
        return None

    def _is_organisation(self, name: str) -> bool:
        """Whether it ends as only organisations do ("Federal Railways")."""
        last = name.split()[-1].lower()
        return (
            len(name.split()) > 1
            and "E" in self.lexicon.classes.get(last, "")
            and last not in self.lexicon.last
        )

    def _surname(self, word: str) -> bool:
        classes = self.lexicon.classes.get(word.lower(), "")
        return bool(set("FL") & set(classes)) and not self.lexicon.is_common(word.lower())

    def _fullest(self, name: str) -> str:
        if name not in self.full:
            self.full[name] = self._look_for(name)
        return self.full[name]

    def _look_for(self, name: str) -> str:
        candidates = [p for p in self.named if len(p.split()) > len(name.split()) and same_person(name, p)]
        if not candidates and len(name.split()) == 1 and not name.lower().startswith(("king", "queen")):
            before = re.compile(r"((?:[^\W\d_a-z][\w.'-]+ ){1,2}(?:(?:de|da|van|von|der|al|bin) ){0,2})$")
            starts = [m.start() for m in islice(re.finditer(re.escape(name), self.text), _MOST_PEOPLE)]
            leads = [before.search(self.text, max(0, at - 40), at) for at in starts]
            found = [display_name((m.group(1) + name).split("'s ")[-1]) for m in leads if m]
            candidates = [f for f in found if len(f.split()) in (2, 3) and self._plausible(f)]
        return min(candidates, key=len) if candidates else name

    def _plausible(self, name: str) -> bool:
        return (
            "'s " not in name
            and not self.linker.readings(name.split()[0])
            and not self.book.trigger.search(name)
        )

    def is_somebody(self, word: str) -> bool:
        """Whether `word` is the name of a person of the catalogue or of the article, or a surname."""
        named = any(word in person.split() and word != person for person in self.named)
        return named or self.linker.link_person(word).entity is not None or self._surname(word)


def belongs(person: str, subject: str, linker: Linker, known: Known) -> bool:
    """Whether the catalogue ties a person to a subject, by nationality or by an office in `known`."""
    if subject in linker.countries_of.get(person, ()):
        return True
    return any(person in people for (name, _), people in known.items() if name == subject)


def is_person_like(name: str, symbol: Symbol, linker: Linker) -> bool:
    """Whether `name` can be a person's: one to six capitalised words, not a known place or organisation."""
    words = name.split()
    if not 1 <= len(words) <= 6 or len(name) < 3 or not all(_PERSON_WORD.match(w) for w in words):
        return False
    if any(w.lower() in _NOT_PERSON for w in words) or not any(c.isupper() for c in words[-1]):
        return False
    if symbol.letter != "P" and (
        any(r.label != "PERSON" for r in linker.readings(name)) or guess_kind(name, "ORG", "") == "body"
    ):
        return False
    if symbol.letter == "X" and all(len(w) > 1 and w.isupper() for w in words):
        return False
    return len(words) > 1 or symbol.letter == "P" or not linker.readings(name)
