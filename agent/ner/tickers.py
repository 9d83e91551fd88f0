"""Stock tickers: `(NYSE: F)`, `NASDAQ: MSFT`, `(F.N)`. A ticker counts only beside its exchange: alone it is a word."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from agent.ner.tokens import Token

# How papers write an exchange -> how the catalogue does.
EXCHANGES: Mapping[str, str] = {
    written: name
    for name, ways in {
        "NYSE": "NYSE",
        "NASDAQ": "NASDAQ NASDAQGS NASDAQGM NASDAQCM",
        "LSE": "LSE LON",
        "TYO": "TYO TSE",
        "HKG": "HKG HKEX SEHK",
        "ETR": "ETR XETRA FRA FWB",
        "EPA": "EPA",
        "AMS": "AMS",
        "BME": "BME",
        "BIT": "BIT",
        "SWX": "SWX",
        "TSX": "TSX",
        "ASX": "ASX",
        "NSE": "NSE",
        "KRX": "KRX",
    }.items()
    for written in ways.split()
}
_SYMBOL = re.compile(r"[A-Z0-9]{1,10}(?:[.-][A-Z0-9]{1,3})?")
# Reuters' codes, where the part before the dot is the exchange's own symbol.
_REUTERS = re.compile(r"([A-Z]{1,5})\.(N|O|OQ|L)")
_OF_REUTERS = {"N": "NYSE", "O": "NASDAQ", "OQ": "NASDAQ", "L": "LSE"}


def ticker_at(tokens: Sequence[Token], start: int) -> tuple[str, int] | None:
    """The ticker (NYSE:F) that begins at a token, and the token after it; a Reuters code only alone in brackets."""
    exchange = EXCHANGES.get(tokens[start].text.upper())
    if exchange and start + 2 < len(tokens) and tokens[start + 1].text == ":":
        symbol = tokens[start + 2].text.rstrip(".")
        return (f"{exchange}:{symbol}", start + 3) if _SYMBOL.fullmatch(symbol) else None
    code = _REUTERS.fullmatch(tokens[start].text)
    alone = 0 < start < len(tokens) - 1 and (tokens[start - 1].text, tokens[start + 1].text) == ("(", ")")
    return (f"{_OF_REUTERS[code[2]]}:{code[1]}", start + 1) if code and alone else None


def bracketed(tokens: Sequence[Token]) -> list[tuple[int, int, tuple[str, ...]]]:
    """Brackets with nothing but tickers in them: tokens `[start, end)`, brackets included, and the tickers."""
    found = []
    for start, token in enumerate(tokens):
        if token.text != "(":
            continue
        position, tickers = start + 1, []
        while position < len(tokens) and (one := ticker_at(tokens, position)):
            tickers.append(one[0])
            position = one[1]
            if position < len(tokens) and tokens[position].text in ",;/":
                position += 1
        if tickers and position < len(tokens) and tokens[position].text == ")":
            found.append((start, position + 1, tuple(tickers)))
    return found
