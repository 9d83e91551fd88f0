"""Everything that was read about one subject, in time order, and what it comes to. Pure, the clock passed in."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from agent.catalogue import Catalogue
from agent.decide import key_of
from agent.eligible import Names, fold, index, listed
from agent.errors import UsageError
from agent.evidence import Heard
from agent.policy import Policy
from agent.relations import Relation
from agent.types import Claim, Fact, Proposal, Skip
from agent.voices import Evidence


@dataclass(frozen=True, slots=True)
class Told:
    """One story's word on one day: `publishers` print it, `silent` of them through sources without a voice.

    `story` numbers the stories of the timeline from 1, `title` is that of the first article.
    """

    at: datetime
    kind: str
    object: str
    publishers: tuple[str, ...]
    silent: tuple[str, ...]
    story: int
    title: str
    claims: tuple[str, ...]
    dated: bool


@dataclass(frozen=True, slots=True)
class Track:
    """One relation of the subject: who said what, what stands in the queue, and what the decider concludes."""

    relation: str
    told: tuple[Told, ...]
    proposals: tuple[Proposal, ...]
    outcomes: tuple[Fact | Skip, ...]


def find_subject(name: str, catalogue: Catalogue, claims: Iterable[Claim]) -> str:
    """The subject that `name` (a name, an alias, in any spelling) means: the catalogue's, else as it was read.

    Raises UsageError where nobody is called so, with the nearest names, or where several are.
    """
    names, form = index(catalogue), fold(name)
    if name in catalogue.entities:
        return name
    bearers = sorted(entity.name for entity in names.bearers.get(form, ()))
    if len(bearers) == 1:
        return bearers[0]
    if bearers:
        raise UsageError(f"{name!r} can be {listed(bearers, 'or')}; say which")
    read = {fold(claim.subject): claim.subject for claim in claims}
    if form in read:
        return read[form]
    known = {**read, **{other: entities[0].name for other, entities in names.bearers.items()}}
    near = list(dict.fromkeys(known[f] for f in difflib.get_close_matches(form, known, n=4, cutoff=0.6)))
    hint = f"; did you mean {listed(near, 'or')}?" if near else ""
    raise UsageError(f"{name!r} is not in the catalogue, and nothing was read about it{hint}")


def tracks(
    heard: Heard,
    subject: str,
    proposals: Iterable[Proposal],
    *,
    policy: Policy,
    now: datetime,
    relations: Mapping[str, Relation],
    catalogue: Catalogue,
) -> list[Track]:
    """One for each relation in which anything was read or queued about `subject`, in the relations' order."""
    names = index(catalogue)
    outcomes = [o for o in heard.merged(policy, now, relations, catalogue) if o.subject == subject]
    queued = [p for p in proposals if p.fact.subject == subject]
    claims: dict[str, list[Claim]] = {}
    for claim in heard.claims:
        key = key_of(claim, relations, names)
        if key[0] == subject:
            claims.setdefault(key[1], []).append(claim)
    found = {*claims, *(p.fact.relation for p in queued)}
    order = {name: place for place, name in enumerate(relations)}
    return [
        Track(
            relation,
            _told(heard, claims.get(relation, ()), relations.get(relation), names, now),
            tuple(p for p in queued if p.fact.relation == relation),
            tuple(o for o in outcomes if o.relation == relation),
        )
        for relation in sorted(found, key=lambda name: (order.get(name, len(order)), name))
    ]


def _told(
    heard: Heard, claims: Sequence[Claim], relation: Relation | None, names: Names, now: datetime
) -> tuple[Told, ...]:
    evidence = sorted(heard.evidence(claims, now), key=lambda e: (e.at, e.story, e.claim.id, e.publisher))
    numbers = {story: n for n, story in enumerate(dict.fromkeys(e.story for e in evidence), 1)}
    labels = relation.object if relation else ()
    groups: dict[tuple[str, str, str, str], list[Evidence]] = {}
    for item in evidence:
        name = names.canonical(item.claim.object, labels)
        groups.setdefault((f"{item.at:%Y-%m-%d}", item.story, item.claim.kind, fold(name)), []).append(item)
    return tuple(
        Told(
            at=items[0].at,
            kind=items[0].claim.kind,
            object=names.canonical(items[0].claim.object, labels),
            publishers=tuple(sorted({e.publisher for e in items})),
            silent=tuple(sorted({e.publisher for e in items if e.weight == 0})),
            story=numbers[items[0].story],
            title=heard.cited[items[0].claim.article_id].title,
            claims=tuple(dict.fromkeys(e.claim.id for e in items)),
            dated=any(e.dated for e in items),
        )
        for items in groups.values()
    )
