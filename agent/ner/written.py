"""Sentences that people wrote, names marked as `[PER Jane Doe]`, read and varied: the words stay, the names change."""

from __future__ import annotations

import random
import re
from pathlib import Path

from agent.errors import ConfigError
from agent.ner.fillers import Material, fill_slot

Pieces = tuple[tuple[str, str], ...]
LABELS = {"PER": "PERSON", "ORG": "ORG", "LOC": "LOC", "GPE": "GPE"}
_MARKED = re.compile(r"\[(PER|ORG|LOC|GPE) ([^\[\]]+)\]")


def read_written(folder: Path) -> tuple[Pieces, ...]:
    """Every line of the text files of `folder` as pieces (text, label). Raises ConfigError for a bracket that marks nothing."""
    found = []
    for path in sorted(folder.glob("*.txt")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip() or line.startswith("# "):
                continue
            if re.search(r"[\[\]]", _MARKED.sub("", line)):
                raise ConfigError(f"{path}:{number}: a bracket that marks no PER, ORG, LOC or GPE")
            found.append(_pieces(line))
    return tuple(found)


def _pieces(line: str) -> Pieces:
    pieces: list[tuple[str, str]] = []
    at = 0
    for mark in _MARKED.finditer(line):
        pieces += [(line[at : mark.start()], ""), (mark[2], LABELS[mark[1]])]
        at = mark.end()
    pieces.append((line[at:], ""))
    return tuple((text, label) for text, label in pieces if text)


def varied(pieces: Pieces, material: Material, rng: random.Random, share: float) -> Pieces:
    """`pieces` with about this share of the names replaced by others of their label and size; the same name by the same other."""
    others: dict[tuple[str, str], str] = {}
    for text, label in pieces:
        if label and (text, label) not in others:
            others[text, label] = _another(text, label, material, rng) if rng.random() < share else text
    return tuple((others.get((text, label), text) if label else text, label) for text, label in pieces)


def _another(text: str, label: str, material: Material, rng: random.Random) -> str:
    if label == "PERSON":
        slot = "PER" if " " in text else rng.choice(("FIRST", "LAST"))
    else:
        slot = {"GPE": "GPE", "LOC": "GPE" if " " not in text else "LOC"}.get(label, "ORG")
    other = fill_slot(slot, material, rng)
    if text.islower():
        return other.lower()
    return other.upper() if text.isupper() and len(text) > 4 else other
