"""`factd status`: what is served, what the last rounds did, what waits, and what is wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from agent.cli.session import session
from agent.cli.text import emit, minute, out_lines, plural, table, terminal_width
from agent.health import Gone, Source, Standing
from agent.redact import redactor_for
from agent.rhythm import span
from agent.standing import standing
from agent.store.db import read_store

PROBLEMS = 1
_ROUNDS = 5


def status(
    ctx: typer.Context, json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False
) -> None:
    """Say how things stand: what is served, the last rounds, what waits for you, sources that fail, disk use. Exit 1 when
    something is wrong. Changes nothing and loads no model.
    """
    asked = session(ctx)
    settings = asked.settings()
    with read_store(settings.state) as store:
        redact = redactor_for(settings, os.environ)
        found = standing(settings, store, asked.now(), redact, rounds_shown=_ROUNDS)
    if json:
        emit(record(found))
    else:
        out_lines(lines(found))
        out_lines(f"problem: {problem.message}" for problem in found.problems)
    if found.problems:
        raise typer.Exit(PROBLEMS)


def lines(found: Standing) -> Iterator[str]:
    """For people; what is wrong comes after it."""
    served = found.served
    what = f"revision {served.id}" if served.id else "the base"
    beside = f", {served.beside} of them beside the weights" if served.beside else ""
    yield f"served    {what}, {plural(served.facts, 'fact')}{beside}, since {minute(served.since_at)} UTC"
    yield f"daemon    {_daemon(found)}"
    yield f"waiting   {_waiting(found)}"
    failing = len(found.failing)
    yield f"sources   {plural(len(found.sources), 'source')}, {failing or 'none'} of them failing; {plural(found.articles, 'article')}, {plural(found.claims, 'claim')}"
    parts = ", ".join(f"{name} {megabytes(size)}" for name, size in found.disk.used.items())
    yield f"disk      {megabytes(found.disk.total)} ({parts}), {megabytes(found.disk.free)} free"
    if found.rounds:
        yield ""
        yield from table(
            ("round", "began (UTC)", "took", "ended", "what"), map(_row, found.rounds), width=terminal_width()
        )
    if found.failing:
        yield ""
        rows = [(s.name, s.state, s.errors, _next(s), s.last_error) for s in found.failing]
        yield from table(("source", "state", "errors", "next try (UTC)", "why"), rows, width=terminal_width())
    if found.problems:
        yield ""


def record(found: Standing) -> dict[str, Any]:
    """The same for programs."""
    return {
        "at": found.at,
        "ok": not found.problems,
        "ready": found.is_ready,
        "problems": [{"code": p.code, "message": p.message, "blocks": p.blocks} for p in found.problems],
        "served": _fields(found.served),
        "daemon": {"runs": found.daemon_pid is not None, "pid": found.daemon_pid or None},
        "rounds": [_fields(r) | {"counts": dict(r.counts)} for r in found.rounds],
        "last_good_at": found.last_good_at,
        "queue": dict(found.queue),
        "deferred": found.deferred,
        "canary": None if found.hold is None else _fields(found.hold),
        "sources": [_fields(s) for s in found.sources],
        "articles": found.articles,
        "claims": found.claims,
        "disk": {"used": dict(found.disk.used), "free": found.disk.free},
    }


def megabytes(size: int) -> str:
    return f"{size / 2**30:.1f} GB" if size >= 2**30 else f"{size / 2**20:.1f} MB"


def _daemon(found: Standing) -> str:
    if found.daemon_pid is None:
        return "does not run"
    running = found.rounds and found.rounds[0].outcome == "running"
    due = found.rounds[0].next_at if found.rounds else None
    if running:
        what = "a round is in progress"
    elif due is None:
        what = "a round begins soon"
    else:
        wait_s = (due - found.at).total_seconds()
        what = f"the next round is due in {span(wait_s)}" if wait_s > 0 else "a round is due"
    return f"runs (process {found.daemon_pid or 'unknown'}), {what}"


def _waiting(found: Standing) -> str:
    pending = found.queue.get("pending", 0) - found.deferred
    said = [f"{plural(pending, 'proposal')} for a person"]
    said += [f"{found.deferred} deferred"] if found.deferred else []
    said += [
        f"{n} {status}"
        for status in ("approved", "editing", "verified", "failed")
        if (n := found.queue.get(status, 0))
    ]
    return ", ".join(said)


def _row(done: Gone) -> tuple[object, ...]:
    found = [f"{n} {name.replace('_', ' ')}" for name, n in done.counts.items() if n]
    what = ", ".join(found) if done.outcome == "ok" else done.message
    took = "" if done.outcome in ("running", "lost") else f"{done.took_s:.1f} s"
    return (done.id, minute(done.started_at), took, done.outcome, what or "nothing new")


def _next(source: Source) -> str:
    return "never: it said that it is gone" if source.state == "gone" else minute(source.next_poll_at)


def _fields(value: object) -> dict[str, Any]:
    return {name: getattr(value, name) for name in type(value).__slots__}  # type: ignore[attr-defined]
