"""Tokens to text as they come: no half of a character is let out, and nothing that may be the beginning of a stop string."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# What a tokenizer shows for bytes that are no character, or not yet.
_HALF = "\ufffd"


class Detokeniser:
    """The text of one answer, token by token. What `add` and `rest` return, put together, is the text.

    `before`: the last tokens in front of the answer; some tokenizers write a space between two words only where they see both.
    Only the last few tokens are decoded again: what one token is as text depends on its neighbours, not on the whole answer.
    """

    def __init__(self, tokenizer: Any, before: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._ids = list(before)
        self._from = 0
        self._known_to = len(self._ids)
        self._known = self._decoded(0)

    def add(self, token: int) -> str:
        """The text that is settled by this token; empty while a character is incomplete."""
        self._ids.append(token)
        text = self._decoded(self._from)
        if text.endswith(_HALF) or len(text) <= len(self._known):
            return ""
        return self._settle(text)

    def rest(self) -> str:
        """What was held back, when no token follows any more."""
        return self._settle(self._decoded(self._from))

    def _settle(self, text: str) -> str:
        new = text[len(self._known) :]
        self._from, self._known_to = self._known_to, len(self._ids)
        self._known = self._decoded(self._from)
        return new

    def _decoded(self, start: int) -> str:
        return str(self._tokenizer.decode(self._ids[start:], skip_special_tokens=True))


class StopStrings:
    """Text that passes until one of `stops` occurs; neither the stop string nor what is behind it gets through.

    `stripped`: leave out the white space before the first word.
    """

    def __init__(self, stops: Sequence[str], *, stripped: bool = False) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self._stripped = stripped
        self.stopped = False

    def add(self, text: str) -> str:
        """What may be let out now. After a stop nothing is."""
        if self.stopped:
            return ""
        self._held += text
        found = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            return self._let_out(min(found))
        return self._let_out(len(self._held) - self._beginning())

    def rest(self) -> str:
        """What was held back as a possible beginning of a stop string, when no text follows any more."""
        return "" if self.stopped else self._let_out(len(self._held))

    def _beginning(self) -> int:
        """The length of the longest end of the held text that a stop string begins with."""
        lengths = (
            n
            for stop in self._stops
            for n in range(min(len(stop) - 1, len(self._held)), 0, -1)
            if self._held.endswith(stop[:n])
        )
        return max(lengths, default=0)

    def _let_out(self, end: int) -> str:
        text, self._held = self._held[:end], self._held[end:]
        if self._stripped:
            text = text.lstrip()
            self._stripped = not text
        return text
