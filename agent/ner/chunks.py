"""Runs of tokens that name something: exact matches, the recogniser's spans and capitalised words, settled
and joined."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.ner.lexicon import Lexicon
from agent.ner.linking import Linker, Match, Reading
from agent.ner.names import PARTICLES, TITLES, strip_legal, word_set
from agent.ner.qualify import MODIFIERS
from agent.ner.roles import RoleMatch
from agent.ner.tokens import Token

_ORG_HEADS = word_set(
    "academy bank department university institute ministry association bureau house board council office "
    "federation union college school society commission committee organization organisation agency "
    "authority museum chamber league church court confederation center centre fund library order republic "
    "administration"
)
QUALIFIES = re.compile(MODIFIERS)
NAMEABLE = word_set(
    "new first national global federal group republican democratic liberal conservative young popular"
)
_LEGAL = word_set("inc. inc corp. corp corporation co. cos. ltd. ltd plc llc ag se sa nv limited")
_INSIDE_NAMES = word_set("of and the for in on at to & 's")
# Nouns that stand before a company's name, with a capital where they open a headline.
_SORT = re.compile(
    r"[a-z]+maker|(?:re)?insurer|retailer|lender|brewer|miner|grocer|distiller|broadcaster|airline|start-?up"
)
Ent = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class Symbol:
    """What stands for tokens `[start, end)`: a letter, the text, a name's readings, a role's words."""

    letter: str
    start: int
    end: int
    text: str
    readings: tuple[Reading, ...] = ()
    roles: tuple[str, ...] = ()


def exact_matches(linker: Linker, tokens: Sequence[Token], roles: Sequence[RoleMatch]) -> list[Match]:
    """Exact matches; where one and a role overlap, the one that holds the other stays, else the role ("US
    [Treasury Secretary]")."""
    kept: list[Match] = []
    for match in linker.find(tokens):
        clash = [r for r in roles if r.start < match.end and match.start < r.end]
        if (
            clash
            and clash[0].start == match.start
            and clash[0].end < match.end
            and match.readings[0].label == "PERSON"
        ):
            kept.append(Match(clash[0].end, match.end, match.readings))
        elif all(
            match.start <= r.start and r.end <= match.end and match.end - match.start > r.end - r.start
            for r in clash
        ):
            kept.append(match)
        elif clash[0].start > match.start:
            kept += [
                Match(m.start + match.start, m.end + match.start, m.readings)
                for m in linker.find(tokens[match.start : clash[0].start])
            ]
    return kept


def is_middle_name(role: RoleMatch, tokens: Sequence[Token], exact: Sequence[Match]) -> bool:
    """Such as "King" in "Tsu-Jae King Liu"."""
    if (
        role.start == 0
        or role.end - role.start > 1
        or tokens[role.start].text not in {"King", "Prince", "Duke", "Regent"}
    ):
        return False
    before = tokens[role.start - 1]
    return (
        before.capital and before.text[0].isalpha() and not any(m.start < role.start <= m.end for m in exact)
    )


def from_match(match: Match, tokens: Sequence[Token], text: str) -> Symbol:
    labels = {r.label for r in match.readings}
    if all(r.demonym for r in match.readings):
        letter = "D"
    elif labels == {"PERSON"}:
        letter = "P"
    else:
        letter = "O" if "ORG" in labels and "GPE" not in labels else "G"
    return _symbol(letter, match.start, match.end, tokens, text, match.readings)


def _symbol(
    letter: str, start: int, end: int, tokens: Sequence[Token], text: str, readings: tuple[Reading, ...] = ()
) -> Symbol:
    if letter in "OG":
        while (at := _legal_at(tokens, end)) > end:
            end = at
    return Symbol(letter, start, end, text[tokens[start].start : tokens[end - 1].end], readings)


def _legal_at(tokens: Sequence[Token], at: int) -> int:
    """Behind a legal ending at `at` ("Inc.", "& Co."), else `at`."""
    behind = at + 1 if at + 1 < len(tokens) and tokens[at].text == "&" else at
    found = behind < len(tokens) and tokens[behind].text.lower() in _LEGAL and tokens[behind].capital
    return behind + 1 if found else at


def with_entities(
    names: list[Symbol],
    ents: Sequence[Ent],
    tokens: Sequence[Token],
    taken: set[int],
    text: str,
    confirm: Callable[[str], bool] | None,
) -> list[Symbol]:
    """Add the recogniser's spans, cut at role words; a longer one replaces an exact match inside it."""
    for first, last, label in ents:
        inside = [
            i
            for i, t in enumerate(tokens)
            if first <= t.start and t.end <= last and i not in taken and t.text[0].isalnum()
        ]
        letter = {"PERSON": "P", "ORG": "O"}.get(label, "G")
        pieces = [(_name_start(tokens, start, end), end) for start, end in _runs(inside)]
        for number, (start, end) in enumerate(pieces):
            piece = _symbol(letter if number == len(pieces) - 1 else "X", start, end, tokens, text)
            if not tokens[start].capital or (confirm and not confirm(piece.text)):
                continue
            crossed = [n for n in names if n.start < end and start < n.end]
            if not crossed:
                names.append(piece)
            elif all(_holds(piece, n) for n in crossed) and not any(n.letter == "D" for n in crossed):
                names = [n for n in names if n not in crossed] + [piece]
    return names


def _name_start(tokens: Sequence[Token], start: int, end: int) -> int:
    """Where the name in a span begins: behind what it is ("Riyadh club [Al Hilal]", "Retailer [H&M]")."""
    for at in range(end - 1, start, -1):
        word = tokens[at - 1].text
        if word.islower() and word not in PARTICLES | _INSIDE_NAMES:
            return at
    return start + (end - start > 1 and _SORT.fullmatch(tokens[start].text.lower()) is not None)


def _holds(longer: Symbol, name: Symbol) -> bool:
    """Whether the recogniser's span is really a longer name than the exact match in it, not the same with a
    tail."""
    bigger = (
        longer.start <= name.start
        and name.end <= longer.end
        and longer.end - longer.start > name.end - name.start
    )
    if longer.letter == "G" and longer.start == name.start:
        return False
    return bigger and strip_legal(longer.text) != name.text and (longer.letter == "P" or name.letter != "P")


def _runs(indices: Sequence[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for i in indices:
        if runs and runs[-1][1] == i:
            runs[-1] = (runs[-1][0], i + 1)
        else:
            runs.append((i, i + 1))
    return runs


def capital_runs(
    tokens: Sequence[Token],
    taken: set[int],
    lexicon: Lexicon,
    text: str,
    confirm: Callable[[str], bool] | None,
) -> list[Symbol]:
    """Runs of capitalised words that nothing else has claimed."""
    found: list[Symbol] = []
    position = 0
    while position < len(tokens):
        end = position
        while end < len(tokens) and end not in taken and _name_like(tokens, end, lexicon, taken):
            end += 1
            link = end
            while (
                link < len(tokens) and tokens[link].text.lower() in PARTICLES | {"&", "of"} and link - end < 2
            ):
                link += 1
            if (
                end < link < len(tokens)
                and link not in taken
                and _name_like(tokens, link, lexicon, taken)
                and _joins(tokens, end, link)
            ):
                end = link
        if end > position and confirm:
            end = next(
                (
                    e
                    for e in range(end, position, -1)
                    if confirm(text[tokens[position].start : tokens[e - 1].end])
                ),
                position,
            )
        if end > position:
            found.append(_symbol("X", position, end, tokens, text))
        position = max(end, position + 1)
    return found


def opens_nothing(tokens: Sequence[Token], index: int, lexicon: Lexicon) -> bool:
    """A function word that cannot be part of a name: in lower case, or only in capitals because it opens the
    sentence."""
    low = tokens[index].text.lower()
    return low in lexicon.function and (not tokens[index].capital or (index == 0 and low not in NAMEABLE))


def _joins(tokens: Sequence[Token], end: int, link: int) -> bool:
    words = [t.text.lower() for t in tokens[end:link]]
    return "of" not in words or (words == ["of"] and tokens[end - 1].text.lower() in _ORG_HEADS)


def _name_like(tokens: Sequence[Token], index: int, lexicon: Lexicon, taken: set[int]) -> bool:
    token = tokens[index]
    if not token.capital or not token.text[0].isalpha():
        return False
    if "K" in lexicon.classes.get(token.text.lower(), ""):
        # "Pony AI", "IBM HR": an abbreviation goes on with a name, a month does not.
        return (
            token.text.isupper()
            and index > 0
            and tokens[index - 1].capital
            and "K" not in lexicon.classes.get(tokens[index - 1].text.lower(), "")
        )
    low = token.text.lower()
    if low in NAMEABLE:
        return index + 1 < len(tokens) and tokens[index + 1].capital and index + 1 not in taken
    if low in lexicon.function or QUALIFIES.fullmatch(low):
        return False
    opens = index == 0 or tokens[index - 1].text in {'"', ":", "(", "'"}
    if opens and _SORT.fullmatch(low):
        return False
    if opens and low.endswith(("ly", "ing", "ed")) and lexicon.is_common(low):
        return False
    return not (opens and lexicon.is_frequent(low) and not _name_follows(tokens, index + 1))


def _name_follows(tokens: Sequence[Token], index: int) -> bool:
    """A capitalised word, or one behind particles ("Floor [ter Braak]")."""
    while index + 1 < len(tokens) and tokens[index].text.lower() in PARTICLES - {"e", "y"}:
        index += 1
    return index < len(tokens) and tokens[index].capital


def join_touching(names: Sequence[Symbol], tokens: Sequence[Token], text: str) -> list[Symbol]:
    """Join names that touch: "Microsoft" + "Gaming" is a unit of its own, "Rati Sahi" + "Levesque" one
    person."""
    merged: list[Symbol] = []
    for name in names:
        last = merged[-1] if merged else None
        letter = _joined(last, name, tokens) if last and last.end == name.start else ""
        if last and not letter and name.start == last.end + 1 and tokens[last.end].text == "of":
            head = tokens[last.end - 1].text.lower()
            letter = "O" if last.letter in "OX" and head in _ORG_HEADS and name.letter in "GXO" else ""
        if last and not letter and name.start == last.end + 1 and tokens[last.end].text == "&":
            letter = "O" if {last.letter, name.letter} <= {"O", "X", "G"} else ""
        if (
            last
            and not letter
            and 0 < name.start - last.end < 3
            and _particles_between(tokens, last.end, name.start)
        ):
            letter = "P" if {last.letter, name.letter} <= {"P", "X"} else "O"
        if last and not letter and _and_body(last, name, tokens):
            letter = "O"
        if last and letter:
            merged[-1] = _symbol(letter, last.start, name.end, tokens, text)
        else:
            merged.append(name)
    return merged


def _particles_between(tokens: Sequence[Token], start: int, end: int) -> bool:
    return all(t.text.lower() in PARTICLES - {"e", "y"} for t in tokens[start:end])


def _and_body(left: Symbol, right: Symbol, tokens: Sequence[Token]) -> bool:
    """As "Food" and "Drug Administration" are one body."""
    near = right.start == left.end + 1 and tokens[left.end].text == "and"
    return (
        near
        and left.letter in "XO"
        and left.end - left.start == 1
        and not left.readings
        and tokens[right.end - 1].text.lower() in _ORG_HEADS
    )


def _joined(left: Symbol, right: Symbol, tokens: Sequence[Token]) -> str:
    pair = left.letter + right.letter
    if pair == "XP" and left.text.lower().rstrip(".") in TITLES:  # "Sheikh" before a name
        return "P"
    if pair in {"PX", "PP"} or (pair == "XP" and right.end - right.start == 1 and left.end - left.start == 1):
        return "P"
    if pair in {"DD", "OX", "OG", "XO", "OO"}:
        return "O"
    if pair == "GO" and any(r.kind in {"city", "region"} for r in left.readings):
        return "O"
    if pair == "GX" and (
        right.text.split()[-1].lower() in _LEGAL
        or tokens[right.end - 1].text.lower() in _ORG_HEADS
        or right.text in {"Times", "Post", "Fed"}
    ):
        return "O"
    return ""
