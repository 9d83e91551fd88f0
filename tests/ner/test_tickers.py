"""A ticker beside its exchange is its company; alone it is a word."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.catalogue import load_catalogue
from agent.errors import ConfigError
from agent.ner.claims import Reader
from agent.ner.mentions import find_mentions
from agent.ner.tickers import bracketed, ticker_at
from agent.ner.tokens import tokenize
from agent.types import Claim

Read = Callable[..., list[Claim]]


def told(claims: list[Claim]) -> list[str]:
    return sorted(f"{c.subject} | {c.relation} | {c.object} | {c.kind}" for c in claims)


@pytest.mark.parametrize(
    "text",
    [
        "Ford (NYSE: F) CEO Dana Pruitt said the plant would close.",
        "Ford (NYSE:F) CEO Dana Pruitt said the plant would close.",
        "Blue Oval Holdings (NYSE: F) CEO Dana Pruitt said the plant would close.",
        "Blue Oval Holdings (F.N) CEO Dana Pruitt said the plant would close.",
        "Blue Oval Holdings (NYSE: F, TSX: BOH) CEO Dana Pruitt said the plant would close.",
        "Ford (NYSE: GM) CEO Dana Pruitt said the plant would close.",
        "Dana Pruitt, chief executive of Blue Oval Holdings (NYSE: F), said the plant would close.",
        "On Monday NYSE: F CEO Dana Pruitt said the plant would close.",
        "Ford (NYSE: F)'s CEO Dana Pruitt said the plant would close.",
    ],
)
def test_a_ticker_in_brackets_names_the_company(read: Read, text: str) -> None:
    assert told(read(text)) == ["Ford | ceo | Dana Pruitt | state"]


@pytest.mark.parametrize(
    "text",
    [
        "F CEO Dana Pruitt said the plant would close.",
        "ALL CEO Dana Pruitt knows is the plant.",
        "IT chief Dana Pruitt said the plant would close.",
        "The IT CEO Dana Pruitt said the plant would close.",
        "NYSE chief executive of F Dana Pruitt spoke.",
        "The results are good (ALL), CEO Dana Pruitt said.",
        "The grade (F) was final, CEO Dana Pruitt said.",
    ],
)
def test_a_ticker_alone_is_a_word(read: Read, text: str) -> None:
    assert not [c for c in read(text) if c.subject in ("Ford", "Volvo", "Nokia")]


def test_a_part_of_a_company_is_not_the_company(read: Read) -> None:
    assert not [c for c in read("Ford Credit (NYSE: F) CEO Dana Pruitt spoke.") if c.subject == "Ford"]


def test_a_ticker_that_nobody_has_catalogued_is_passed_over(read: Read) -> None:
    text = "Brightwell Robotics (NASDAQ: BRWR) CEO Dana Pruitt said the round was closed."
    assert told(read(text)) == ["Brightwell Robotics | ceo | Dana Pruitt | state"]


def test_a_ticker_is_no_role(read: Read) -> None:
    """ "PM" behind an exchange is Volvo here, and no prime minister."""
    assert told(read("Volvo (LSE: PM) CEO Vera Lindqvist said demand was weak.")) == [
        "Volvo | ceo | Vera Lindqvist | state"
    ]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Shares of (NASDAQ: ALL) fell.", "Volvo"),
        ("Shares of NasdaqGS: ALL fell.", "Volvo"),
        ("Shares (TSE: 7203) fell.", "Nokia"),
        ("Shares (NYSE: NOK.B) fell.", "Nokia"),
        ("All eyes are on NYSE: IT.", "Nokia"),
    ],
)
def test_mentions_are_linked(reader: Reader, text: str, name: str) -> None:
    mentions = find_mentions(reader.nlp(text), reader.linker)
    assert name in [m.entity for m in mentions]


@pytest.mark.parametrize(
    "text", ["NYSE: closed", "NYSE:", "NYSE", "EPA: it rains", "(F.N", "F.N)", "see F.N for", "()"]
)
def test_what_is_no_ticker(text: str) -> None:
    tokens = tokenize(text)
    assert not any(ticker_at(tokens, i) for i in range(len(tokens)))
    assert not bracketed(tokens)


def test_a_ticker_that_two_claim_is_nobodys(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "- {name: A, kind: company, tickers: [NYSE:A, NYSE:X]}\n- {name: B, kind: company, tickers: [NYSE:X]}\n"
    )
    assert load_catalogue([path]).tickers == {"NYSE:A": "A"}


@pytest.mark.parametrize("row", ["tickers: [F]", "tickers: [nyse:f]", "wikidata: 17", "wikidata: P17"])
def test_a_bad_ticker_or_item_is_told(tmp_path: Path, row: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"- {{name: A, kind: company, {row}}}\n")
    with pytest.raises(ConfigError, match=r"entry 1 \(A\): "):
        load_catalogue([path])


def test_two_entities_are_not_one_item(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("- {name: A, kind: city, wikidata: Q1}\n- {name: B, kind: city, wikidata: Q1}\n")
    with pytest.raises(ConfigError, match="'B' and 'A' are both Q1"):
        load_catalogue([path])
