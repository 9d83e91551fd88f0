"""What a language model says about an article -> claims, each held against the article's own words.

A model can invent, and an article can tell it to. So nothing is taken that cannot be found again: the quote
stands in the article, the object in the quote, the subject in the article, and names go through the same
linker as the rules'. What fails any of it is dropped, and counted by reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from agent.ner.claims import MAX_SENTENCE, claim_id
from agent.ner.lexicon import Lexicon
from agent.ner.linking import Linker, Reading, display_name
from agent.ner.names import fold, has_phrase, person_words, plain, same_person, strip_legal
from agent.ner.people import belongs
from agent.ner.prompt import FIELDS, KINDS, Page
from agent.ner.qualify import past_date
from agent.ner.roles import RoleBook
from agent.ner.tokens import split_sentences, tokenize
from agent.relations import Relation
from agent.types import Article, Claim, ClaimKind

# Below every claim of the rules, whose least certain ones are at about 0.3.
_LINKED_SCORE, _UNLINKED_SCORE = 0.25, 0.2
_MAX_ITEMS = 40
_MAX_NAME = 100
_EDGES = " \"'.…,;:"
_POSSESSIVE = re.compile(r"'s?(?!\w)")
_NAME_WORD = re.compile(r"[^\W\d_][\w'.-]*")


class _Drop(Exception):
    """Why a claim is not taken, inside this module only."""


@dataclass(frozen=True, slots=True)
class Checker:
    """Everything that checking needs. `relations` are those the model was asked for, `known` the catalogue's
    facts by (subject, relation)."""

    linker: Linker
    book: RoleBook
    lexicon: Lexicon
    relations: Mapping[str, Relation]
    known: Mapping[tuple[str, str], tuple[str, ...]]

    def claims(self, answer: Any, page: Page, article: Article) -> tuple[list[Claim], Counter[str]]:
        """The claims of an answer that hold, each once, and how many were dropped for which reason. Any JSON
        value may come; nothing is raised."""
        items = answer.get("claims") if isinstance(answer, dict) else answer
        if not isinstance(items, list):
            return [], Counter(["not in the form asked for"])
        dropped: Counter[str] = Counter()
        if len(items) > _MAX_ITEMS:
            dropped["too many"] = len(items) - _MAX_ITEMS
        found: dict[str, Claim] = {}
        for item in items[:_MAX_ITEMS]:
            try:
                claim = self._claim(item, page, article)
                if claim.id in found:
                    raise _Drop("said twice")
                found[claim.id] = claim
            except _Drop as reason:
                dropped[str(reason)] += 1
        return list(found.values()), dropped

    def _claim(self, item: Any, page: Page, article: Article) -> Claim:
        if not isinstance(item, dict) or not all(isinstance(item.get(key), str) for key in FIELDS):
            raise _Drop("not in the form asked for")
        quote, name, subject, object_, kind = (" ".join(plain(item[key]).split()) for key in FIELDS)
        relation = self.relations.get(name)
        if relation is None:
            raise _Drop("unknown relation")
        if kind not in KINDS:
            raise _Drop("unknown kind")
        sentence = _sentence(quote.strip(_EDGES), page)
        if not _stands_in(object_, quote):
            raise _Drop("object not in the quote")
        reading = self._subject(subject, relation, page)
        holder = self._object(object_, relation, reading, page)
        if fold(holder) == fold(reading.name):
            raise _Drop("subject and object are one")
        if self._is_other_office(sentence, relation, reading):
            raise _Drop("another office")
        dated = None if kind == "state" else past_date(sentence, article.published_at)
        said = (reading.name, relation.name, holder)
        return Claim(
            claim_id(article.id, *said, kind),
            *said,
            kind=cast(ClaimKind, kind),
            article_id=article.id,
            sentence=sentence,
            as_of=dated or article.published_at,
            score=_LINKED_SCORE if reading.kind else _UNLINKED_SCORE,
        )

    def _subject(self, name: str, relation: Relation, page: Page) -> Reading:
        """What the subject denotes; the article must have a word for it."""
        bare = strip_legal(name.removesuffix("'s"))
        if not any(c.isupper() for c in bare) or len(bare) > _MAX_NAME:
            raise _Drop("not a name")
        readings = [r for r in self.linker.readings(bare) if not r.metonym]
        fitting = {r.name: r for r in readings if _fits(r, relation)}
        if not fitting and "central_bank" in relation.kinds:
            fitting = {bank.name: bank for r in readings if (bank := self._bank_of(r))}
        if len(fitting) > 1:
            raise _Drop("homonym")
        verbatim = _stands_in(bare, page.title) or _stands_in(bare, page.text)
        if not verbatim and not (len(readings) == 1 and self._is_called(readings[0].name, page)):
            raise _Drop("subject not in the article")
        if fitting:
            return next(iter(fitting.values()))
        silent = bare in self.lexicon.lists["media"] or bare in self.lexicon.lists["no_subjects"]
        if readings or silent or "ORG" not in relation.subject or self.linker.link_person(bare).entity:
            raise _Drop("of the wrong sort")
        return Reading(_as_written(bare, page, "subject not in the article"), "", "ORG")

    def _bank_of(self, reading: Reading) -> Reading | None:
        """The bank that is meant where a country's central bank is spoken of."""
        if reading.kind != "country":
            return None
        return Reading(self.linker.central_bank(reading.name), "central_bank", "ORG")

    def _is_called(self, entity: str, page: Page) -> bool:
        """Whether some form in the article means that entity and no other: "Japanese" where Japan is named."""
        matches = (m for part in (page.title, page.text) for m in self.linker.find(tokenize(part)))
        return any(
            {r.name for r in m.readings} == {entity} and not any(r.metonym for r in m.readings)
            for m in matches
        )

    def _object(self, name: str, relation: Relation, subject: Reading, page: Page) -> str:
        """The object's canonical name; a name that nobody has catalogued stays as it is."""
        if relation.object == ("PERSON",):
            return self._person(name, subject, page)
        bare = strip_legal(name.removesuffix("'s"))
        readings = [r for r in self.linker.readings(bare) if not r.demonym and not r.metonym]
        fitting = {
            r.name for r in readings if r.label in relation.object and r.kind not in ("country", "region")
        }
        if len(fitting) > 1:
            raise _Drop("homonym")
        if fitting:
            return fitting.pop()
        if self.linker.readings(bare) or (
            "PERSON" not in relation.object and self.linker.link_person(bare).entity
        ):
            raise _Drop("of the wrong sort")
        if not any(c.isupper() for c in bare) or len(bare) > _MAX_NAME:
            raise _Drop("not a name")
        return _as_written(bare, page, "object not in the article")

    def _person(self, name: str, subject: Reading, page: Page) -> str:
        shown = display_name(self._without_role(name))
        if not _like_a_person(shown):
            raise _Drop("not a name")
        readings = self.linker.readings(shown)
        if readings and all(r.label != "PERSON" for r in readings):
            raise _Drop("of the wrong sort")
        if len(person_words(shown)) == 1:
            shown = self._in_full(shown, page)
        link = self.linker.link_person(shown)
        if len(person_words(shown)) == 1:
            if link.entity and (
                fold(link.entity) == fold(shown)
                or belongs(link.entity, subject.name, self.linker, self.known)
            ):
                return link.entity
            raise _Drop("a surname alone")
        if link.entity is None and " can be " in link.reason:
            raise _Drop("homonym")
        return link.entity or _as_written(shown, page, "object not in the article")

    def _without_role(self, name: str) -> str:
        """`Prime Minister Aiko Mori` -> `Aiko Mori`."""
        tokens = tokenize(name)
        ends = [m.end for m in self.book.find(tokens) if m.start == 0 and m.end < len(tokens)]
        return name[tokens[ends[0]].start :] if ends else name

    def _in_full(self, surname: str, page: Page) -> str:
        """The one full name that the article gives to a surname, else the surname."""
        before = re.compile(rf"(?<![\w'])([^\W\d_a-z][\w.-]*) {re.escape(surname)}(?!\w)")
        given = {m[1] for part in (page.title, page.text) for m in before.finditer(part)}
        full = {
            f"{first} {surname}"
            for first in given
            if not self.lexicon.is_common(first.lower())
            and not self.book.trigger.search(first)
            and not self.linker.readings(first)
        }
        full = {display_name(name) for name in full}
        return full.pop() if len(full) == 1 else surname

    def _is_other_office(self, sentence: str, relation: Relation, subject: Reading) -> bool:
        """Whether all roles of the sentence are other offices of this subject: Iran's president leads its
        government, Germany's does not."""
        roles = {role for match in self.book.find(tokenize(sentence)) for role in match.roles}
        offices = {r.name for role in roles if (r := self.book.relation(role, subject))}
        return bool(relation.roles) and bool(offices) and relation.name not in offices


