"""The relation catalogue: one entry of `relations.yaml` serves extraction, probing, editing and verifying.

Prompts come from templates with the slots `{subject}`, `{object}` and `{title}`. Prompts that edit are never prompts that verify
(DESIGN, invariant 5); `load_relations` refuses a file in which they overlap.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from agent.errors import ConfigError
from agent.strict import as_mapping, as_strings, brief, check_keys, read_yaml
from agent.types import Entity

Cardinality = Literal["one", "many"]
PromptSet = Literal["edit", "probes", "questions"]
_SLOT = re.compile(r"\{(\w*)\}")
_KEYS = [
    "wikidata",
    "subject",
    "kinds",
    "object",
    "cardinality",
    "title",
    "roles",
    "news",
    "statement",
    "edit",
    "probes",
    "questions",
    "inverse",
    "hop",
    "policy",
]


@dataclass(frozen=True, slots=True)
class RelationPolicy:
    """What the owner allows: automatic replacement, how many independent publishers, how long a fact must have been known."""

    editable: bool = True
    min_publishers: int = 2
    cool_off_h: float = 24.0


@dataclass(frozen=True, slots=True)
class Relation:
    """One relation. `subject` and `object` are NER labels, `kinds` the catalogue's sorts of subject, empty for any.

    `roles` are the role words that name it in news ("chief executive"), `news` are surface patterns with `{subject}` and
    `{object}` by claim kind, `statement` the sentence in which a database's fact is told to the reader of news. `edit` is for the compiler only, `probes` and `questions` for asking and verifying only. `hop` describes the
    subject by the object ("the country whose capital is {object}"), for questions that need the fact and one more.
    """

    name: str
    subject: tuple[str, ...]
    object: tuple[str, ...]
    edit: tuple[str, ...]
    probes: tuple[str, ...]
    questions: tuple[str, ...] = ()
    inverse: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    cardinality: Cardinality = "one"
    title: str = ""
    titles: Mapping[str, str] = field(default_factory=dict)
    roles: tuple[str, ...] = ()
    news: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    wikidata: str = ""
    statement: str = ""
    hop: str = ""
    policy: RelationPolicy = RelationPolicy()

    def title_for(self, subject: str) -> str:
        """The office's name there: `chancellor` for Germany."""
        return self.titles.get(subject, self.title)

    def prompts(self, which: PromptSet, entity: Entity) -> tuple[str, ...]:
        """The templates of one set filled for `entity`; each contains `entity.name` literally.

        Two templates can read the same once the title is in (Samoa's title is "head of state"): who verifies leaves out
        the texts that edit.
        """
        templates: tuple[str, ...] = getattr(self, which)
        return tuple(fill(t, entity, title=self.title_for(entity.name)) for t in templates)

    def inverse_prompts(self, subject: str, object_: str) -> tuple[str, ...]:
        """Prompts that name the object and ask for the subject."""
        person = Entity(object_, "", "")
        return tuple(
            fill(t.replace("{object}", "{subject}"), person, title=self.title_for(subject))
            for t in self.inverse
        )

    def described(self, subject: str, object_: str) -> str:
        """`hop` filled: the subject without its name. "" where the relation has none."""
        return self.hop.replace("{title}", self.title_for(subject)).replace("{object}", object_)


def fill(template: str, entity: Entity, *, title: str = "", object_: str = "") -> str:
    """`template` with its slots filled: the article where English wants it, the possessive of a name in -s, a capital first.

    >>> fill("{subject}'s capital is", Entity("Netherlands", "country", "GPE", article="the"))
    "The Netherlands' capital is"
    """
    text = template
    if entity.name.endswith("s"):
        text = text.replace("{subject}'s", "{subject}'")
    at_start = text.startswith("{subject}")
    text = text.replace("{subject}", entity.surface).replace("{title}", title).replace("{object}", object_)
    return text[0].upper() + text[1:] if at_start and entity.article else text


def load_relations(path: Path) -> dict[str, Relation]:
    """Read and validate a relations file. Raises ConfigError naming the file, the relation and the key."""
    document = as_mapping(read_yaml(path), str(path))
    if not document:
        raise ConfigError(f"{path}: no relations in it; copy configs/relations.yaml and start from there")
    return {
        name: _parse(name, as_mapping(entry, f"{path}: {name}"), f"{path}: {name}")
        for name, entry in document.items()
    }


