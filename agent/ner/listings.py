"""Tickers in brackets behind a name, in one sentence's symbols: they say whose name it is, and are no part of its grammar."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from agent.ner.chunks import Symbol
from agent.ner.linking import Linker
from agent.ner.roles import RoleMatch
from agent.ner.tokens import Token

Listing = tuple[int, int, tuple[str, ...]]


def inside(listings: Iterable[Listing]) -> set[int]:
    """The tokens of all of them."""
    return {i for start, end, _ in listings for i in range(start, end)}


def without(tokens: Collection[int], roles: Iterable[RoleMatch]) -> list[RoleMatch]:
    """The roles that share no token with these: "PM" is also a ticker."""
    return [r for r in roles if not any(i in tokens for i in range(r.start, r.end))]


def with_listings(
    names: Sequence[Symbol], listings: Iterable[Listing], linker: Linker, tokens: Sequence[Token]
) -> tuple[list[Symbol], set[int]]:
    """Names without the tickers in brackets behind them, and the tokens of these, to be left out of the line.

    A name that nobody has catalogued is what its ticker says, unless it is that of a part ("Ford Credit (NYSE: F)").
    """
    kept, dropped = list(names), set[int]()
    for start, end, tickers in listings:
        before = next((n for n in kept if n.end == start), None)
        if before is None:
            continue
        dropped |= set(range(start, end))
        readings = tuple({linker.tickers[t]: None for t in tickers if t in linker.tickers})
        known = {r.name for m in linker.find(tokens[before.start : before.end]) for r in m.readings}
        strange = before.letter in "OGX" and not before.readings and not known & {r.name for r in readings}
        if len(readings) == 1 and strange:
            kept[kept.index(before)] = replace(before, letter="O", readings=readings)
    return [n for n in kept if not any(i in dropped for i in range(n.start, n.end))], dropped
