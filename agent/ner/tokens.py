"""Sentences and words by rule, with character offsets: enough to find candidates before spaCy has to look at
anything."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent.ner.names import word_set

_ABBREVIATED = word_set(
    "mr mrs ms dr prof st jr sr gov sen rep gen col capt lt sgt inc corp co cos ltd plc bros no vs u.s u.k "
    "e.g i.e jan feb mar apr jun jul aug sep sept oct nov dec fmr dept univ mt ft sec rev hon"
)
_WORD = re.compile(
    r"(?:[^\W\d_]\.){2,}"  # U.S., T.W.
    r"|'s\b"
    r"|[^\W\d_](?:[^\W_]*)(?:[&/+.\-'][^\W_]+)*"  # O'Neill, Secretary-General, J&J, Smith+Nephew
    r"|\d+(?:[.,:]\d+)*[^\W\d_]*(?:-[^\W_]+)*|[^\s]"
)
_BREAK = re.compile(
    r"[.!?…][\"')\]]*(?=\s+[\"'(\[]*[^\W\da-z_]|$)|(?<=[a-z\d)])[.!?](?=[A-Z][a-z])|\s[|•]\s|"
    r"\s\d[.)]\s(?=[A-Z])|;\s"
)
# Cut before `-based` and after `ex-`, so that the name inside can be found.
_COMPOUND = re.compile(
    r"(?i)(.+)(-(?:based|headquartered|listed|backed|owned|born|led|linked|era|endorsed|appointed|trained|"
    r"run|controlled|elect|designate))$|(ex-|then-|former-|now-)(.+)$|(US|UK|EU|U\.S)(-.+)$"
)


# "LONDON, Aug 19 : ", "PARIS (Reuters) - ", "Aug 20 : ", "(Harbour Wire) OSLO - " before a story.
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|June?|July?|Aug|Sept?|Oct|Nov|Dec)[a-z]*\.?"
_DATELINE = re.compile(
    rf"\s*(?:\([^)]{{2,30}}\)\s+)?(?:[A-Z][A-Z.'/-]*(?: [A-Z][A-Z.'/-]*){{0,3}}(?:, [A-Z][\w.]*(?: "
    rf"[A-Z][\w.]*)?)?"
    rf"(?:,? {_MONTH} \d{{1,2}})?|{_MONTH} \d{{1,2}})\s*(?:\([^)]{{2,30}}\)\s*)?(?:-{{1,2}}|[–—:])\s+"
)


# "iPhone", "eBay", "al-Ahmad", "d'Arcy".
_INNER_CAPITAL = re.compile(r"[^\W\d_][A-Z]\w|(?:[ae]l|a[dnrstz]|ash|ul|bin|ibn|abu|[dlo])[-'][^\W\d_a-z]")


@dataclass(frozen=True, slots=True)
class Token:
    """A word or a sign, `[start, end)` in the text it was cut from."""

    text: str
    start: int
    end: int

    @property
    def capital(self) -> bool:
        return self.text[0].isupper() or _INNER_CAPITAL.match(self.text) is not None


def without_dateline(text: str) -> str:
    """`text` without the place, date and agency that wires put before the first sentence."""
    match = _DATELINE.match(text)
    return text[match.end() :] if match and match.end() < 80 else text


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Borders of the sentences of `text`. Feeds often lack the space after a full stop ("his club.Rashford
    is")."""
    borders, start = [], 0
    for match in _BREAK.finditer(text):
        before = text[start : match.start()].rsplit(None, 1)[-1:] or [""]
        word = before[0].lower().lstrip("\"'([")
        if match.group()[0] == "." and (word in _ABBREVIATED or re.fullmatch(r"(?:[a-z]\.)*[a-z]", word)):
            continue
        borders.append((start, match.end()))
        start = match.end()
    borders.append((start, len(text)))
    return [(a, b) for a, b in borders if text[a:b].strip()]


def tokenize(text: str) -> list[Token]:
    """Words, signs and the possessive `'s` of `text`. A dot stays with an abbreviation or initial."""
    tokens: list[Token] = []
    for match in _WORD.finditer(text):
        word, start, end = match.group(), match.start(), match.end()
        if len(word) > 2 and word[-2:].lower() == "'s":
            tokens += [Token(word[:-2], start, end - 2), Token("'s", end - 2, end)]
        elif word == "'" and tokens and tokens[-1].end == start and tokens[-1].text[-1] in "sxz":
            tokens.append(Token("'s", start, end))
        elif word == "." and tokens and tokens[-1].end == start and _takes_dot(tokens[-1].text):
            last = tokens.pop()
            tokens.append(Token(last.text + ".", last.start, end))
        elif "-" in word and (cut := _COMPOUND.match(word)):
            left, right = (g for g in cut.groups() if g)
            middle = start + len(left)
            right, middle = (right[1:], middle + 1) if right[0] == "-" and cut[5] else (right, middle)
            tokens += [Token(left, start, start + len(left)), Token(right, middle, end)]
        elif "/" in word and all(len(part) < 4 for part in word.split("/")):
            tokens += _split_slash(word, start)
        else:
            tokens.append(Token(word, start, end))
    return tokens


def _takes_dot(word: str) -> bool:
    return word.lower() in _ABBREVIATED or (len(word) == 1 and word.isupper())


def _split_slash(word: str, start: int) -> list[Token]:
    tokens: list[Token] = []
    for number, part in enumerate(word.split("/")):
        if number:
            tokens.append(Token("/", start, start + 1))
            start += 1
        if part:
            tokens.append(Token(part, start, start + len(part)))
            start += len(part)
    return tokens
