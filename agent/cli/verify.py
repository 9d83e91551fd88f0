"""`factd verify`: whether the served model still says what it was published for, and the report of it as a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.session import Session, session
from agent.cli.text import emit, out, out_lines
from agent.cli.views import number, report_record
from agent.errors import UsageError, VerificationFailed

if TYPE_CHECKING:
    from agent.page.inputs import Inputs
    from agent.recheck import Recheck


def verify(
    ctx: typer.Context,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="DIR", help="Write report.html and report.json into this folder."),
    ] = None,
    stored: Annotated[
        bool, typer.Option("--stored", help="Ask nothing: report what was kept at publication.")
    ] = False,
    revision: Annotated[
        int | None,
        typer.Option("--revision", metavar="N", help="With --stored: another than the served one."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Ask the served revision every probe of its publication again, as it is served, and compare. Exit 4 when
    it fails now.

    --report writes the result as one page that opens in a browser without a network, and as JSON (docs/report.md). With --stored no
    model is loaded, and the exit code says only whether the report could be written.
    """
    asked = session(ctx)
    if stored and report is None:
        raise UsageError("--stored needs --report DIR: it writes what was kept at publication")
    if revision is not None and not stored:
        raise UsageError("--revision needs --stored: only the served revision can be asked again")
    if report is not None:
        from agent.reportfiles import folder_for

        # Before minutes of asking.
        folder_for(report)
    if stored and report is not None:
        _stored(asked, report, revision, json=json)
    else:
        _asked_again(asked, report, json=json)


def _stored(asked: Session, folder: Path, revision_id: int | None, *, json: bool) -> None:
    from agent.reportfiles import kept

    with asked.reading() as store:
        found = kept(store, asked.settings(), asked.now(), revision_id)
    _written(asked, folder, found)
    if json:
        passed = found.report is None or found.report.passed
        record = None if found.report is None else report_record(found.report)
        emit({"revision": found.revision.id, "passed": passed, "moved": {}, "report": record})


def _asked_again(asked: Session, folder: Path | None, *, json: bool) -> None:
    from agent.recheck import recheck

    with asked.looking() as shop:
        found = recheck(shop)
        if folder is not None:
            from agent.reportfiles import fresh

            page = fresh(shop.store, shop.settings, shop.clock(), found.revision, found.report, found.moved)
            _written(asked, folder, page)
    if json:
        _emit(found)
    else:
        _show(found)
    if not found.passed:
        raise VerificationFailed(
            f"revision {found.revision.id} fails verification now; `factd rollback 0 --reason ...` serves the"
            " base meanwhile"
        )


def _written(asked: Session, folder: Path, found: Inputs) -> None:
    from agent.reportfiles import write

    asked.note(f"wrote {write(folder, found)}")


def _emit(found: Recheck) -> None:
    moved = {name: {"then": number(then), "now": number(now)} for name, (then, now) in found.moved.items()}
    report = None if found.report is None else report_record(found.report)
    emit({"revision": found.revision.id, "passed": found.passed, "moved": moved, "report": report})


def _show(found: Recheck) -> None:
    from agent.verify.report import lines

    if found.report is None:
        out("the base model is served; there is nothing to verify")
        return
    out(f"revision {found.revision.id}")
    out_lines(lines(found.report))
    out()
    out_lines(
        f"{name.replace('_', ' ')}: was {then:.4f} at publication, is {now:.4f}"
        for name, (then, now) in found.moved.items()
    )
    if not found.moved:
        out("every figure is as it was at publication")
