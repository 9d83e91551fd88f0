"""The facts that the weights refused, and which of them a prompt asks for. Pure: text in, text out.

SERAC (Mitchell et al. 2022) keeps edits in a memory beside the model, with a scope classifier in front; IKE (Zheng et al. 2023)
tells the model the fact in its context. Here the relation catalogue is the classifier. A prompt is in a fact's scope when its last
sentence names the fact's subject and reads more like one of the relation's own prompts than like those of any other relation that the
subject can have. Words are weighed by how rare they are in the catalogue's prompts, and the relation's role words are one word.

    context    the fact as a sentence, put before the prompt
    lead       the object, with which the answer begins; only where the prompt ends just where the object belongs

What asks for the past, the future or a negation is in no scope.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from agent.catalogue import Catalogue
from agent.relations import Relation, fill
from agent.types import Entity, Fact

# At least this much of the words' weight in common: to be in the scope at all, and to be answered with the object.
_NEAR, _EXACT = 0.45, 0.6
_SUBJECT, _TITLE = "{subject}", "{title}"
_WORD = re.compile(r"\{\w+\}|'s\b|[^\W_]+(?:[-.][^\W_]+)*")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'{])|\n+")
_YEAR = re.compile(r"(?:1[5-9]|20)\d\ds?")
_OTHER_TIMES = frozenset(
    {"was", "were", "wasn", "former", "formerly", "ex", "previous", "previously", "past", "before", "until"}
    | {
        "first",
        "last",
        "next",
        "future",
        "will",
        "would",
        "had",
        "been",
        "ever",
        "once",
        "used",
        "not",
        "never",
    }
    | {"isn", "aren", "succeeded", "predecessor", "successor", "after", "since", "deputy", "vice", "acting"}
)
# Asking nicely, and for the present, changes nothing.
_POLITE = frozenset(
    {
        "please",
        "now",
        "today",
        "currently",
        "current",
        "present",
        "right",
        "tell",
        "me",
        "can",
        "could",
        "you",
        "do",
    }
    | {
        "know",
        "hi",
        "hello",
        "hey",
        "thanks",
        "whats",
        "a",
        "an",
        "the",
        "at",
        "moment",
        "these",
        "days",
        "name",
        "named",
    }
)
_SUFFIX = re.compile(r"(?<=\w{3})(?:ing|ed|es|s|e)$")
_ASKING = frozenset({"who", "whose", "whom", "what", "which", "where"})
_QUESTION = _ASKING | {"when", "why", "how", "is", "are", "does", "did", "has"}


@dataclass(frozen=True, slots=True)
class Match:
    """`sentence` tells the fact. `exact`: the answer may be begun with `lead`, the fact's object."""

    fact: Fact
    exact: bool
    sentence: str

    @property
    def lead(self) -> str:
        return self.fact.object


@dataclass(frozen=True, slots=True)
class _Form:
    """One prompt of a relation as a bag of words; `end` is its last word, "?" for a question."""

    words: Mapping[str, int]
    end: str


@dataclass(frozen=True, slots=True)
class _Scope:
    """The prompts of one relation, with all their words and ends."""

    forms: tuple[_Form, ...]
    words: frozenset[str]
    ends: frozenset[str]

    @classmethod
    def of(cls, relation: Relation) -> _Scope:
        forms = tuple(_forms(relation))
        return cls(forms, _words_of(forms), frozenset(form.end for form in forms))


