"""A sentence as a string of symbols, so that its grammar can be matched with plain regular expressions.

"Meta CEO Mark Zuckerberg said" becomes `<O0> <R1> <P2> said`: G a place, D a demonym, O an organisation, P a
person, X a capitalised name of unknown sort (Y once it is known to be no person), R a role, Z a role of no
relation. Everything else stays as a lower-case word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.ner.chunks import (
    NAMEABLE,
    QUALIFIES,
    Ent,
    Symbol,
    capital_runs,
    exact_matches,
    from_match,
    is_middle_name,
    join_touching,
    opens_nothing,
    with_entities,
)
from agent.ner.lexicon import Lexicon
from agent.ner.linking import Linker
from agent.ner.listings import inside, with_listings, without
from agent.ner.roles import RoleBook, RoleMatch
from agent.ner.tickers import bracketed
from agent.ner.tokens import Token, tokenize


@dataclass(frozen=True, slots=True)
class Symbols:
    """`line` is the string; `<O3>` in it is `items[3]`."""

    line: str
    items: tuple[Symbol, ...]
    tokens: tuple[Token, ...]
    text: str


def symbolise(
    text: str,
    ents: Sequence[Ent],
    linker: Linker,
    book: RoleBook,
    lexicon: Lexicon,
    confirm: Callable[[str], bool] | None = None,
) -> Symbols:
    """Symbols of one sentence. `ents` are the recogniser's spans (characters of `text`).

    `confirm` is given for a headline with capital words throughout, where capitals prove nothing: it says
    whether the article's body has the phrase too.
    """
    tokens = tokenize(text)
    listings = bracketed(tokens)
    listed = inside(listings)
    roles = without(listed, _whole_names_first(book.find(tokens), linker, book, tokens))
    exact = exact_matches(linker, tokens, roles)
    roles = [r for r in roles if not any(m.start <= r.start and r.end <= m.end for m in exact)]
    roles = [r for r in roles if not is_middle_name(r, tokens, exact)]
    taken = {i for r in roles for i in range(r.start, r.end)}
    names = [from_match(m, tokens, text) for m in exact]
    taken |= {
        r.start - 1
        for r in roles
        if r.start and QUALIFIES.fullmatch(low := tokens[r.start - 1].text.lower()) and low not in NAMEABLE
    }
    taken |= {i for i, t in enumerate(tokens) if opens_nothing(tokens, i, lexicon)} | listed
    names = with_entities(names, ents, tokens, taken, text, confirm)
    names += capital_runs(
        tokens, taken | {i for n in names for i in range(n.start, n.end)}, lexicon, text, confirm
    )
    names.sort(key=lambda s: s.start)
    if confirm is None:
        names = join_touching(names, tokens, text)
    names, dropped = with_listings(names, listings, linker, tokens)
    items = sorted(names + [_from_role(r, tokens, text) for r in roles], key=lambda s: s.start)
    return Symbols(_line(items, tokens, dropped), tuple(items), tuple(tokens), text)


def _whole_names_first(
    roles: list[RoleMatch], linker: Linker, book: RoleBook, tokens: list[Token]
) -> list[RoleMatch]:
    """In "European Central Bank chief economist" the bank is named, and "central bank chief" is no role."""
    banks = [r for r in roles if tokens[r.start].text.lower() == "central" and r.end - r.start > 2]
    for role in banks:
        name = next((m for m in linker.find(tokens) if m.start < role.start < m.end), None)
        if name is not None:
            behind = book.find(tokens[name.end :])
            moved = [RoleMatch(r.start + name.end, r.end + name.end, r.roles) for r in behind]
            roles = [r for r in roles if r.end <= name.start] + moved
    return roles


def _from_role(match: RoleMatch, tokens: Sequence[Token], text: str) -> Symbol:
    letter = "R" if match.roles else "Z"
    words = text[tokens[match.start].start : tokens[match.end - 1].end]
    return Symbol(letter, match.start, match.end, words, (), match.roles)


def _line(items: Sequence[Symbol], tokens: Sequence[Token], dropped: set[int]) -> str:
    words: list[str] = []
    position = 0
    for number, item in enumerate(items):
        words += [_word(tokens[i]) for i in range(position, item.start) if i not in dropped]
        words.append(f"<{item.letter}{number}>")
        position = item.end
    words += [_word(tokens[i]) for i in range(position, len(tokens)) if i not in dropped]
    return " ".join(words)


def _word(token: Token) -> str:
    return "?" if token.text in "<>" else token.text.lower()