def union(
    rules: Sequence[Claim], model: Sequence[Claim], relations: Mapping[str, Relation]
) -> tuple[list[Claim], Counter[str]]:
    """The claims of one article by either reader, and how many of the model's were dropped for which reason.

    Where both say the same, the claim is the rules' and its score rises half way to 1. Where the rules read the
    same people in another way, or another holder in the same way, they are believed.
    """
    merged = {claim.id: claim for claim in rules}
    dropped: Counter[str] = Counter()
    for claim in model:
        rivals = [r for r in rules if (r.subject, r.relation) == (claim.subject, claim.relation)]
        same = [r for r in rivals if r.object == claim.object or _one_person(r, claim, relations)]
        agreed = [r for r in same if r.kind == claim.kind]
        single = relations[claim.relation].cardinality == "one"
        if agreed:
            merged |= {r.id: replace(r, score=round((1 + r.score) / 2, 2)) for r in agreed}
        elif same or (single and any(r.kind == claim.kind for r in rivals)):
            dropped["the rules read it otherwise"] += 1
        else:
            merged[claim.id] = claim
    return list(merged.values()), dropped


def _one_person(a: Claim, b: Claim, relations: Mapping[str, Relation]) -> bool:
    return "PERSON" in relations[a.relation].object and same_person(a.object, b.object)


