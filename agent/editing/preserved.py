"""What must not move where there is no catalogue to say so: names that the model brings up by itself.

A model left to write names what it knows. The keys at those names are what an edit should leave alone (with a catalogue,
`agent.material.preserve_texts` has the names and the prompts that matter).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from agent.editing.corpus import own_samples
from agent.editing.keys import SubjectText
from agent.lm.load import LM

_NAME = re.compile(r"[^\W\d_a-z][\w'’-]+(?: [^\W\d_a-z][\w'’-]+)*")
_SAMPLES, _TOKENS, _MOST_SAMPLES = 128, 40, 1024


def own_names(lm: LM, limit: int, seed: int, without: Collection[str] = ()) -> tuple[SubjectText, ...]:
    """Up to `limit` beginnings of own samples, each up to the end of a name in it; a function of its arguments.

    Capitalised words count as names, and where the model writes none, any word. Texts that tell of one of `without` are left out:
    their keys are to move.
    """
    found: dict[str, SubjectText] = {}
    if limit == 0:
        return ()
    for number in range(_MOST_SAMPLES // _SAMPLES):
        before = len(found)
        for text in own_samples(lm, _SAMPLES, _TOKENS, seed + number):
            if not any(subject in text for subject in without):
                found.update((cut.text, cut) for cut in _cuts(text))
        if len(found) >= limit or len(found) == before:
            break
    return tuple(found.values())[:limit]


def _cuts(text: str) -> Iterator[SubjectText]:
    """The first word of a text is no name: it was given, and a sentence begins with any word."""
    names = [match for match in _NAME.finditer(text) if match.start() > 0]
    for match in names or [m for m in re.finditer(r"\w+", text) if m.start() > 0]:
        yield SubjectText(text[: match.end()], match.group())
