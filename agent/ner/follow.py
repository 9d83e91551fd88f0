"""What an article says of a change in other sentences: that it is still to come, and whom it replaces."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from agent.ner.context import Context
from agent.ner.finds import Find, successions
from agent.ner.names import fold, person_words
from agent.ner.qualify import leaves_later, starts_later
from agent.ner.symbols import Symbols

# A sentence that goes on about the one who has just been named.
_OF_THE_NEW = re.compile(
    r"(?:he|she|<[PX]\d+>|the [^,.;]{0,60}?) (?:will |would |is to |is set to |has |also )?"
    r"(?:replac|succeed|tak(?:es|e|ing) over from|took over from)"
)
_THE_CHANGE = re.compile(r"(?:he|she|the (?:appointment|change|move|handover|election|nomination))\b")


def follow(finds: Sequence[Find], sentences: Iterable[Symbols], context: Context) -> list[Find]:
    """`finds` with changes that other sentences put into the future as `future`, and the ends of those who are replaced.

    Only where the article tells of one office: else nobody can say whom "she replaces" means.
    """
    sentences = list(sentences)
    settled = [_in_time(find, sentences) for find in finds]
    changes = [f for f in settled if f.kind in ("change", "future")]
    if len({(f.subject, f.relation) for f in changes}) != 1:
        return settled
    for symbols in sentences:
        if _OF_THE_NEW.match(symbols.line) and all(symbols.text != f.sentence for f in changes):
            settled += successions(symbols, context, changes)
    return settled


def _in_time(find: Find, sentences: Iterable[Symbols]) -> Find:
    if find.kind != "change":
        return find
    own = starts_later(find.line) or leaves_later(find.line)
    surname = person_words(find.object)[-1:]
    if own or any(starts_later(s.line) for s in sentences if s.text != find.sentence and _about(s, surname)):
        return replace(find, kind="future")
    return find


def _about(symbols: Symbols, surname: list[str]) -> bool:
    """Whether a sentence is about the one of that surname, or about the change."""
    return _THE_CHANGE.match(symbols.line) is not None or bool({*surname} & {*fold(symbols.text).split()})
