"""Names as strings: one spelling for comparison, titles and legal endings off, and when two names are one
person."""

from __future__ import annotations

import difflib
import re
import unicodedata


def word_set(text: str) -> frozenset[str]:
    """The words of `text` as a set; for the short word lists that belong with the code."""
    return frozenset(text.split())


_TYPOGRAPHIC = str.maketrans(
    {
        **dict.fromkeys("’‘‛ʼ`´", "'"),
        **dict.fromkeys("“”„«»", '"'),
        **dict.fromkeys("‐‑−", "-"),
        **dict.fromkeys("\u00a0\u2009\u202f\u200b\ufeff\t\n\r", " "),
    }
)
_BARRED = str.maketrans("øØłŁđĐıħ", "oOlLdDih")
TITLES = word_set(
    "mr mrs ms miss dr prof professor sir dame lord lady king queen prince princess president chancellor "
    "premier pope sheikh emperor sultan emir general gen col maj rev judge justice senator sen rep "
    "representative gov governor mayor doctor king. hon the"
)
_SUFFIXES = word_set("jr sr ii iii iv")
# What a company is called when its name is not repeated ("the Basel-based [drugmaker]").
COMPANY_WORDS = (
    r"(?:company|group|firm|bank|lender|insurer|reinsurer|[a-z]*maker|airline|carrier|retailer|grocer|brewer|distiller|miner|driller|"
    r"refiner|utility|start-?up|giant|manufacturer|producer|supplier|operator|developer|publisher|broadcaster|broker|brokerage|"
    r"exchange|conglomerate|chain|builder|designer|shipper|contractor|corporation|studio|cooperative|fund|house|"
    r"label|seller|owner|business|body|agency|organi[sz]ation|federation|charity|regulator|bourse|association|think-tank)"
)
PARTICLES = word_set(
    "de da do dos das dei degli del della di la le les van von der den ten ter bin ibn al el y e zu af av"
)
_LEGAL = word_set(
    "inc corp corporation co cos company ltd limited llc llp lp plc ag se sa nv spa s.p.a gmbh ab asa oyj "
    "as a/s bhd tbk kk s.a n.v pty sab"
)


def plain(text: str) -> str:
    """`text` with typographic quotes, hyphens and spaces as ASCII ones; the length never changes, so offsets
    stay valid."""
    return text.translate(_TYPOGRAPHIC)


def has_phrase(text: str, phrase: str) -> bool:
    """Whether `phrase` stands in `text` as whole words, letter case counting."""
    start = text.find(phrase)
    while start >= 0:
        end = start + len(phrase)
        if not text[max(0, start - 1) : start].isalnum() and not text[end : end + 1].isalnum():
            return True
        start = text.find(phrase, start + 1)
    return False


def without_accents(text: str) -> str:
    """`text` in plain Latin letters, case kept: `Łódź` -> `Lodz`."""
    if text.isascii():
        return text
    letters = unicodedata.normalize("NFKD", text.translate(_BARRED))
    return "".join(c for c in letters if not unicodedata.combining(c))


def fold(name: str) -> str:
    """For comparison only: no case, accents, dots or hyphens. `José-María` and `Jose Maria` fold alike."""
    bare = without_accents(plain(name)).casefold()
    return " ".join(re.sub(r"[^\w']+", " ", bare.replace(".", "")).split())


def strip_titles(name: str) -> str:
    """`President Donald Trump` -> `Donald Trump`; a title alone before one word stays (`King Charles`)."""
    words = name.split()
    while len(words) > 2 and words[0].lower().rstrip(".") in TITLES:
        words = words[1:]
    if len(words) == 2 and words[0].lower().rstrip(".") in TITLES - {
        "king",
        "queen",
        "pope",
        "prince",
        "princess",
        "emperor",
    }:
        words = words[1:]
    return " ".join(words)


def strip_legal(name: str) -> str:
    """`Estée Lauder Cos.` -> `Estée Lauder`; a leading article goes too."""
    words = name.replace(",", " ").split()
    while len(words) > 1 and words[-1].lower().rstrip(".") in _LEGAL:
        words = words[:-1]
    if len(words) > 1 and words[0].lower() == "the":
        words = words[1:]
    if words and words[-1] == "&":
        words = words[:-1]
    return " ".join(words)


def person_words(name: str) -> list[str]:
    """Folded words of a person's name without titles, middle initials and Jr."""
    words = [w for w in fold(strip_titles(plain(name))).split() if w not in _SUFFIXES]
    inner = [w for w in words[1:-1] if len(w) > 1]
    return [words[0], *inner, words[-1]] if len(words) > 1 else words


def same_person(a: str, b: str) -> bool:
    """Whether two spellings can be one person inside one article: equal, a short form of the other, or a
    variant spelling.

    >>> same_person("José Raúl Mulino", "Jose Mulino"), same_person("Starmer", "Keir Starmer"),
    same_person("Zelensky", "Zelenskiy") (True, True, True)
    """
    left, right = person_words(a), person_words(b)
    if not left or not right:
        return False
    if left == right or _letters(a) == _letters(b):
        return True
    short, full = sorted((left, right), key=len)
    while len(short) > 1 and short[0] in PARTICLES:  # a surname alone: "van der Meulen"
        short = short[1:]
    if len(short) == 1:
        return any(_alike(short[0], w) for w in (full[-1], full[0])) or short[0] in full
    if not _alike(short[-1], full[-1]):
        return set(short) <= set(full)
    given, other = sorted((short[0], full[0]), key=len)
    return given == other or (len(given) == 1 and other.startswith(given)) or _nickname(given, other)


def variant_of(a: str, b: str) -> bool:
    """Whether two full names are spellings of one: same given name, all but the same surname (`Zelensky`,
    `Zelenskyy`)."""
    left, right = person_words(a), person_words(b)
    if len(left) < 2 or len(right) < 2:
        return False
    if _letters(a) == _letters(b):
        return True
    if left[0] == right[0]:
        return _alike(left[-1], right[-1])
    return left[-1] == right[-1] and _nickname(left[0], right[0])


def _letters(name: str) -> str:
    return fold(strip_titles(plain(name))).replace(" ", "")


def _alike(a: str, b: str) -> bool:
    if a == b:
        return True
    return min(len(a), len(b)) > 5 and a[:4] == b[:4] and difflib.SequenceMatcher(None, a, b).ratio() >= 0.85


_SHORT_FORMS = frozenset(
    tuple(pair.split())
    for pair in [
        "andy andrew",
        "bob robert",
        "rob robert",
        "bill william",
        "will william",
        "jim james",
        "joe joseph",
        "mike michael",
        "tom thomas",
        "dan daniel",
        "dave david",
        "steve steven",
        "steve stephen",
        "chris christopher",
        "nick nicholas",
        "tony anthony",
        "ed edward",
        "ted edward",
        "ben benjamin",
        "sam samuel",
        "alex alexander",
        "matt matthew",
        "tim timothy",
        "pete peter",
        "ken kenneth",
        "greg gregory",
        "jeff jeffrey",
        "ron ronald",
        "don donald",
        "liz elizabeth",
        "kate katherine",
        "sue susan",
        "josh joshua",
        "max maximilian",
        "vlad vladimir",
    ]
)


def _nickname(a: str, b: str) -> bool:
    return (a, b) in _SHORT_FORMS or (b, a) in _SHORT_FORMS
