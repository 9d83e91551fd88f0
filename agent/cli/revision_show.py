"""`factd revisions show`: one revision from its rows and files, without the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from agent.cli.session import session
from agent.cli.text import day, emit, minute, out_lines, table
from agent.cli.views import fact_record, proposal_record, report_record, revision_record
from agent.store import published
from agent.store.inside import File, Held, LeftOut, files, held, left_out
from agent.store.published import Keeping
from agent.types import Report, Revision


def show(
    ctx: typer.Context,
    id: Annotated[int, typer.Argument(help="A revision's number; 0 is the base model.")],
    json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Show one revision: its facts and where they are, what was left out and why, metrics, weights, files."""
    with session(ctx).reading() as store, store.reading():
        revision = published.get(store, id)
        kept = None if id == published.BASE else published.keeping(store, id)
        served, status = published.pointer(store) == id, published.statuses(store).get(id, "base")
        facts, without, listed = held(store, id), left_out(store, id), files(store, id)
    if json:
        record = revision_record(revision, current=served, status=status, kept=kept)
        record["facts"] = [_held_record(one) for one in facts]
        report = None if revision.report is None else report_record(revision.report)
        emit({
            **record,
            "left_out": [_left_out_record(one) for one in without],
            "report": report,
            "files": [{"name": f.name, "sha256": f.sha256, "bytes": f.size} for f in listed],
        })  # fmt: skip
        return
    out_lines(_head(revision, kept, served=served, status=status))
    out_lines(_fact_lines(facts))
    out_lines(_left_out_lines(without))
    if revision.report is not None:
        out_lines(report_lines(revision.report))
    out_lines(_file_lines(listed))


def _head(revision: Revision, kept: Keeping | None, *, served: bool, status: str) -> Iterator[str]:
    if kept is None:
        yield "revision 0: the base model" + (", served" if served else "")
        return
    yield f"revision {revision.id}: {status.replace('_', ' ')}" + (", served" if served else "")
    yield f"  published {minute(revision.created_at)} UTC"
    yield f"  base {revision.base_sha}"
    yield f"  delta {revision.delta_sha}"
    if kept.pinned_at is not None:
        yield f"  pinned {minute(kept.pinned_at)} UTC: {kept.pin_reason}"
    if kept.removed_at is not None:
        yield (
            f"  its weights were removed {minute(kept.removed_at)} UTC;"
            f" `factd revisions rebuild {revision.id}` compiles them again"
        )


def _fact_lines(facts: Sequence[Held]) -> list[str]:
    if not facts:
        return ["", "no facts"]
    rows = [
        (h.proposal.id, h.place, h.proposal.fact.subject, h.proposal.fact.relation, h.proposal.fact.object,
         day(h.proposal.fact.valid_from), f"{h.first_in}, {day(h.first_at)}")
        for h in facts
    ]  # fmt: skip
    heads = ("id", "place", "subject", "relation", "object", "valid since", "first in revision")
    return ["", *table(heads, rows)]


def _left_out_lines(without: Sequence[LeftOut]) -> Iterator[str]:
    if without:
        yield ""
        yield "left out since the revision before:"
    for one in without:
        fact = one.proposal.fact
        yield f"  {one.proposal.id}  {fact.subject}, {fact.relation}: {fact.object}"
        yield f"      {one.event.reason}"


def report_lines(report: Report) -> Iterator[str]:
    """Metrics with intervals, reasons, and the edited weights."""
    yield ""
    yield f"verification: {'passed' if report.passed else 'refused'}"
    yield from (f"  - {reason}" for reason in report.reasons)
    rows = [
        (name.replace("_", " "), figure(report.before.get(name)), figure(value), report.counts.get(name, ""),
         _interval(report, name))
        for name, value in report.after.items()
    ]  # fmt: skip
    yield from table(("metric", "before", "after", "n", "95 % interval after"), rows)
    if report.norms:
        yield ""
        yield from table(
            ("edited weight", "update / weight"), ((name, f"{v:.4g}") for name, v in report.norms.items())
        )


def figure(value: float | None) -> str:
    """A metric; empty where there is none, or where nothing was measured."""
    return "" if value is None or value != value else f"{value:.3f}"


def _interval(report: Report, name: str) -> str:
    if name not in report.intervals:
        return ""
    low, high = report.intervals[name]
    return f"{figure(low)} to {figure(high)}"


def _file_lines(listed: Sequence[File]) -> list[str]:
    if not listed:
        return []
    rows = [(f.name, "missing" if f.size is None else f.size, f.sha256) for f in listed]
    return ["", *table(("file", "bytes", "SHA-256"), rows)]


def _held_record(one: Held) -> dict[str, Any]:
    return {
        **fact_record(one.proposal.fact),
        "proposal": one.proposal.id,
        "place": one.place,
        "first_in": one.first_in,
        "first_at": one.first_at,
    }


def _left_out_record(one: LeftOut) -> dict[str, Any]:
    return {
        "proposal": proposal_record(one.proposal),
        "at": one.event.at,
        "status": one.event.target,
        "reason": one.event.reason,
    }
