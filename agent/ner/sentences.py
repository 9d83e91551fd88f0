"""Labelled sentences for training, made from templates, lists and the catalogue; the random generator is an
argument."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from pathlib import Path

from agent.catalogue import Catalogue
from agent.ner.fillers import Material, fill_slot
from agent.ner.lexicon import DATA, Lexicon
from agent.ner.written import read_written, varied

LABELS = {
    "PER": "PERSON",
    "FIRST": "PERSON",
    "LAST": "PERSON",
    "PERREV": "PERSON",
    "ORG": "ORG",
    "GPE": "GPE",
    "ST": "GPE",
    "LOC": "LOC",
}
# Shares of written sentences among all, and of their names that are replaced.
_WRITTEN, _OTHER_NAMES = 0.65, 0.55
_SLOT = re.compile(r"\{(\w+)\}")
_OFFICES = frozenset(
    ("head_of_state", "head_of_government", "ceo", "head_coach", "head_of_organisation", "founder")
)
_CITY_FACTS = frozenset(("capital", "headquarters", "home_city"))


@dataclass(slots=True)
class Sentence:
    """A text and its labelled spans (start, end, label), in characters."""

    text: str = ""
    spans: list[tuple[int, int, str]] = field(default_factory=list)

    def add(self, piece: str, label: str = "") -> None:
        if label and piece:
            self.spans.append((len(self.text), len(self.text) + len(piece), label))
        self.text += piece


def gather(catalogue: Catalogue, lexicon: Lexicon, templates: Path = DATA / "templates.txt") -> Material:
    """Everything the generator needs, in a fixed order so that one seed gives one corpus."""
    lines = templates.read_text(encoding="utf-8").splitlines()
    entities, facts = catalogue.entities.values(), catalogue.facts.values()
    people = {e.name for e in entities if e.label == "PERSON"}
    people |= {o for f in facts if f.relation in _OFFICES for o in f.objects}
    cities = {o for f in facts if f.relation in _CITY_FACTS for o in f.objects} | set(lexicon.lists["cities"])
    return Material(
        lexicon=lexicon,
        templates=tuple(line for line in lines if line and not line.startswith("# ")),
        people=tuple(sorted(people)),
        # Names only: an alias such as "Barcelona" would teach that a city is a club.
        orgs=tuple(sorted(e.name for e in entities if e.label == "ORG" and e.name not in cities)),
        countries=tuple(sorted(n for e in entities if e.kind == "country" for n in (e.name, *e.aliases))),
        demonyms=tuple(sorted({*catalogue.demonyms, *lexicon.lists["peoples"]})),
        cities=tuple(sorted(cities)),
        first=tuple(sorted(lexicon.first)),
        last=tuple(sorted(lexicon.last)),
        words=tuple(sorted(lexicon.words)),
        written=read_written(DATA / "written"),
    )


def make_sentence(material: Material, rng: random.Random) -> Sentence:
    """A written sentence with other names, or a filled template, or two in a row; sometimes in lower case or capitals."""
    sentence = Sentence()
    if material.written and rng.random() < _WRITTEN:
        for text, label in varied(rng.choice(material.written), material, rng, _OTHER_NAMES):
            sentence.add(text, label)
        return sentence
    for number in range(2 if rng.random() < 0.15 else 1):
        if number:
            sentence.add(" ")
        _fill(rng.choice(material.templates), sentence, material, rng)
    noise = rng.random()
    if noise < 0.025:
        sentence.text = _same_length(sentence.text, sentence.text.lower())
    elif noise < 0.05:
        sentence.text = _same_length(sentence.text, sentence.text.upper())
    elif noise < 0.14 and sentence.text.endswith("."):
        sentence.text = sentence.text[:-1]
        sentence.spans = [s for s in sentence.spans if s[1] <= len(sentence.text)]
    return sentence


def _same_length(old: str, new: str) -> str:
    return new if len(new) == len(old) else old


def _fill(template: str, sentence: Sentence, material: Material, rng: random.Random) -> None:
    position = 0
    for match in _SLOT.finditer(template):
        sentence.add(template[position : match.start()])
        slot = match.group(1)
        if slot.startswith("CAP") and slot != "CAPS":
            label, text = LABELS[slot[3:]], fill_slot(slot[3:], material, rng).upper()
        elif slot == "lGPE":
            label, text = "GPE", fill_slot("GPE", material, rng).lower()
        else:
            label, text = LABELS.get(slot, ""), fill_slot(slot, material, rng)
        if not sentence.text and not label:
            text = text[:1].upper() + text[1:]
        sentence.add(text, label)
        position = match.end()
    sentence.add(template[position:])