def _fits(reading: Reading, relation: Relation) -> bool:
    if reading.label not in relation.subject or (reading.demonym and reading.label != "GPE"):
        return False
    return not reading.kind or not relation.kinds or reading.kind in relation.kinds


def _like_a_person(name: str) -> bool:
    words = name.split()
    if not 1 <= len(words) <= 6 or not 3 <= len(name) <= _MAX_NAME:
        return False
    return all(_NAME_WORD.fullmatch(w) for w in words) and any(c.isupper() for c in words[-1])


def _stands_in(name: str, text: str) -> bool:
    """Whether the words of `name` stand in `text` one after the other, case, accents and possessives aside."""
    words = _words(name)
    return bool(words.strip()) and words in _words(text)


def _words(text: str) -> str:
    bare = _POSSESSIVE.sub(" ", plain(text))
    return f" {' '.join(fold(bare).split())} "


def _as_written(name: str, page: Page, reason: str) -> str:
    """A name that nobody has catalogued counts letter by letter as the article has it."""
    if not (has_phrase(page.title, name) or has_phrase(page.text, name)):
        raise _Drop(reason)
    return name


def _sentence(quote: str, page: Page) -> str:
    """The sentences of the article that the quote stands in, whole: a cut one may say the opposite."""
    for part in (page.title, page.text):
        start = part.find(quote) if quote else -1
        if start >= 0:
            end = start + len(quote)
            around = [(a, b) for a, b in split_sentences(part) if a < end and b > start]
            return part[around[0][0] : around[-1][1]].strip()[:MAX_SENTENCE] if around else quote
    raise _Drop("quote not in the article")
