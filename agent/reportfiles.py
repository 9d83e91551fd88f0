"""The verification report as files: `report.html` for people, `report.json` for programs. Reads the store, asks no model.

Nothing here imports torch: a report that was kept at publication is written without loading a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path

from agent.errors import InputError, UsageError
from agent.page.document import document, to_text
from agent.page.html import html
from agent.page.inputs import Inputs, LeftOut, Member, Past, Threshold
from agent.page.metrics import finite
from agent.page.view import view
from agent.settings import Settings, VerifySettings
from agent.store import queue, revisions
from agent.store.db import Store
from agent.types import Proposal, Report, Revision, Status
from agent.versions import own_version
from agent.whole import write_whole

HTML, JSON = "report.html", "report.json"


def kept(store: Store, settings: Settings, now: datetime, revision_id: int | None = None) -> Inputs:
    """What was kept at the publication of a revision, the one that is served if none is named.

    Raises UnknownId, StoreError when its files are gone or were changed.
    """
    with store.reading():
        served = revisions.current(store)
        revision = served if revision_id is None else revisions.get(store, revision_id)
        report = revision.report
        if report is not None:
            report = replace(report, asked=revisions.answers(store, revision.id))
        return inputs(store, settings, revision, report, now)


def fresh(
    store: Store,
    settings: Settings,
    now: datetime,
    revision: Revision,
    report: Report | None,
    moved: Mapping[str, tuple[float, float]],
) -> Inputs:
    """What the served revision said just now; `moved` as in `agent.recheck.Recheck`."""
    with store.reading():
        return replace(inputs(store, settings, revision, report, now), fresh=True, moved=moved)


def inputs(
    store: Store, settings: Settings, revision: Revision, report: Report | None, now: datetime
) -> Inputs:
    """What the store and the settings have for the page of a revision."""
    statuses, served = revisions.statuses(store), revisions.current(store).id
    return Inputs(
        revision=revision,
        report=report,
        fresh=False,
        made_at=now,
        status=_status(revision.id, served, statuses),
        members=_members(store, revision),
        left_out=_left_out(store),
        history=tuple(_past(r, _status(r.id, served, statuses)) for r in revisions.revisions(store)),
        thresholds=thresholds(settings.verify),
        settings=shown(settings),
        version=own_version(),
    )


def thresholds(verify: VerifySettings) -> dict[str, Threshold]:
    """What the gate wants, by metric (`agent.verify.gate`, which is not asked: it brings torch with it)."""
    wanted = {
        "efficacy": Threshold(verify.efficacy),
        "paraphrase": Threshold(verify.paraphrase),
        "same_subject_unchanged": Threshold(verify.same_subject),
        "others_unchanged": Threshold(verify.others),
        "perplexity": Threshold(verify.ppl_ratio, at_most=True, relative=True),
        "drift": Threshold(verify.drift, at_most=True),
        "entropy": Threshold(verify.entropy, relative=True),
        "norm": Threshold(verify.norm, at_most=True),
    }
    return wanted | ({"facts": Threshold(1.0)} if verify.every_fact else {})


def shown(settings: Settings) -> dict[str, dict[str, str]]:
    """The sections that a verification depends on, each value as text; of the model neither cache nor key."""
    model = settings.model
    return {
        "model": {
            "path": model.path,
            "dtype": model.dtype,
            "device": model.device,
            "chat": model.chat,
        },
        "verify": _texts(settings.verify),
        "editing": _texts(settings.editing),
    }


def folder_for(path: Path) -> Path:
    """The folder, made if it is missing. Raises UsageError for a file, InputError where none can be made."""
    if path.exists() and not path.is_dir():
        raise UsageError(f"--report {path}: is a file; name a folder")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"--report {path}: a part of the path is a file; name another folder") from error
    except OSError as error:
        raise InputError(f"{path}: the folder cannot be made ({error.strerror or error})") from error
    return path


def write(folder: Path, found: Inputs) -> Path:
    """Both files, the page last, each whole or not at all; returns the page's path. Raises UsageError, InputError."""
    folder, page = folder_for(folder), view(found)
    for name, text in ((JSON, to_text(document(page))), (HTML, html(page))):
        try:
            write_whole(folder / name, text)
        except OSError as error:
            raise InputError(f"{folder / name}: cannot be written ({error.strerror or error})") from error
    return folder / HTML


def _status(revision_id: int, served: int, statuses: Mapping[int, str]) -> str:
    return "served" if revision_id == served else statuses.get(revision_id, "base").replace("_", " ")


def _members(store: Store, revision: Revision) -> tuple[Member, ...]:
    if not revision.facts:
        return ()
    places = revisions.places(store, revision.id)
    return tuple(
        Member(
            fact=p.fact,
            place=places[p.id],
            proposal=p.id,
            said=p.target_old,
            note=_last_reason(store, p, "verified") if places[p.id] == "overlay" else "",
        )
        for p in revisions.members(store, revision.id)
    )


def _left_out(store: Store) -> tuple[LeftOut, ...]:
    """What failed and was not tried again with success, by subject."""
    failed = sorted(queue.proposals(store, "failed"), key=lambda p: (*p.fact.key, p.id))
    return tuple(
        LeftOut(p.fact.subject, p.fact.relation, p.fact.object, p.id, _last_reason(store, p, "failed"))
        for p in failed
    )


def _last_reason(store: Store, proposal: Proposal, target: Status) -> str:
    """Why it came to that status, the last time that a reason was given."""
    reasons = [e.reason for e in queue.events(store, proposal.id) if e.target == target and e.reason]
    return reasons[-1] if reasons else ""


def _past(revision: Revision, status: str) -> Past:
    after = {} if revision.report is None else revision.report.after
    figures = {name: value for name, value in after.items() if finite(value) is not None}
    return Past(
        revision.id, revision.created_at, status, len(revision.compiled), len(revision.overlay), figures
    )


def _texts(section: object) -> dict[str, str]:
    return {f.name: _text(getattr(section, f.name)) for f in fields(section)}  # type: ignore[arg-type]


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
