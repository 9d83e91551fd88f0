"""spaCy Doc -> mentions: what the recogniser sees, overridden by what the catalogue knows exactly."""

from __future__ import annotations

from collections.abc import Sequence

from spacy.tokens import Doc

from agent.ner.linking import Linker, Match
from agent.ner.names import plain, strip_legal, strip_titles
from agent.ner.tokens import Token, tokenize
from agent.types import Mention

_LABELS = {"PERSON": "PERSON", "PER": "PERSON", "ORG": "ORG", "GPE": "GPE", "LOC": "LOC", "FAC": "LOC"}


def find_mentions(doc: Doc, linker: Linker) -> tuple[Mention, ...]:
    """Mentions of `doc` in text order, without overlap; offsets are characters of `doc.text`.

    An exact form of the catalogue wins over the recogniser, unless the recogniser sees a longer name around
    it ("Paris" in "Paris Hilton"). A homonym stays unlinked.
    """
    text = plain(doc.text)
    tokens = tokenize(text)
    exact = linker.find(tokens)
    spans = [(e.start_char, e.end_char, _LABELS[e.label_]) for e in doc.ents if e.label_ in _LABELS]
    mentions = [_exact_mention(m, tokens, text) for m in exact if not _inside_longer(m, tokens, spans, text)]
    for start, end, label in spans:
        if not any(start < m.end and m.start < end for m in mentions):
            name = text[start:end]
            link = linker.link(strip_titles(name) if label == "PERSON" else strip_legal(name), label)
            mentions.append(Mention(doc.text[start:end], label, start, end, link.entity))
    return tuple(sorted(mentions, key=lambda m: m.start))


def _exact_mention(match: Match, tokens: Sequence[Token], text: str) -> Mention:
    start, end = tokens[match.start].start, tokens[match.end - 1].end
    names = {r.name for r in match.readings}
    entity = next(iter(names)) if len(names) == 1 else None
    return Mention(text[start:end], match.readings[0].label, start, end, entity)


def _inside_longer(
    match: Match, tokens: Sequence[Token], spans: Sequence[tuple[int, int, str]], text: str
) -> bool:
    start, end = tokens[match.start].start, tokens[match.end - 1].end
    for s, e, label in spans:
        if s <= start and end <= e and (s, e) != (start, end):
            rest = strip_legal(text[s:e])
            if rest != text[start:end] and (label == "PERSON" or match.readings[0].label != label):
                return True
    return False
