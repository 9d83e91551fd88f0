"""The `news` patterns of the relations: what `relations.yaml` says of how a fact is told, as regular expressions over symbol lines
(see `symbols.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from agent.errors import ConfigError
from agent.ner.names import COMPANY_WORDS
from agent.relations import Relation
from agent.types import ClaimKind

_KINDS: tuple[ClaimKind, ...] = ("state", "change", "future", "end", "acting", "hedged")


@dataclass(frozen=True, slots=True)
class NewsPattern:
    """A surface pattern of one relation from `relations.yaml`."""

    relation: Relation
    kind: ClaimKind
    regex: re.Pattern[str]


def news_patterns(relations: Mapping[str, Relation]) -> tuple[NewsPattern, ...]:
    """Compile every `news` pattern: a regular expression over the sentence's lower-case words, with
    `{subject}` and `{object}`.

    In place of `{subject}` there may be `{company}`: "drugmaker", "company" and the like, for the one that the text has named before.

    Raises ConfigError naming relation and pattern for an unknown kind, a missing slot or a bad expression.
    """
    found: list[NewsPattern] = []
    for relation in relations.values():
        for kind, sources in relation.news.items():
            where = f"relation {relation.name}: news.{kind}"
            if kind not in _KINDS:
                raise ConfigError(f"{where}: the kind must be one of {', '.join(_KINDS)}")
            found += [NewsPattern(relation, kind, _compiled(source, where)) for source in sources]
    return tuple(found)


def _compiled(source: str, where: str) -> re.Pattern[str]:
    if source.count("{subject}") + source.count("{company}") != 1 or source.count("{object}") != 1:
        raise ConfigError(
            f"{where}: {source!r} needs {{subject}} (or {{company}}) and {{object}} exactly once"
        )
    slots = (
        source.replace("{subject}", r"(?:the )?<[GDOXY](?P<s>\d+)>")
        .replace("{object}", r"(?:the )?<[GOPXY](?P<o>\d+)>")
        .replace("{company}", rf"(?:<[DG]\d+> )?(?:[a-z-]+ ){{0,2}}{COMPANY_WORDS}")
    )
    try:
        return re.compile(rf"(?<![\w-]){slots}")
    except re.error as error:
        raise ConfigError(f"{where}: {source!r} is not a regular expression ({error})") from error
