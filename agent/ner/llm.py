"""Article -> claims by a language model: asked once per article, held against the article, never obeyed.

What does not come to an answer is a `Failed`, a value: the article is asked about again in the next round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from agent.catalogue import Catalogue
from agent.errors import ConfigError, InputError, SourceError, TooLarge
from agent.ner.checked import Checker
from agent.ner.lexicon import load_lexicon
from agent.ner.linking import build_linker
from agent.ner.prompt import in_news, page_of, question, schema, task
from agent.ner.roles import make_book
from agent.relations import Relation
from agent.types import Article, Claim

# Bump when the template or the checks change: every article is then asked about again.
VERSION = "llm-1"


class Asks(Protocol):
    """Who passes a question on to a model: `agent.sources.chat.Chat`."""

    def ask(self, system: str, user: str, schema: Mapping[str, Any]) -> Any:
        """Parsed JSON. Raises SourceError where no answer came, InputError where it cannot be used."""
        ...


@dataclass(frozen=True, slots=True)
class Answered:
    """The claims that hold, and how many did not, by reason."""

    claims: tuple[Claim, ...]
    dropped: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Failed:
    """Why there is no answer. `away`: the server gave none, and is likely to give none to the next article."""

    reason: str
    away: bool


@dataclass(frozen=True, slots=True)
class ModelReader:
    """Everything that asking needs, built once by `make_model_reader`."""

    model: Asks
    checker: Checker
    system: str
    schema: Mapping[str, Any]

    def read(self, article: Article) -> Answered | Failed:
        """Ask about one article. Never raises for what a server or a model does."""
        page = page_of(article)
        if not page.title and not page.text:
            return Answered((), {})
        try:
            answer = self.model.ask(self.system, question(page), self.schema)
        except (InputError, TooLarge) as problem:
            return Failed(str(problem), away=False)
        except SourceError as problem:
            return Failed(str(problem), away=True)
        claims, dropped = self.checker.claims(answer, page, article)
        return Answered(tuple(claims), dropped)


def make_model_reader(model: Asks, catalogue: Catalogue, relations: Mapping[str, Relation]) -> ModelReader:
    """Index the catalogue for checking (a fraction of a second); no spaCy pipeline is loaded. Raises ConfigError
    where no relation is followed in news."""
    lexicon, followed = load_lexicon(), in_news(relations)
    if not followed:
        raise ConfigError(
            "the extractor's model has nothing to look for: no relation of the relations file has `roles` or `news`"
        )
    checker = Checker(
        build_linker(catalogue, lexicon),
        make_book(relations, lexicon.lists["other_roles"]),
        lexicon,
        followed,
        {key: fact.objects for key, fact in catalogue.facts.items()},
    )
    return ModelReader(model, checker, task(followed.values()), schema(followed))
