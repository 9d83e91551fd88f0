"""`factd queue`: look at the proposals, and decide."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from agent.cli.edits import Wanted, knowledge, moment, of_fact, of_file
from agent.cli.session import confirm, session, who
from agent.cli.text import day, emit, minute, out, out_lines, plural, table, terminal_width
from agent.cli.views import (
    belief_lines,
    belief_record,
    event_record,
    evidence_lines,
    evidence_records,
    proposal_lines,
    proposal_record,
    request_record,
)
from agent.errors import UsageError
from agent.store import articles, queue
from agent.store.db import Store
from agent.store.decisions import Decision, decide
from agent.types import Status

app = typer.Typer(help="Look at the proposals, and decide.", no_args_is_help=True, rich_markup_mode=None)
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it stays in the history.")]
_STATUSES = get_args(Status)


@app.command("list")
def list_(
    ctx: typer.Context,
    status: Annotated[
        list[str] | None,
        typer.Option("--status", metavar="STATUS", help=f"Only these: {', '.join(_STATUSES)}. Repeatable."),
    ] = None,
    json: Json = False,
) -> None:
    """List proposals: what the model says, what the news says, who says it."""
    if unknown := set(status or ()) - set(_STATUSES):
        raise UsageError(f"--status: {sorted(unknown)[0]!r} is none; there are {', '.join(_STATUSES)}")
    with session(ctx).reading() as store:
        found = queue.proposals(store, *cast(list[Status], status or []))
    if json:
        emit({"proposals": [proposal_record(p) for p in found]})
        return
    rows = [
        (p.id, p.status, p.fact.subject, p.fact.relation, f"{p.target_old or '?'} -> {p.fact.object}",
         len(p.fact.publishers), day(p.fact.valid_from))
        for p in found
    ]  # fmt: skip
    out_lines(
        table(
            ("id", "status", "subject", "relation", "change", "voices", "since"), rows, width=terminal_width()
        )
    )
    session(ctx).note(plural(len(found), "proposal"))


@app.command()
def show(
    ctx: typer.Context, id: Annotated[int, typer.Argument(help="A proposal's number.")], json: Json = False
) -> None:
    """Show one proposal: its evidence, what the model answered, and its history."""
    with session(ctx).reading() as store:
        proposal, belief, events = queue.get(store, id), queue.belief(store, id), queue.events(store, id)
        request, claims = queue.request(store, id), articles.claims_by_id(store, proposal.fact.evidence)
        cited = {a.id: a for a in articles.articles_of(store, (claim.article_id for claim in claims))}
    if json:
        emit({
            "proposal": proposal_record(proposal),
            "evidence": evidence_records(claims, cited),
            "belief": None if belief is None else belief_record(belief),
            "request": None if request is None else request_record(request),
            "events": [event_record(e) for e in events],
        })  # fmt: skip
        return
    out_lines(proposal_lines(proposal))
    out_lines(evidence_lines(claims, cited))
    out_lines(belief_lines(belief))
    if request is not None:
        out_lines(
            ["", "edit as given:", *(f"  {prompt} -> {request.target_new}" for prompt in request.prompts)]
        )
    out_lines(["", "history:"])
    for e in events:
        what = e.target if e.source != e.target else f"{e.target} (unchanged)"
        out(f"  {minute(e.at)}  {what}  by {e.who}" + (f": {e.reason}" if e.reason else ""))


@app.command()
def approve(
    ctx: typer.Context,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID...|-", help="Proposals; - reads numbers from stdin.")
    ] = None,
    all: Annotated[bool, typer.Option("--all", help="Every pending proposal that is not deferred.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask back (for --all).")] = False,
    reason: Reason = "",
) -> None:
    """Approve proposals; `factd apply` then puts them into the model."""
    if all == bool(ids):
        raise UsageError("name proposals, or - for numbers on stdin, or --all")
    decision = Decision("approve", reason)
    done = "approved; `factd apply` puts what is approved into the model"
    if not all:
        _decide(ctx, ids or [], decision, done)
        return
    asked, now = session(ctx), session(ctx).now()
    with asked.writing() as store:
        chosen = _due(store, now)
        if chosen:
            confirm(f"Approve {plural(len(chosen), 'proposal')}?", yes=yes)
        with store.writing("decide"):
            chosen = _decide_pending(store, chosen, decision, now)
    asked.note(f"{plural(len(chosen), 'proposal')} {done}")


@app.command()
def reject(
    ctx: typer.Context,
    ids: Annotated[
        list[str], typer.Argument(metavar="ID...|-", help="Proposals; - reads numbers from stdin.")
    ],
    reason: Reason = "",
) -> None:
    """Reject proposals. A reason is needed; only publishers not heard so far bring the same fact up again."""
    if not reason.strip():
        raise UsageError("a rejection needs a reason: add --reason TEXT")
    _decide(ctx, ids, Decision("reject", reason), "rejected")


@app.command()
def reopen(
    ctx: typer.Context,
    ids: Annotated[
        list[str], typer.Argument(metavar="ID...|-", help="Proposals; - reads numbers from stdin.")
    ],
    reason: Annotated[str, typer.Option("--reason", help="Why it is worth another look (needed).")] = "",
) -> None:
    """Put failed or rejected proposals back to pending: to try again with other settings, or to decide anew."""
    if not reason.strip():
        raise UsageError("reopening needs a reason: add --reason TEXT")
    _decide(ctx, ids, Decision("reopen", reason), "reopened")


@app.command()
def defer(
    ctx: typer.Context,
    ids: Annotated[
        list[str], typer.Argument(metavar="ID...|-", help="Proposals; - reads numbers from stdin.")
    ],
    until: Annotated[
        str, typer.Option("--until", metavar="WHEN", help="3d, 12h, 2w, or a date: 2026-01-31 (UTC).")
    ],
    reason: Reason = "",
) -> None:
    """Put proposals off: no rule and no --all approves them before then."""
    at = moment(until, session(ctx).now())
    _decide(ctx, ids, Decision("defer", reason, at), f"deferred until {minute(at)} UTC")


@app.command()
def add(
    ctx: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(help="An edit file: FastEdit's, EasyEdit's, CounterFact's JSON, or factd's own."),
    ] = None,
    subject: Annotated[
        str, typer.Option("--subject", metavar="NAME", help="With --relation and --object: one fact.")
    ] = "",
    relation: Annotated[
        str, typer.Option("--relation", metavar="NAME", help="A relation of the relations file.")
    ] = "",
    object: Annotated[str, typer.Option("--object", metavar="NAME", help="What the model should say.")] = "",
    json: Json = False,
) -> None:
    """Queue edits of your own, from a file, or one fact by its parts. They are pending like all others."""
    parts = (subject, relation, object)
    if (file is None) == (not any(parts)) or (file is None and not all(parts)):
        raise UsageError("give an edit file, or all of --subject, --relation and --object")
    asked = session(ctx)
    now, known = asked.now(), knowledge(asked.settings())
    wanted = of_file(file, known, now) if file else [of_fact(subject, relation, object, known, now)]
    with asked.writing() as store, store.writing("decide"):
        placed = [_place(store, item, now) for item in wanted]
    new = [p.proposal for p in placed if p.is_new]
    if json:
        emit({
            "queued": [proposal_record(p) for p in new],
            "known": [p.proposal.id for p in placed if not p.is_new],
        })  # fmt: skip
    else:
        rows = [
            (
                p.id,
                p.fact.subject,
                p.fact.relation,
                p.fact.object,
                "new" if is_new else f"there already: {p.status}",
            )
            for p, is_new in ((item.proposal, item.is_new) for item in placed)
        ]
        out_lines(table(("id", "subject", "relation", "object", ""), rows, width=terminal_width()))
    asked.note(f"{plural(len(new), 'edit')} queued; `factd queue approve` approves them")


def _decide(ctx: typer.Context, ids: Sequence[str], decision: Decision, done: str) -> None:
    """One decision for every proposal named, all of them or none."""
    asked, chosen = session(ctx), _numbers(ids)
    now = asked.now()
    with asked.writing() as store, store.writing("decide"):
        for number in chosen:
            decide(store, number, decision, seen=None, who=who(), now=now)
    asked.note(f"{plural(len(chosen), 'proposal')} {done}")


def _place(store: Store, wanted: Wanted, now: datetime) -> queue.Proposed:
    return queue.propose(
        store, wanted.draft, now=now, request=wanted.request, single=wanted.single, who=who()
    )


def _due(store: Store, now: datetime) -> list[int]:
    """What waits for a decision, the newest fact first."""
    return [
        p.id for p in sorted(queue.due(store, now), key=lambda p: (p.fact.valid_from, p.id), reverse=True)
    ]


def _decide_pending(store: Store, chosen: Sequence[int], decision: Decision, now: datetime) -> list[int]:
    """Of two objects for one key only the newer can be approved: the one it supersedes on the way is left
    out.
    """
    done = []
    for number in chosen:
        if queue.get(store, number).status == "pending":
            decide(store, number, decision, seen=None, who=who(), now=now)
            done.append(number)
    return done


def _numbers(given: Sequence[str]) -> list[int]:
    """Proposal numbers from the arguments, `-` standing for those on stdin; each once. Raises UsageError."""
    words = [word for item in given for word in (sys.stdin.read().split() if item == "-" else [item])]
    if strange := next((word for word in words if not (word.isascii() and word.isdigit())), None):
        raise UsageError(f"{strange!r} is no proposal's number; `factd queue list` shows them")
    if not words:
        raise UsageError("no proposal's number was given")
    return list(dict.fromkeys(int(word) for word in words))
