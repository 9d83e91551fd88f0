"""What of Wikidata is followed: the items of the catalogue, and for each the sentences in which its facts are told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agent.catalogue import Catalogue, load_catalogue
from agent.relations import Relation, fill, load_relations
from agent.settings import Settings
from agent.sources.base import Source
from agent.sources.fetch import KINDS, kinds_for
from agent.sources.wikidata import Followed, Wanted
from agent.types import Entity, SourceSpec
from agent.wikibase import PROPERTY, is_source


def followed(relations: Mapping[str, Relation], catalogue: Catalogue) -> Followed:
    """For each item of the catalogue, what is asked of it: editable relations of one answer that have a Wikidata
    property and a sentence to say it in.
    """
    items = {
        item: wanted
        for item, name in catalogue.items.items()
        if (wanted := _wanted(catalogue.entities[name], relations))
    }
    return Followed(items)


def source_kinds(
    specs: Iterable[SourceSpec], relations: Mapping[str, Relation], catalogue: Catalogue
) -> tuple[Source, ...]:
    """The kinds of source that `specs` need, with what is followed on Wikidata if one of them reads that."""
    return kinds_for(followed(relations, catalogue)) if any(is_source(s.url) for s in specs) else KINDS


def kinds_in(settings: Settings, specs: Iterable[SourceSpec] | None = None) -> tuple[Source, ...]:
    """`source_kinds` of the settings' sources, or of others; relations and catalogue are read if need be. Raises
    ConfigError.
    """
    wanted = settings.sources if specs is None else tuple(specs)
    if not any(is_source(s.url) for s in wanted):
        return KINDS
    return source_kinds(wanted, load_relations(settings.relations), load_catalogue(settings.catalogue))


def _wanted(entity: Entity, relations: Mapping[str, Relation]) -> tuple[Wanted, ...]:
    return tuple(
        Wanted(r.name, r.wikidata, entity.name, sentence(r, entity))
        for r in relations.values()
        if PROPERTY.fullmatch(r.wikidata)
        and r.policy.editable
        and r.cardinality == "one"
        and entity.label in r.subject
        and (not r.kinds or entity.kind in r.kinds)
        and (r.statement or r.title)
    )


def sentence(relation: Relation, entity: Entity) -> str:
    """The plainest sentence for it, which the reader knows for certain, with `{object}` left open."""
    template = relation.statement or "{object} is the {title} of {subject}"
    return fill(template, entity, title=relation.title_for(entity.name), object_="{object}")
