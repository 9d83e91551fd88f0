"""The extractors that are compared: the rules on some spaCy pipeline, a language model, or both."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.catalogue import Catalogue
from agent.ner.checked import union
from agent.ner.claims import Reader, make_reader
from agent.ner.linking import Linker
from agent.ner.llm import Failed, ModelReader
from agent.ner.load import EMBEDDED, load_nlp
from agent.reading import model_reader
from agent.relations import Relation
from agent.settings import ExtractorSettings
from agent.types import Article, Claim


@dataclass(frozen=True, slots=True)
class Extractor:
    """`rules` and `model`: one of them or both. `linker`: the catalogue's names, for judging."""

    name: str
    linker: Linker
    relations: Mapping[str, Relation]
    rules: Reader | None
    model: ModelReader | None


@dataclass(frozen=True, slots=True)
class Extraction:
    """The claims of each article in order, the seconds that took, why the model failed on some, and how many of
    its claims were dropped for which reason."""

    claims: tuple[tuple[Claim, ...], ...]
    seconds: float
    failed: tuple[str, ...] = ()
    dropped: Mapping[str, int] | None = None


def make_extractor(
    pipeline: str | None,
    settings: ExtractorSettings,
    catalogue: Catalogue,
    relations: Mapping[str, Relation],
) -> Extractor:
    """`pipeline`: a spaCy package or folder, "embedded", None for the one factd would use. Raises ConfigError,
    ModelError."""
    model = None if settings.kind == "rules" else model_reader(settings, catalogue, relations)
    if settings.kind == "llm" and model is not None:
        return Extractor(f"llm {settings.model}", model.checker.linker, relations, None, model)
    nlp = load_nlp(str(EMBEDDED) if pipeline == "embedded" else pipeline)
    rules = make_reader(nlp, catalogue, relations)
    embedded = Path(str(nlp.path)) == EMBEDDED
    name = "embedded" if embedded else Path(str(pipeline or nlp.path)).name
    return Extractor(
        f"{name} + llm {settings.model}" if model else name, rules.linker, relations, rules, model
    )


def extract(extractor: Extractor, articles: Sequence[Article]) -> Extraction:
    """Read all articles. An article that the model gives no answer to counts as what the rules find in it."""
    started = time.perf_counter()
    rules = extractor.rules.read_many(articles) if extractor.rules else ([] for _ in articles)
    found: list[tuple[Claim, ...]] = []
    failed: list[str] = []
    dropped: Counter[str] = Counter()
    for article, claims in zip(articles, rules, strict=True):
        answer = extractor.model.read(article) if extractor.model else None
        if isinstance(answer, Failed):
            failed.append(answer.reason)
        elif answer is not None:
            claims, otherwise = union(claims, answer.claims, extractor.relations)
            dropped += Counter(answer.dropped) + otherwise
        found.append(tuple(claims))
    return Extraction(tuple(found), time.perf_counter() - started, tuple(failed), dict(dropped))
