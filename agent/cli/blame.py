"""`factd blame`: where an answer comes from: revision, place, proposal, claims, articles."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.edits import OWN_PREFIX, unknown_relation
from agent.cli.session import Session, session
from agent.cli.text import emit, minute, out, out_lines
from agent.cli.views import evidence_lines, evidence_records, proposal_lines, proposal_record
from agent.errors import UnknownId, UsageError
from agent.store import published
from agent.store.blame import Provenance
from agent.store.blame import blame as blamed
from agent.store.db import Store
from agent.types import Article, FactKey

if TYPE_CHECKING:
    from agent.catalogue import Catalogue
    from agent.relations import Relation

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
_PLACES = {"weights": "in the weights", "overlay": "in the overlay, told to the model beside the question"}


def blame(
    ctx: typer.Context,
    subject: Annotated[
        str, typer.Argument(help='A subject ("Japan"), or a whole question ("Who leads Japan?").')
    ],
    relation: Annotated[str, typer.Argument(help="A relation; left out where a question is asked.")] = "",
    json: Json = False,
) -> None:
    """Tell where an answer comes from: revision, weights or overlay, proposal, claims, articles."""
    asked = session(ctx)
    with asked.reading() as store:
        found = _provenance(asked, store, subject, relation)
        served = published.current(store).id
    if not found:
        what = f"{subject!r}, {relation}" if relation else f"{subject!r}"
        raise UnknownId(f"revision {served} holds no fact for {what}: the answer is the base model's own")
    if json:
        facts = [
            {
                "place": p.place,
                "proposal": proposal_record(p.proposal),
                "evidence": evidence_records(p.claims, _cited(p)),
            }
            for p in found
        ]
        emit({"revision": served, "facts": facts})
        return
    out(f"revision {served}, published {minute(found[0].revision.created_at)} UTC")
    for item in found:
        out_lines(proposal_lines(item.proposal))
        out(f"  {_PLACES[item.place]}")
        out_lines(evidence_lines(item.claims, _cited(item)))


def _cited(item: Provenance) -> dict[str, Article]:
    return {article.id: article for article in item.articles}


def _provenance(asked: Session, store: Store, subject: str, relation: str) -> tuple[Provenance, ...]:
    """By the names that the served facts have; only then by the catalogue's, which takes longer."""
    held = sorted({fact.key for fact in published.current(store).facts})
    names = {name.casefold(): name for name, _ in held}
    if relation:
        wanted = [(subject, relation)]
    elif subject.casefold() in names:
        wanted = [key for key in held if key[0] == names[subject.casefold()]]
    else:
        wanted = list(keys_of_question(subject, _relations(asked)))
    keys = [(names.get(s.casefold(), s), r) for s, r in wanted]
    if not set(keys) & set(held):
        if relation and not relation.startswith(OWN_PREFIX) and relation not in _relations(asked):
            raise UsageError(unknown_relation(relation, _relations(asked)))
        catalogue = _catalogue(asked)
        keys = [(_canonical(s, catalogue), r) for s, r in wanted]
        keys = keys or [key for key in held if key[0] == _canonical(subject, catalogue)]
    return tuple(p for key in dict.fromkeys(keys) if key in held for p in blamed(store, *key))


def _canonical(name: str, catalogue: Catalogue) -> str:
    """A question has lost the article that an alias may begin with."""
    return catalogue.names.get(name) or catalogue.names.get(f"the {name}", name)


def keys_of_question(question: str, relations: Mapping[str, Relation]) -> Iterator[FactKey]:
    """Every (subject, relation) that `question` may ask for, by the relations' own questions and prompts;
    each once.
    """
    text = " ".join(question.split()).rstrip("?. ")
    seen: set[FactKey] = set()
    for name, relation in relations.items():
        titles = "|".join(re.escape(t) for t in sorted({relation.title, *relation.titles.values()} - {""}))
        for template in (*relation.questions, *relation.probes, *relation.edit):
            pattern = re.escape(template.rstrip("?. ")).replace(r"\{title\}", f"(?:{titles})")
            pattern = pattern.replace(r"\{subject\}'s", "(?:the )?(.+?)'s?").replace(
                r"\{subject\}", "(?:the )?(.+?)"
            )
            match = re.fullmatch(pattern, text, re.IGNORECASE)
            key = (match[1], name) if match else None
            if key and key not in seen:
                seen.add(key)
                yield key


def _relations(asked: Session) -> dict[str, Relation]:
    from agent.relations import load_relations

    return load_relations(asked.settings().relations)


def _catalogue(asked: Session) -> Catalogue:
    from agent.catalogue import load_catalogue

    return load_catalogue(asked.settings().catalogue)
