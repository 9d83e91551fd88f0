"""`factd revisions`, `factd rollback`, `factd blame`: what was published, going back, and where an answer
comes from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.edits import OWN_PREFIX, unknown_relation
from agent.cli.session import Session, session, who
from agent.cli.text import emit, minute, out, out_lines, plural, table
from agent.cli.views import evidence_lines, evidence_records, proposal_lines, proposal_record, revision_record
from agent.errors import UnknownId, UsageError
from agent.store import revisions as stored
from agent.store.blame import Provenance
from agent.store.blame import blame as blamed
from agent.store.db import Store
from agent.store.lock import worker_lock
from agent.types import Article, FactKey

if TYPE_CHECKING:
    from agent.catalogue import Catalogue
    from agent.relations import Relation

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


def revisions(ctx: typer.Context, json: Json = False) -> None:
    """List the published revisions; 0 is the base model, * marks the one that is served."""
    with session(ctx).reading() as store, store.reading():
        served, statuses = stored.current(store).id, stored.statuses(store)
        found = (stored.get(store, stored.BASE), *stored.revisions(store))
    if json:
        listed = [
            revision_record(r, current=r.id == served, status=statuses.get(r.id, "base")) for r in found
        ]
        emit({"current": served, "revisions": listed})
        return
    rows = []
    for r in found:
        after = {} if r.report is None else r.report.after
        rates = [
            f"{after[name]:.1%}" if name in after else ""
            for name in ("efficacy", "paraphrase", "others_unchanged")
        ]
        mark = "*" if r.id == served else ""
        rows.append(
            (
                mark,
                r.id,
                minute(r.created_at),
                statuses.get(r.id, "base").replace("_", " "),
                len(r.facts),
                *rates,
            )
        )
    out_lines(
        table(
            ("", "id", "created (UTC)", "status", "facts", "efficacy", "paraphrase", "others unchanged"), rows
        )
    )


def rollback(
    ctx: typer.Context,
    id: Annotated[int, typer.Argument(help="The revision to serve; 0 is the base model.")],
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; it stays in the ledger.")
    ] = "",
) -> None:
    """Serve another revision. Nothing is deleted: the facts it lacks are rolled back, and going forward again
    is possible.
    """
    if not reason.strip():
        raise UsageError("going back needs a reason: add --reason TEXT")
    asked = session(ctx)
    # Straight to the store: nothing is computed here, so torch stays out.
    with asked.writing() as store:
        stored.get(store, id)
        with worker_lock(store.folder):
            stored.repair(store)
            revision = stored.rollback(store, id, reason=reason, who=who(), now=asked.now())
    served = "the base model" if revision.id == stored.BASE else f"revision {revision.id}"
    out(f"{served} is served, with {plural(len(revision.facts), 'fact')}")


def blame(
    ctx: typer.Context,
    subject: Annotated[
        str, typer.Argument(help='A subject ("Japan"), or a whole question ("Who leads Japan?").')
    ],
    relation: Annotated[str, typer.Argument(help="A relation; left out where a question is asked.")] = "",
    json: Json = False,
) -> None:
    """Tell where an answer comes from: revision, proposal, claims, articles."""
    asked = session(ctx)
    with asked.reading() as store:
        found = _provenance(asked, store, subject, relation)
        served = stored.current(store).id
    if not found:
        what = f"{subject!r}, {relation}" if relation else f"{subject!r}"
        raise UnknownId(f"revision {served} holds no fact for {what}: the answer is the base model's own")
    if json:
        facts = [(proposal_record(p.proposal), evidence_records(p.claims, _cited(p))) for p in found]
        emit({"revision": served, "facts": [{"proposal": p, "evidence": e} for p, e in facts]})
        return
    out(f"revision {served}, published {minute(found[0].revision.created_at)} UTC")
    for item in found:
        out_lines(proposal_lines(item.proposal))
        out_lines(evidence_lines(item.claims, _cited(item)))


def _cited(item: Provenance) -> dict[str, Article]:
    return {article.id: article for article in item.articles}


def _provenance(asked: Session, store: Store, subject: str, relation: str) -> tuple[Provenance, ...]:
    """By the names that the served facts have; only then by the catalogue's, which takes longer."""
    held = sorted({fact.key for fact in stored.current(store).facts})
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
