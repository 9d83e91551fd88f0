"""Word lists of the embedded pipeline, and the pipe that marks each token with the lists it stands in.

The pipe writes classes such as `FL` (given name, surname) into `token.tag_`, which the embedding layer of the
recogniser reads as one more feature. So a name that training never showed is still recognised by what it is.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc

from agent.errors import ConfigError
from agent.strict import as_mapping, as_strings, read_yaml

DATA = Path(__file__).parent / "data"
_REMEMBERED = 1 << 16
_ENDINGS = ("s", "es", "ed", "d", "ing", "er", "ers", "ly", "n", "r", "st")
_PARTICLES = frozenset({"of", "and", "the", "for", "&", "de", "del", "la", "st", "st."})


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The lists. `regions` maps a region to its country; the other names are sets of lower-case words or
    tuples of entries."""

    first: frozenset[str]
    last: frozenset[str]
    words: frozenset[str]
    regions: Mapping[str, str]
    lists: Mapping[str, tuple[str, ...]]
    classes: Mapping[str, str]
    function: frozenset[str]
    frequent: frozenset[str]

    def tag(self, word: str) -> str:
        """Class letters of `word` (any case), empty if no list has it."""
        low = word.lower()
        found = self.classes.get(low, "")
        return found + "W" if self.is_common(low) else found

    def is_common(self, low: str) -> bool:
        """Whether `low` (lower case) is an English word, inflected or not."""
        if low in self.words:
            return True
        stems = (low[: -len(e)] for e in _ENDINGS if low.endswith(e) and len(low) - len(e) > 2)
        return any(s in self.words or s + "e" in self.words for s in stems) or (
            low.endswith("ies") and low[:-3] + "y" in self.words
        )

    def is_frequent(self, low: str) -> bool:
        """Whether `low` (lower case) is one of the few hundred everyday words, inflected or not."""
        frequent = self.frequent
        stems = (low[: -len(e)] for e in _ENDINGS if low.endswith(e) and len(low) - len(e) > 2)
        return low in frequent or any(s in frequent or s + "e" in frequent for s in stems)


@cache
def load_lexicon(folder: Path = DATA) -> Lexicon:
    """Read the lists of `folder` (first_names.txt, surnames.txt, words.txt.gz, lexicon.yaml), once: the pipes and the reader
    share what never changes, and reading it takes a quarter of a second. Raises ConfigError."""
    try:
        first = _plain(folder / "first_names.txt")
        last = _plain(folder / "surnames.txt")
        words = frozenset(gzip.decompress((folder / "words.txt.gz").read_bytes()).decode("utf-8").split())
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ConfigError(f"{folder}: the word lists cannot be read ({error}); reinstall factd") from error
    document = as_mapping(read_yaml(folder / "lexicon.yaml"), str(folder / "lexicon.yaml"))
    by_country = as_mapping(document.pop("regions", None), "lexicon.yaml: regions")
    regions = {
        r: country
        for country, names in by_country.items()
        for r in as_strings(names, "lexicon.yaml: regions")
    }
    lists = {key: as_strings(value, f"lexicon.yaml: {key}") for key, value in document.items()}
    extra = frozenset(w for key in ("nouns", "verbs", "adjectives", "function") for w in lists[key])
    classes = _classes(first, last, regions, lists)
    return Lexicon(
        frozenset(first),
        frozenset(last),
        words | extra,
        regions,
        lists,
        classes,
        frozenset(lists["function"]),
        extra,
    )


def _plain(path: Path) -> tuple[str, ...]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(w for line in lines if not line.startswith("#") for w in line.split())


def _classes(
    first: Iterable[str], last: Iterable[str], regions: Iterable[str], lists: Mapping[str, tuple[str, ...]]
) -> dict[str, str]:
    letters: dict[str, set[str]] = {}

    def mark(letter: str, names: Iterable[str]) -> None:
        for word in (w.lower() for name in names for w in re.split(r"[\s,]+", name)):
            if word and word not in _PARTICLES:
                letters.setdefault(word, set()).add(letter)

    mark("F", first)
    mark("L", last)
    mark("C", (*regions, *lists["cities"]))
    mark("P", lists["places"])
    mark("O", lists["orgs"])
    mark("E", lists["org_ends"])
    mark("T", lists["person_titles"])
    mark("K", lists["words_capital"])
    mark("D", lists["peoples"])
    return {word: "".join(sorted(found)) for word, found in letters.items()}


@Language.factory("factd_lexicon", assigns=["token.tag"])
def make_tagger(nlp: Language, name: str) -> LexiconTagger:
    """The pipe `factd_lexicon`; importing this module registers it with spaCy."""
    return LexiconTagger(load_lexicon())


class LexiconTagger:
    """Writes `Lexicon.tag` of each token into `token.tag_`."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        # Words come again and again, and a stem is looked for in several lists.
        self._tag = lru_cache(maxsize=_REMEMBERED)(lexicon.tag)

    def __call__(self, doc: Doc) -> Doc:
        for token in doc:
            token.tag_ = self._tag(token.text)
        return doc

    def pipe(self, stream: Iterable[Doc], batch_size: int = 0) -> Iterator[Doc]:
        return (self(doc) for doc in stream)

    def to_disk(self, path: Any, exclude: object = ()) -> None:
        """Nothing to save: the lists ship with the package."""

    def from_disk(self, path: Any, exclude: object = ()) -> LexiconTagger:
        return self
