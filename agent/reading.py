"""Stored articles -> stored claims, by the extractor that the settings name.

    rules   every unread article by the patterns
    both    the same at once, then as many as a round may ask about by the language model too
    llm     the language model alone

The name under which an article is marked as read says who read it and with which model, so that a change has it
read again; an article that a model gave no answer to is not marked, and its turn comes again.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from agent.errors import ConfigError
from agent.store import articles
from agent.types import Article, Claim

if TYPE_CHECKING:
    from agent.catalogue import Catalogue
    from agent.ner.claims import Reader
    from agent.ner.llm import ModelReader
    from agent.relations import Relation
    from agent.settings import ExtractorSettings
    from agent.workshop import Workshop

MakeReader = Callable[[], "Reader"]
_BATCH = 200
# So many articles in a row without an answer from the server, and the round asks no further.
_PATIENCE = 3


@dataclass(frozen=True, slots=True)
class Reading:
    """What one round of reading came to. `claims`: new ones. The rest is about the language model: how many
    articles it was `asked` about, why which of them `failed`, how many are `waiting` for a later round (the
    failed ones too), and how many of its claims were `dropped` for which reason.
    """

    claims: int = 0
    asked: int = 0
    failed: tuple[str, ...] = ()
    waiting: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)


def read_unread(shop: Workshop, rules: str) -> Reading:
    """Read what this extractor has not read yet. `rules` names the version of the rules.

    Raises ConfigError where the variable with the endpoint's key is not set, ModelError where the pipeline that
    finds names cannot be loaded.
    """
    extractor = shop.settings.extractor
    reader = shop.reader
    if extractor.kind == "rules":
        return Reading(_by_rules(shop, reader, rules))
    from agent.ner.llm import VERSION

    by_model = f"{VERSION} {extractor.model}"
    if extractor.kind == "llm":
        return _by_model(shop, None, by_model)
    name = f"{rules}+{by_model}"
    new = _by_rules(shop, reader, rules, name)
    found = _by_model(shop, reader, name)
    return replace(found, claims=found.claims + new)


def model_reader(
    settings: ExtractorSettings, catalogue: Catalogue, relations: Mapping[str, Relation]
) -> ModelReader:
    """The reader that asks the endpoint of the settings. Raises ConfigError."""
    from agent.ner.llm import make_model_reader
    from agent.sources.chat import MAX_ANSWER_BYTES, Chat, Endpoint
    from agent.sources.http import Client

    endpoint = Endpoint(
        settings.url, settings.model, key_of(settings), settings.allow_private, settings.response_format
    )
    chat = Chat(endpoint, Client(timeout_s=settings.timeout_s, max_bytes=MAX_ANSWER_BYTES))
    return make_model_reader(chat, catalogue, relations)


def key_of(settings: ExtractorSettings, environ: Mapping[str, str] | None = None) -> str:
    """The endpoint's key, "" where none is wanted. Raises ConfigError where its variable is not set."""
    if not settings.key_variable:
        return ""
    key = (os.environ if environ is None else environ).get(settings.key_variable, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise ConfigError(
            f"extractor.key_variable: the environment variable {settings.key_variable} holds no usable key;"
            " export it, or empty the setting if the server wants none"
        )
    return key


def _by_rules(shop: Workshop, reader: MakeReader, name: str, *or_as: str) -> int:
    """Read by the patterns what was not read as `name` or as one of `or_as`; returns how many claims are new."""
    unread, new = _unread(shop, name, *or_as), 0
    for start in range(0, len(unread), _BATCH):
        batch = unread[start : start + _BATCH]
        found = zip([article.id for article in batch], reader().read_many(batch), strict=True)
        new += articles.record_readings(shop.store, found, name, shop.clock())
        shop.progress("read", start + len(batch), len(unread))
    return new


def _by_model(shop: Workshop, rules: MakeReader | None, name: str) -> Reading:
    """Ask about unread articles, each stored as soon as it is answered: an answer may take a minute."""
    from agent.ner.checked import union
    from agent.ner.llm import Failed

    unread = _unread(shop, name)
    if not unread:
        return Reading()
    chosen = _in_turn(unread, shop.clock().isoformat())[: shop.settings.extractor.max_articles]
    asking = model_reader(shop.settings.extractor, shop.catalogue, shop.relations)
    by_the_rules: Iterator[list[Claim]] = rules().read_many(chosen) if rules else itertools.repeat([])
    failed: list[str] = []
    dropped: Counter[str] = Counter()
    new, asked, in_a_row = 0, 0, 0
    for asked, (article, by_rules) in enumerate(zip(chosen, by_the_rules, strict=False), 1):
        answer = asking.read(article)
        if isinstance(answer, Failed):
            failed.append(answer.reason)
            in_a_row = in_a_row + 1 if answer.away else 0
            if in_a_row == _PATIENCE:
                break
        else:
            in_a_row = 0
            claims, otherwise = union(by_rules, answer.claims, shop.relations)
            dropped += Counter(answer.dropped) + otherwise
            new += articles.record_readings(shop.store, [(article.id, claims)], name, shop.clock())
        shop.progress("extract", asked, len(chosen))
    waiting = len(unread) - asked + len(failed)
    return Reading(new, asked, tuple(failed), waiting, dict(dropped))


def _unread(shop: Workshop, *names: str) -> list[Article]:
    """The articles that were read under none of these names."""
    first, *others = (articles.unread(shop.store, name) for name in names)
    unread_too = [{article.id for article in other} for other in others]
    return [article for article in first if all(article.id in ids for ids in unread_too)]


def _in_turn(unread: list[Article], round_: str) -> list[Article]:
    """Another order in every round, so that articles which fail every time do not keep the others waiting."""
    return sorted(unread, key=lambda a: hashlib.sha256(f"{round_} {a.id}".encode()).digest())