def _parse(name: str, entry: dict[str, Any], where: str) -> Relation:
    check_keys(entry, _KEYS, where)
    for required in ("subject", "object", "edit", "probes"):
        if not entry.get(required):
            raise ConfigError(
                f"{where}: {required!r} is missing; every relation needs subject, object, edit and probes"
            )
    cardinality = entry.get("cardinality", "one")
    if cardinality not in ("one", "many"):
        raise ConfigError(f"{where}: cardinality must be 'one' or 'many', got {brief(cardinality)}")
    titles = _titles(entry.get("title"), f"{where}: title")
    lists = {key: as_strings(entry.get(key), f"{where}: {key}") for key in
             ("subject", "object", "kinds", "roles", "edit", "probes", "questions", "inverse")}  # fmt: skip
    _check_templates(lists, bool(titles), where)
    return Relation(
        name=name,
        cardinality=cardinality,
        title=titles.get("default", ""),
        titles={k: v for k, v in titles.items() if k != "default"},
        news={
            k: as_strings(v, f"{where}: news.{k}")
            for k, v in as_mapping(entry.get("news"), f"{where}: news").items()
        },
        wikidata=str(entry.get("wikidata") or ""),
        statement=_statement(entry.get("statement"), bool(titles), f"{where}: statement"),
        hop=_hop(entry.get("hop"), bool(titles), f"{where}: hop"),
        policy=_policy(entry.get("policy"), f"{where}: policy"),
        **lists,
    )


def _statement(value: object, has_title: bool, where: str) -> str:
    template = "".join(as_strings(value, where))
    wanted = {"subject", "object"}
    if template and (
        set(slots := _SLOT.findall(template)) - {"title"} != wanted or len(slots) > len(set(slots))
    ):
        raise ConfigError(f"{where}: {template!r} must contain {{subject}} and {{object}} exactly once")
    if "{title}" in template and not has_title:
        raise ConfigError(f"{where}: {template!r} has the slot {{title}}, and the relation has no title")
    return template


def _hop(value: object, has_title: bool, where: str) -> str:
    template = "".join(as_strings(value, where))
    slots = _SLOT.findall(template)
    if template and (slots.count("object") != 1 or set(slots) - {"object", "title"}):
        raise ConfigError(
            f"{where}: {template!r} must contain {{object}} exactly once, and no slot but {{title}} beside it"
        )
    if "title" in slots and not has_title:
        raise ConfigError(f"{where}: {template!r} has the slot {{title}}, and the relation has no title")
    return template


def _titles(value: object, where: str) -> dict[str, str]:
    titles = {"default": value} if isinstance(value, str) else as_mapping(value, where)
    if titles and "default" not in titles:
        raise ConfigError(f"{where}: needs a 'default' beside the titles of single subjects")
    return {key: str(title) for key, title in titles.items()}


def _check_templates(lists: Mapping[str, tuple[str, ...]], has_title: bool, where: str) -> None:
    wanted = {"edit": "subject", "probes": "subject", "questions": "subject", "inverse": "object"}
    for key, slot in wanted.items():
        for template in lists[key]:
            slots = _SLOT.findall(template)
            if slots.count(slot) != 1:
                raise ConfigError(f"{where}: {key}: {template!r} must contain {{{slot}}} exactly once")
            allowed = {slot, "title"} if has_title else {slot}
            if unknown := set(slots) - allowed:
                raise ConfigError(
                    f"{where}: {key}: {template!r} has the unknown slot {{{sorted(unknown)[0]}}}"
                )
    if shared := set(lists["edit"]) & {*lists["probes"], *lists["questions"]}:
        raise ConfigError(
            f"{where}: {sorted(shared)[0]!r} both edits and verifies; a probe must be held out of editing"
        )


def _policy(value: object, where: str) -> RelationPolicy:
    entry = as_mapping(value, where)
    check_keys(entry, ("editable", "min_publishers", "cool_off_h"), where)
    policy = RelationPolicy(**entry)
    if not isinstance(policy.editable, bool):
        raise ConfigError(f"{where}: editable must be true or false, got {brief(policy.editable)}")
    for key in ("min_publishers", "cool_off_h"):
        number = getattr(policy, key)
        if isinstance(number, bool) or not isinstance(number, int | float) or number < 0:
            raise ConfigError(f"{where}: {key} must be a number, zero or more, got {brief(number)}")
    return policy
