"""What the small recogniser should not have said, put right by rule: addresses, file names and everyday words are no names, and a
place that everybody knows is a place.

The pipe `factd_tidy` stands behind the embedded recogniser; a larger pipeline needs none of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc, Span, Token

from agent.ner.lexicon import Lexicon, load_lexicon
from agent.ner.names import word_set

# Addresses, files, numbers, lines of signs.
_NO_NAME = re.compile(
    r"(?i).*(?:@|://|www\.|_{2,}|\.(?:com|org|net|htm|html|pdf|docx?|xls|jpe?g|gif|txt|zip)\b).*|[\W\d_]+"
)
_GREETINGS = word_set(
    "hey hi hello dear both thanks contact e-mail email tel fax cell phone attn cc re fwd from to and or the but"
)
_TAILS = word_set("- -- : , . ! ? ( ) / & and or analyst location phone fax tel email she he")
_SHOUTS = word_set(
    "lol lmao omg wow yay nope yep heh asap fyi btw imo faq diy dvd vhs usb gps tv pc ceo cfo md phd bc ad pm am est cdt cst pst edt utc "
    "gmt irr rfp ipo lng gdp adhd dna hiv aids suv atm mri url html pdf vii viii xii iii iv vi ix"
)
_MAYBE_COUNTRY = re.compile(r"\bU\.?[SKA]")
_COUNTRIES = word_set("us u.s. u.s usa u.s.a. uk u.k. u.k uae")


@Language.factory("factd_tidy", assigns=["doc.ents"])
def make_tidy(nlp: Language, name: str) -> Tidy:
    """The pipe `factd_tidy`; importing this module registers it with spaCy."""
    return Tidy(load_lexicon())


class Tidy:
    """Drops, trims and relabels the entities of a doc, and adds the abbreviations of a few countries."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._places = _places(lexicon)

    def __call__(self, doc: Doc) -> Doc:
        kept = [span for ent in doc.ents if (span := self._trimmed(ent)) is not None and self._is_name(span)]
        taken = {i for span in kept for i in range(span.start, span.end)}
        names_one = _MAYBE_COUNTRY.search(doc.text) is not None
        added = (
            [Span(doc, t.i, t.i + 1, "GPE") for t in doc if t.i not in taken and _is_country(t)]
            if names_one
            else []
        )
        doc.set_ents(sorted([self._labelled(span) for span in kept] + added, key=lambda s: s.start))
        return doc

    def _trimmed(self, span: Span) -> Span | None:
        start, end = span.start, span.end
        while start < end and span.doc[start].lower_ in _GREETINGS:
            start += 1
        while start < end and (
            span.doc[end - 1].lower_ in _TAILS or (end - start > 1 and span.doc[end - 1].lower_ == "'s")
        ):
            end -= 1
        return Span(span.doc, start, end, span.label_) if start < end else None

    def _is_name(self, span: Span) -> bool:
        text = span.text
        if _NO_NAME.fullmatch(text) or (len(span) == 1 and text.lower() in _SHOUTS):
            return False
        if text.islower():
            return not all(self._lexicon.is_common(t.lower_) for t in span if t.is_alpha)
        return not (len(span) == 1 and span.label_ != "ORG" and self._opens_with_a_word(span))

    def _opens_with_a_word(self, span: Span) -> bool:
        """A capital that only the beginning of the sentence explains."""
        word = span[0]
        return bool(word.is_sent_start) and self._lexicon.is_frequent(word.lower_)

    def _labelled(self, span: Span) -> Span:
        label = self._places.get(span.text.casefold())
        return Span(span.doc, span.start, span.end, label) if label and span.label_ != label else span

    def pipe(self, stream: Iterable[Doc], batch_size: int = 0) -> Iterator[Doc]:
        return (self(doc) for doc in stream)

    def to_disk(self, path: Any, exclude: object = ()) -> None:
        """Nothing to save: the lists ship with the package."""

    def from_disk(self, path: Any, exclude: object = ()) -> Tidy:
        return self


def _is_country(token: Token) -> bool:
    return token.lower_ in _COUNTRIES and token.text.isupper()


def _places(lexicon: Lexicon) -> Mapping[str, str]:
    """Places that are nobody's name, by casefolded form."""
    names = (*lexicon.regions, *lexicon.regions.values(), *lexicon.lists["cities"])
    people = lexicon.first | lexicon.last
    return {folded: "GPE" for folded in map(str.casefold, names) if folded not in people}
