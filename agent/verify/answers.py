"""From a continuation to an answer. Pure text: no model is asked here.

Two readings serve two ends. `matches` says whether a continuation gives one of the accepted names: it decides
every figure of a report. `object_of` says which object a continuation names: it makes answers comparable
where none is expected.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent.catalogue import Catalogue
from agent.relations import Relation
from agent.types import Entity

_SPELLING = str.maketrans({
    "’": "'", "‘": "'", "ʼ": "'", "`": "'", "´": "'", "“": '"', "”": '"', "„": '"', "‐": "-", "‑": "-",
    "−": "-", "–": "-", "—": "-", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ı": "i",
    "ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th",
})  # fmt: skip
# Typographic marks only, so that an unknown name keeps its accents.
_MARKS = {mark: plain for mark, plain in _SPELLING.items() if plain in ("'", '"', "-")}
_GOES_ON = re.compile(r"\w|[-']\w|[.,]\d")
# No sentence ends with the stop of an initial, an ordinal or a short title: "J. K. Rowling", "2. Bundesliga".
_END = re.compile(
    r"[;:!?()\"\[\]]|,(?!\d)| -+ |"
    r"(?<!\b[A-Z])(?<!\b\d)(?<!\bSt)(?<!\bDr)(?<!\bMr)(?<!\bMs)(?<!\bMrs)(?<!\bJr)\.(?=\s|$)"
)
_NAME_LABELS = frozenset({"PERSON", "GPE", "ORG", "LOC"})
_PARTICLES = frozenset(
    {"al", "bin", "da", "das", "de", "del", "della", "den", "der", "di", "do", "dos", "du", "el", "ibn"}
    | {"la", "le", "ten", "ter", "van", "von", "y"}
)
_INSIDE_PLACES = frozenset({"and", "for", "of", "on", "the"})
_NO_NAMES = frozenset(
    {"a", "an", "and", "he", "her", "his", "i", "in", "it", "its", "my", "of", "she", "that", "the", "there"}
    | {"they", "this", "we", "what", "who", "you"}
)
_MOST_WORDS = 6
_LONGEST_NAME = 12


def fold(text: str) -> str:
    """One spelling for comparison: no accents, plain quotes, single spaces, a small first letter."""
    letters = unicodedata.normalize("NFKD", text.translate(_SPELLING))
    # Twice, because taking letters apart can bring such marks out: U+0149 is an apostrophe and an n.
    bare = "".join(c for c in letters if not unicodedata.combining(c)).translate(_SPELLING)
    bare = " ".join(bare.split())
    return bare[:1].lower() + bare[1:]


def matches(answer: str, expected_forms: Iterable[str]) -> bool:
    """Whether the continuation starts with an accepted form, with or without "the", and a word ends there.

    Spaces, accents and the case of the first letter do not matter. `Guinea-Bissau` is not `Guinea`.
    """
    heads = _heads(answer)
    forms = [form for form in map(fold, expected_forms) if form]
    return any(
        head.startswith(form) and not _GOES_ON.match(head, len(form)) for head in heads for form in forms
    )


def clause(answer: str) -> str:
    """The first line up to its first punctuation mark that ends a name, stripped; empty if there is none."""
    line = next((line for line in answer.splitlines() if line.strip(" \t\"':")), "").strip(" \t\"':")
    text = unicodedata.normalize("NFC", " ".join(line.translate(_MARKS).split()))
    end = _END.search(text)
    return text[: end.start()].strip() if end else text


def same_answer(one: str, other: str) -> bool:
    """Whether two continuations begin with the same clause; of a long one its first words count."""
    return fold(_shortened(clause(one))) == fold(_shortened(clause(other)))


def forms_of(name: str, labels: Collection[str], catalogue: Catalogue) -> tuple[str, ...]:
    """The accepted names of an object: as given, canonical, and the aliases that are nobody else's. Never a
    demonym.
    """
    entity = entity_of(name, labels, catalogue)
    aliases = (alias for alias in entity.aliases if catalogue.names.get(alias, entity.name) == entity.name)
    return tuple(dict.fromkeys((name, entity.name, *aliases)))


def entity_of(name: str, labels: Collection[str], catalogue: Catalogue) -> Entity:
    """The catalogue's entity of that name or alias, if it is of the right label (the city Aberdeen is no
    club).
    """
    entity = catalogue.entities.get(name) or catalogue.entities.get(catalogue.names.get(name, ""))
    return entity if entity and entity.label in labels else Entity(name, "", "")


@dataclass(frozen=True, slots=True)
class Names:
    """The objects that a relation can have, as far as they are known: folded form -> canonical name. `own`
    counts first.
    """

    index: Mapping[str, str]
    labels: frozenset[str]
    own: Mapping[str, str] = field(default_factory=dict)

    def plus(self, name: str, forms: Sequence[str]) -> Names:
        """With one more object. The big index is shared, not copied: there is one `Names` for every fact
        asked.
        """
        return replace(self, own={**self.own, **{_key(form): name for form in forms}}) if name else self

    def find(self, form: str) -> str:
        """The canonical name of that form, else ''."""
        key = _key(form)
        return self.own.get(key) or self.index.get(key, "")

    def knows(self, name: str) -> bool:
        return bool(name) and self.find(name) == name

    @property
    def proper(self) -> bool:
        """Whether the objects are proper names, not currencies or languages."""
        return not self.labels.isdisjoint(_NAME_LABELS)


def names_for(relation: Relation, relations: Mapping[str, Relation], catalogue: Catalogue) -> Names:
    """Every entity of the relation's object labels, and every object of a catalogue fact that shares a label
    with it.
    """
    labels = frozenset(relation.object)
    akin = {name for name, other in relations.items() if labels & set(other.object)}
    objects = [o for fact in catalogue.facts.values() if fact.relation in akin for o in fact.objects]
    people = [entity for entity in catalogue.entities.values() if entity.label in labels]
    index: dict[str, str] = {}
    for name in (*(entity.name for entity in people), *objects):
        index.setdefault(_key(name), name)
    for entity in people:
        for alias in entity.aliases:
            if catalogue.names.get(alias) == entity.name:
                index.setdefault(_key(alias), entity.name)
    return Names(index, labels)


def object_of(answer: str, names: Names) -> str:
    """The object that a continuation names: the longest known name it starts with, else what reads like a
    name, else ''.

    Where objects are no proper names (currencies, languages) an unknown one is the first clause as it stands.
    """
    text = clause(answer)
    return _known(text, names) or (_name_run(text, names.labels) if names.proper else _shortened(text))


def _heads(answer: str) -> tuple[str, ...]:
    text = fold(answer.lstrip(" \t\r\n\"'“‘:"))
    return (text, fold(text[4:])) if text.startswith("the ") else (text,)


def _key(form: str) -> str:
    return fold(form).rstrip(".")


def _known(text: str, names: Names) -> str:
    for words in _starts(text.split()):
        for count in range(len(words), 0, -1):
            start = " ".join(words[:count])
            found = names.find(start) or names.find(_bare(start))
            # "Adele Smith" is not Adele: a name that goes on is another name.
            goes_on = names.proper and count < len(words) and _is_name_word(words[count])
            if found and not goes_on:
                return found
    return ""


def _starts(words: Sequence[str]) -> Iterator[Sequence[str]]:
    yield words[:_LONGEST_NAME]
    if words and words[0].lower() == "the":
        yield words[1:_LONGEST_NAME]


def _bare(name: str) -> str:
    return name.removesuffix("'s")


def _name_run(text: str, labels: frozenset[str]) -> str:
    inside = _PARTICLES if labels == {"PERSON"} else _PARTICLES | _INSIDE_PLACES
    run: list[str] = []
    for word in text.split():
        if not (_is_name_word(word) or (run and word in inside)):
            break
        run.append(word)
    while run and run[-1] in inside:
        run.pop()
    while run and run[0].lower() in _NO_NAMES:
        run.pop(0)
    return _bare(" ".join(run[:_MOST_WORDS]))


def _is_name_word(word: str) -> bool:
    return word[0].isdigit() or any(c.isupper() for c in word)


def _shortened(text: str) -> str:
    return " ".join(text.split()[:_MOST_WORDS])
