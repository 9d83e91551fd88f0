"""`factd plan`, `factd run`, `factd apply`: the pipeline, dry, at work, and its last part alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.explain import skip_lines
from agent.cli.session import Session, session
from agent.cli.text import day, emit, err, out, out_lines, plural, table, terminal_width
from agent.cli.views import proposal_record, report_record, skip_record
from agent.errors import SourceError, UsageError
from agent.types import Proposal

if TYPE_CHECKING:
    from agent.pipeline import Gathered
    from agent.revise import Revised

CHANGES_PENDING = 3
REFUSED = 4
PARTLY = 5
RETURNED = 7
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


def plan(
    ctx: typer.Context,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also every fact that is not proposed, and why.")
    ] = False,
    json: Json = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 3 when there is something to propose.")
    ] = False,
) -> None:
    """Show what would be proposed now, and touch nothing: no queue, no model, no revision."""
    from agent.pipeline import plan as planned

    asked = session(ctx)
    with asked.looking() as shop:
        found = planned(shop)
    _tell_sources(found)
    _tell_extractor(asked, found)
    if json:
        emit({
            "proposals": [_planned_record(p, found) for p in found.new],
            "skips": [skip_record(s) for s in found.skips],
            "sources": _source_records(found),
            **_extractor_record(found),
        })  # fmt: skip
    else:
        _show_plan(asked, found, explain)
    _all_sources_failed(found)
    if exit_code and found.new:
        raise typer.Exit(CHANGES_PENDING)


def run(
    ctx: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="One round, then leave.")] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON on stdout (with --once).")] = False,
    log: Annotated[
        str | None, typer.Option("--log", metavar="text|json", help="The form of the log's lines on stderr.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", metavar="N", min=0, max=65535, help="Status page, /healthz, /readyz, /metrics."
        ),
    ] = None,
) -> None:
    """Read the news, queue proposals, put approved ones into the model. Without --once: again and again,
    until stopped.
    """
    if json and not once:
        raise UsageError("--json goes with --once")
    if once and (log is not None or port is not None):
        raise UsageError("--log and --port go without --once")
    if not once:
        from agent.cli.daemon import serve

        serve(session(ctx), log=log, port=port)
        return
    from agent.rounds import noted

    asked = session(ctx)
    with asked.working() as shop:
        found, revised = noted(shop)
    _tell_sources(found)
    _tell_extractor(asked, found)
    if json:
        emit({
            "proposals": [proposal_record(p) for p in found.new],
            "approved": [p.id for p in found.approved],
            "skips": [skip_record(s) for s in found.skips],
            "sources": _source_records(found),
            **_extractor_record(found),
            "applied": None if revised is None else _revised_record(revised),
        })  # fmt: skip
    else:
        _show_round(asked, found, revised)
    _all_sources_failed(found)
    if revised is not None:
        _leave(revised)


def apply(
    ctx: typer.Context,
    retry: Annotated[
        bool, typer.Option("--retry", help="Try the facts of the overlay in the weights again.")
    ] = False,
    json: Json = False,
) -> None:
    """Compile the approved proposals into the model, verify, publish. What the gate refuses is answered
    beside the weights (serve.overlay), or fails. After a canary that was refused (policy.canary) this is what goes on.
    """
    from agent.revise import apply as applied

    asked = session(ctx)
    with asked.working() as shop:
        revised = applied(shop, retry=retry, resume=True)
    if json:
        emit(_revised_record(revised))
    else:
        _show_revised(asked, revised)
    _leave(revised)


def _show_plan(asked: Session, found: Gathered, explain: bool) -> None:
    rows = [
        (p.fact.subject, p.fact.relation, f"{p.target_old or '?'} -> {p.fact.object}", day(p.fact.valid_from),
         ", ".join(p.fact.publishers))
        for p in found.new
    ]  # fmt: skip
    if rows:
        out_lines(table(("subject", "relation", "change", "since", "said by"), rows, width=terminal_width()))
    out(f"{plural(len(rows), 'change')} to propose, {plural(len(found.skips), 'fact')} left alone")
    if explain:
        out_lines(_ruling_lines(found) if asked.settings().policy.auto_approve else [])
        out_lines(skip_lines(found.skips))
    elif found.skips:
        asked.note("`factd plan --explain` says why facts were left alone")
    if rows:
        asked.note("nothing was changed; `factd run --once` puts them into the queue")


def _show_round(asked: Session, found: Gathered, revised: Revised | None) -> None:
    articles = sum(len(f.articles) for f in found.fetched)
    counts = (
        plural(len(found.fetched), "source"),
        plural(articles, "article"),
        plural(found.claims, "new claim"),
    )
    out("{} polled, {} seen, {}".format(*counts))
    out(f"{plural(len(found.new), 'new proposal')}, {plural(len(found.skips), 'fact')} left alone")
    if found.approved:
        out(f"approved by your rules: {', '.join(str(p.id) for p in found.approved)}")
    if found.new and len(found.new) > len(found.approved):
        asked.note("`factd queue list --status pending` shows what waits for you")
    if revised is not None:
        _show_revised(asked, revised)


def _show_revised(asked: Session, revised: Revised) -> None:
    from agent.verify.report import lines

    if revised.report is not None:
        out_lines(lines(revised.report))
        out()
    rows = [
        (
            "live beside" if p.id in revised.beside else "live",
            p.id,
            f"{p.fact.subject}, {p.fact.relation}: {p.fact.object}",
        )
        for p in revised.added
    ]
    rows += [("", i, why) for i, why in sorted(revised.beside.items())]
    rows += [("failed", i, why) for i, why in sorted(revised.failed.items())]
    rows += [("pending again", i, why) for i, why in sorted(revised.returned.items())]
    rows += [("waits", i, why) for i, why in sorted(revised.held.items())]
    if rows:
        out_lines(table(("", "id", "what"), rows))
    if revised.report is None:
        served = revised.revision.id if revised.revision else 0
        out(f"nothing to apply; revision {served} is served")
        asked.note("`factd queue approve` chooses what goes in next")
    elif revised.revision is None or (revised.failed and not revised.added):
        out("the gate refused; nothing was published and the model is served as before")
    else:
        facts = plural(len(revised.revision.facts), "fact")
        out(f"revision {revised.revision.id} is served: {facts}, {len(revised.added)} of them new")
        if told := len(revised.revision.overlay):
            out(
                f"{plural(told, 'fact')} beside the weights (overlay): answered by `factd ask` and `factd serve` only"
            )


def _planned_record(proposal: Proposal, found: Gathered) -> dict[str, Any]:
    """Without a number: the queue in which it would have had one is gone. With the rule that would approve it, if there is one."""
    record = {
        key: value for key, value in proposal_record(proposal).items() if key not in ("id", "created_at")
    }
    ruling = found.rulings.get(proposal.id)
    return record | {"rule": ruling.rule if ruling else "", "approval": str(ruling) if ruling else ""}


def _ruling_lines(found: Gathered) -> list[str]:
    """Which rule approves each proposal, or why none does; nothing where there are no rules."""
    lines = [
        f"  - {p.fact.subject}, {p.fact.relation}, {p.fact.object}: {found.rulings[p.id]}"
        for p in {p.id: p for p in (*found.approved, *found.new)}.values()
        if p.id in found.rulings
    ]
    return ["", "What your rules say (policy.auto_approve)", *lines] if lines else []


def _revised_record(revised: Revised) -> dict[str, Any]:
    return {
        "revision": None if revised.revision is None else revised.revision.id,
        "added": [p.id for p in revised.added],
        "failed": [{"id": i, "reason": why} for i, why in sorted(revised.failed.items())],
        "returned": [{"id": i, "reason": why} for i, why in sorted(revised.returned.items())],
        "beside": [{"id": i, "reason": why} for i, why in sorted(revised.beside.items())],
        "held": [{"id": i, "reason": why} for i, why in sorted(revised.held.items())],
        "report": None if revised.report is None else report_record(revised.report),
    }


def _leave(revised: Revised) -> None:
    """Raises typer.Exit where something that was approved did not get in."""
    if revised.failed:
        raise typer.Exit(PARTLY if revised.added else REFUSED)
    if revised.revision is None:
        raise typer.Exit(REFUSED)
    if revised.held:
        raise typer.Exit(PARTLY)
    if revised.returned:
        raise typer.Exit(PARTLY if revised.added else RETURNED)


def _tell_sources(found: Gathered) -> None:
    for failure in found.failures:
        err(f"warning: source {failure.source}: {failure.message}")


def _tell_extractor(asked: Session, found: Gathered) -> None:
    """What the language model did, where one was asked."""
    reading = found.reading
    if reading.failed:
        err(
            f"warning: the extractor's model gave no usable answer to {len(reading.failed)} of"
            f" {plural(reading.asked, 'article')}, which will be asked about again: {reading.failed[-1]}"
        )
    if reading.asked:
        dropped = ", ".join(f"{why} {n}" for why, n in sorted(reading.dropped.items(), key=lambda d: -d[1]))
        asked.note(
            f"the extractor's model was asked about {plural(reading.asked, 'article')}, {reading.waiting} wait;"
            f" dropped of what it said: {dropped or 'nothing'}"
        )


def _extractor_record(found: Gathered) -> dict[str, Any]:
    """Nothing where no language model was asked."""
    reading = found.reading
    told = {"asked": reading.asked, "failed": list(reading.failed), "waiting": reading.waiting}
    return {"extractor": {**told, "dropped": dict(reading.dropped)}} if reading.asked else {}


def _all_sources_failed(found: Gathered) -> None:
    """One feed that is away is a warning; none that can be read is an error."""
    if found.fetched and len(found.failures) == len(found.fetched):
        raise SourceError(
            "no source could be read; `factd doctor` looks closer, nothing of the state is lost"
        )


def _source_records(found: Gathered) -> list[dict[str, Any]]:
    return [
        {
            "name": f.source,
            "status": f.status,
            "articles": len(f.articles),
            "message": f.message,
            "notes": list(f.notes),
        }
        for f in sorted(found.fetched, key=lambda f: f.source)
    ]