class Overlay:
    """Facts by what asks for them. Of several facts of one subject and relation the last one counts."""

    def __init__(
        self, facts: Iterable[Fact], relations: Mapping[str, Relation], catalogue: Catalogue
    ) -> None:
        self.facts = tuple(facts)
        self._relations = relations
        self._catalogue = catalogue
        self._by_key = {fact.key: fact for fact in self.facts if fact.relation in relations}
        subjects = {fact.subject for fact in self._by_key.values()}
        self._names = {name: subject for subject in sorted(subjects) for name in self._names_of(subject)}
        ordered = sorted(self._names, key=lambda name: (-len(name), name))
        self._subject = re.compile(rf"(?<!\w)(?:[Tt]he )?({'|'.join(map(re.escape, ordered))})(?!\w)")
        self._scopes = {name: _Scope.of(relation) for name, relation in relations.items()}
        self._weights = _weights(form for scope in self._scopes.values() for form in scope.forms)
        self._rarest = max(self._weights.values(), default=1.0)

    def __bool__(self) -> bool:
        return bool(self._by_key)

    def match(self, prompt: str, *, held_out: bool = False) -> Match | None:
        """The fact that the prompt's last sentence asks for, if there is one.

        `held_out`: as if the catalogue had no prompt with just these words, to measure what is not known by heart.
        """
        found = self._subject.findall(prompt) if self._by_key else []
        # Names first: "D.C. United" ends no sentence.
        text = self._subject.sub(_SUBJECT, prompt)
        masked = _last_sentence(text)
        if not found or _SUBJECT not in masked:
            return None
        subject = self._names[found[text[: text.rindex(masked)].count(_SUBJECT)]]
        scores = self._scores(masked, subject, held_out)
        if not scores:
            return None
        best, (score, placed) = max(
            scores.items(), key=lambda item: (item[1][0], (subject, item[0]) in self._by_key)
        )
        fact = self._by_key.get((subject, best))
        if fact is None or score < _NEAR:
            return None
        return Match(fact, placed and score >= _EXACT, self.told(fact))

    def told(self, fact: Fact) -> str:
        """The fact as an English sentence."""
        relation, entity = self._relations[fact.relation], self._catalogue.entity(fact.subject)
        title = relation.title_for(fact.subject)
        if relation.statement:
            text = fill(relation.statement, entity, title=title, object_=fact.object)
            return f"{text[0].upper()}{text[1:]}."
        return f"{relation.prompts('edit', entity)[0]} {fact.object}."

    def _scores(self, masked: str, subject: str, held_out: bool) -> dict[str, tuple[float, bool]]:
        """By relation that the subject can have: how much the sentence is like it, and whether the object comes next."""
        entity, keys = self._catalogue.entity(subject), self._by_key
        possible = {n: r for n, r in self._relations.items() if _can_have(entity, r) or (subject, n) in keys}
        titles = {relation.title_for(subject) for relation in possible.values()}
        read = _words(masked)
        first = next((word for word in read if word in _QUESTION), "")
        scores: dict[str, tuple[float, bool]] = {}
        for name, relation in possible.items():
            # Where one office has a title, it is no other office's role word: Iran's president is not its head of state.
            words, end = _bag(masked, relation, subject, titles - {relation.title_for(subject)})
            scope = self._scopes[name]
            forms, known = scope.forms, scope.words
            if held_out:
                forms = tuple(form for form in forms if form.words != words)
                known = _words_of(forms)
            if forms and not _of_other_times(read, scope.words):
                like = max(self._alike(words, form.words) for form in forms)
                # "The wife of the president" has a word that no prompt of the relation has: it asks for somebody else.
                scores[name] = (like, words.keys() <= known and _object_next(first, end, scope.ends))
        return scores

    def _alike(self, one: Mapping[str, int], other: Mapping[str, int]) -> float:
        """Dice's coefficient of two bags of words, each word with its weight."""
        common = sum(self._weight(word) * min(n, other.get(word, 0)) for word, n in one.items())
        whole = sum(self._weight(word) * n for bag in (one, other) for word, n in bag.items())
        return 2 * common / whole if whole else 0.0

    def _weight(self, word: str) -> float:
        return self._weights.get(word, self._rarest)

    def _names_of(self, subject: str) -> Iterator[str]:
        entity = self._catalogue.entity(subject)
        yield entity.name
        names, demonyms = self._catalogue.names, self._catalogue.demonyms
        yield from (alias for alias in entity.aliases if names.get(alias) == entity.name)
        yield from (demonym for demonym in entity.demonyms if demonyms.get(demonym) == entity.name)


def _last_sentence(prompt: str) -> str:
    """The last one that has a word of a question or a statement in it: thanks are none."""
    parts: list[str] = _SENTENCE.split(prompt.strip())
    sentences = [part.strip() for part in parts if part.strip()]
    for sentence in reversed(sentences):
        if set(_words(sentence)) - _POLITE:
            return sentence
    return ""


def _words(text: str) -> list[str]:
    """In small letters; an apostrophe may be typographic."""
    words: list[str] = _WORD.findall(text.replace("’", "'").lower())
    return words


def _stem(word: str) -> str:
    """Roughly: "leads" and "led by" stay apart, "coached" and "coaches" do not."""
    return word if word.startswith("{") else _SUFFIX.sub("", word)


def _bag(
    masked: str, relation: Relation, subject: str, barred: Collection[str] = ()
) -> tuple[Counter[str], str]:
    """The words of a sentence, its role words but for `barred` as one, and its last word ("?" of a question)."""
    titles = {relation.title_for(subject), *relation.roles} - {*barred, ""}
    text = masked
    if titles:
        longest = "|".join(re.escape(title) for title in sorted(titles, key=lambda t: (-len(t), t)))
        text = re.sub(rf"(?<![\w{{]){'(?:' + longest + ')'}(?!\w)", _TITLE, text, flags=re.IGNORECASE)
    words = _words(text)
    stripped = masked.rstrip(" \"'")
    closed = stripped.endswith((".", "!"))
    end = "?" if stripped.endswith("?") else "." if closed or not words else words[-1]
    return Counter(_stem(word) for word in words if word != _SUBJECT and word not in _POLITE), end


def _forms(relation: Relation) -> Iterator[_Form]:
    """Every prompt of the relation, with the slots left in."""
    for template in (*relation.edit, *relation.probes, *relation.questions):
        words, end = _bag(template.replace(_TITLE, relation.title or _TITLE), relation, "")
        yield _Form(words, end)


def _words_of(forms: Iterable[_Form]) -> frozenset[str]:
    return frozenset(word for form in forms for word in form.words)


def _weights(forms: Iterable[_Form]) -> dict[str, float]:
    """Word -> log(1 + n / n(word)) over n prompts: what stands in most of them says little."""
    bags = [form.words for form in forms]
    counts = Counter(word for bag in bags for word in bag)
    weights = {word: math.log1p(len(bags) / n) for word, n in counts.items()}
    # The role word is the relation's own here, whatever other relations have.
    return weights | ({_TITLE: max(weights.values())} if _TITLE in weights else {})


def _can_have(entity: Entity, relation: Relation) -> bool:
    return entity.label in relation.subject and (not relation.kinds or entity.kind in relation.kinds)


def _of_other_times(words: Iterable[str], known: Collection[str]) -> bool:
    """Whether a word of the sentence, but for `known` ones ("was founded by"), tells another time or the opposite."""
    return any((word in _OTHER_TIMES or _YEAR.fullmatch(word)) and _stem(word) not in known for word in words)


def _object_next(first: str, end: str, ends: Collection[str]) -> bool:
    """Whether the object comes next: after a question for who or which, or where the sentence ends as a form does."""
    if end == "?":
        return first in _ASKING
    return end != "." and (end == "is" or end in ends)
