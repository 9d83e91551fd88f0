"""`factd rollback` and `factd revert`: serve another revision, or take one fact back."""

from __future__ import annotations

from typing import Annotated

import typer

from agent.cli.session import Session, repair, session, who
from agent.cli.text import emit, out, plural
from agent.cli.views import proposal_record
from agent.errors import StaleState, UnknownId, UsageError
from agent.store import queue, revisions
from agent.store.db import Store
from agent.store.decisions import Decision, decide
from agent.store.inside import replaced_by
from agent.store.lock import worker_lock
from agent.types import Proposal

Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it stays in the ledger.")]


def rollback(
    ctx: typer.Context,
    id: Annotated[int, typer.Argument(help="The revision to serve; 0 is the base model.")],
    reason: Reason = "",
) -> None:
    """Serve another revision. Nothing is deleted: the facts it lacks are rolled back, and going forward again
    is possible.
    """
    if not reason.strip():
        raise UsageError("going back needs a reason: add --reason TEXT")
    asked = session(ctx)
    # Straight to the store: nothing is computed here, so torch stays out.
    with asked.writing() as store:
        revisions.get(store, id)
        with worker_lock(store.folder):
            repair(store)
            revision = revisions.rollback(store, id, reason=reason, who=who(), now=asked.now())
    served = "the base model" if revision.id == revisions.BASE else f"revision {revision.id}"
    out(f"{served} is served, with {plural(len(revision.facts), 'fact')}")


def revert(
    ctx: typer.Context,
    subject: Annotated[
        str, typer.Argument(metavar="SUBJECT|ID", help="The subject of a live fact, or a proposal's number.")
    ],
    relation: Annotated[str, typer.Argument(help="Its relation; left out behind a number.")] = "",
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why (needed); it stays in the history.")
    ] = "",
    apply: Annotated[bool, typer.Option("--apply", help="Compile and publish without it at once.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="JSON on stdout (with --apply, that of `factd apply`).")
    ] = False,
) -> None:
    """Take one live fact back. The next `factd apply` compiles without it, as if it had never been edited."""
    if not reason.strip():
        raise UsageError("taking a fact back needs a reason: add --reason TEXT")
    asked = session(ctx)
    with asked.writing() as store:
        chosen = _chosen(asked, store, subject, relation)
        decision = Decision("take_back", reason)
        taken = decide(store, chosen.id, decision, seen=None, who=who(), now=asked.now()).proposal
        before = replaced_by(store, taken.id)
    asked.note(
        f"proposal {taken.id} is taken back: {taken.fact.subject}, {taken.fact.relation}: {taken.fact.object}"
    )
    if before is not None:
        asked.note(
            f"what it had replaced does not come back by itself; `factd queue add --subject {before.fact.subject!r}"
            f" --relation {before.fact.relation} --object {before.fact.object!r}` proposes it"
        )
    if apply:
        from agent.cli.run import apply as apply_now

        apply_now(ctx, json=json)
        return
    if json:
        emit({"proposal": proposal_record(taken)})
    asked.note("the model is served as before until `factd apply` compiles without it")


def _chosen(asked: Session, store: Store, subject: str, relation: str) -> Proposal:
    """The one live proposal that is meant. Raises UsageError, UnknownId, StaleState."""
    if not relation:
        if not subject.isdecimal():
            raise UsageError(f"name a relation behind {subject!r}, or give a proposal's number")
        return queue.get(store, int(subject))
    live = queue.proposals(store, "live")
    found = [
        p for p in live if p.fact.relation == relation and p.fact.subject.casefold() == subject.casefold()
    ]
    found = found or [p for p in live if p.fact.key == (_canonical(asked, subject), relation)]
    if not found:
        raise UnknownId(
            f"no live fact for {subject!r}, {relation}; `factd queue list --status live` shows them"
        )
    if len(found) > 1:
        several = ", ".join(f"{p.id} ({p.fact.object})" for p in found)
        raise StaleState(f"{subject!r}, {relation} has several facts: {several}; give the number of one")
    return found[0]


def _canonical(asked: Session, name: str) -> str:
    """The name that the catalogue has for an alias."""
    from agent.catalogue import load_catalogue

    names = load_catalogue(asked.settings().catalogue).names
    return names.get(name) or names.get(f"the {name}", name)
