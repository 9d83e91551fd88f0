"""`factd doctor`: everything a run needs, looked at one by one; a line each, with what to do."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agent.cli.session import Session, session
from agent.cli.text import emit, out, plural
from agent.errors import FactdError
from agent.versions import installed

if TYPE_CHECKING:
    from agent.settings import Settings

Status = Literal["ok", "warn", "fail"]
_PACKAGES = ("torch", "transformers", "spacy", "feedparser", "httpx", "apscheduler", "numpy", "typer")
_LOW_BYTES, _NONE_BYTES = 2 << 30, 200 << 20


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `found` says what is, `advice` what to do where it is not well."""

    name: str
    status: Status
    found: str
    advice: str = ""


def doctor(
    ctx: typer.Context, json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False
) -> None:
    """Look at settings, state, model, name finder, extractor, sources, disk, versions. Exit 1 when something fails."""
    asked = session(ctx)
    checks = []
    for check in examine(asked):
        checks.append(check)
        if not json:
            out(
                f"{check.status:<4}  {check.name}: {check.found}"
                + (f"; {check.advice}" if check.advice else "")
            )
    failed = sum(check.status == "fail" for check in checks)
    if json:
        emit({"ok": not failed, "checks": [
            {"name": c.name, "status": c.status, "found": c.found, "advice": c.advice} for c in checks
        ]})  # fmt: skip
    asked.note(f"{plural(failed, 'check')} failed" if failed else "all is well")
    if failed:
        raise typer.Exit(1)


def examine(asked: Session) -> Iterator[Check]:
    """The checks, each as soon as it is done. Without settings that can be read there is nothing else to look
    at.
    """
    yield from _versions()
    try:
        settings = asked.settings()
    except FactdError as error:
        yield Check("settings", "fail", str(error))
        return
    yield Check("settings", "ok", f"{asked.settings_file() or 'the defaults, no file'}")
    for name, look in (
        ("relations and catalogue", _knowledge), ("state", _state), ("permissions", _permissions), ("disk", _disk), ("model", _model),
        ("name finder", _name_finder), ("extractor", _extractor), ("sources", _sources),
    ):  # fmt: skip
        yield from _guarded(name, look, settings, asked)


def _guarded(
    name: str, look: Callable[[Settings, Session], Iterator[Check]], settings: Settings, asked: Session
) -> Iterator[Check]:
    try:
        yield from look(settings, asked)
    except FactdError as error:
        yield Check(name, "fail", str(error))
    except Exception as error:  # a check that cannot be made is a finding, and the others go on
        yield Check(name, "fail", f"{type(error).__name__}: {error}")


def _versions() -> Iterator[Check]:
    there = {package: installed(package) for package in _PACKAGES}
    missing = [package for package, version in there.items() if version is None]
    found = (f"{package} {version}" for package, version in there.items() if version is not None)
    yield Check("versions", "ok", ", ".join((f"python {sys.version.split()[0]}", *found)))
    if missing:
        yield Check(
            "versions", "fail", f"not installed: {', '.join(missing)}", "install factd again, with pip"
        )


def _knowledge(settings: Settings, _: Session) -> Iterator[Check]:
    from agent.catalogue import load_catalogue
    from agent.relations import load_relations

    relations, catalogue = load_relations(settings.relations), load_catalogue(settings.catalogue)
    known = f"{plural(len(relations), 'relation')}, {plural(len(catalogue.entities), 'entity', 'entities')}"
    yield Check("relations and catalogue", "ok", f"{known}, {plural(len(catalogue.facts), 'known fact')}")
    strange = sorted({fact.relation for fact in catalogue.facts.values()} - set(relations))
    if strange:
        advice = "describe them in the relations file, or their facts are not used"
        yield Check(
            "relations and catalogue",
            "warn",
            f"facts of relations nobody describes: {', '.join(strange)}",
            advice,
        )


def _state(settings: Settings, asked: Session) -> Iterator[Check]:
    from agent.store import feeds, ledger, queue, revisions
    from agent.store.db import read_store

    with read_store(settings.state) as store:
        served = revisions.current(store)
        waiting = len(queue.due(store, asked.now()))
        yield Check(
            "state",
            "ok",
            f"{settings.state}: revision {served.id} is served, {plural(waiting, 'proposal')} to decide",
        )
        if served.id:
            revisions.folder(store, served.id)
        broken = ledger.verify_chain(store)
        if broken is not None:
            yield Check(
                "ledger",
                "fail",
                f"row {broken} was changed or is missing",
                "somebody wrote to the database; restore a copy",
            )
        for state in feeds.states(store):
            if state.gone:
                yield Check("state", "warn", f"source {state.source} is gone", "remove it from the settings")


def _permissions(settings: Settings, _: Session) -> Iterator[Check]:
    from agent.private import open_to_others

    if not settings.state.is_dir():
        return
    found = list(open_to_others(settings.state))
    if not found:
        yield Check("permissions", "ok", f"{settings.state} is open to nobody else")
        return
    what = f"{plural(len(found), 'file or folder', 'files and folders')} open to others, {found[0]} first"
    yield Check("permissions", "warn", what, f"chmod -R go= {settings.state}, unless you share it on purpose")


def _disk(settings: Settings, _: Session) -> Iterator[Check]:
    folder = next(
        path for path in (settings.state.absolute(), *settings.state.absolute().parents) if path.exists()
    )
    free = shutil.disk_usage(folder).free
    status: Status = "fail" if free < _NONE_BYTES else "warn" if free < _LOW_BYTES else "ok"
    yield Check(
        "disk",
        status,
        f"{free / 2**30:.1f} GiB free at {folder}",
        "" if status == "ok" else "free some space",
    )


def _model(settings: Settings, asked: Session) -> Iterator[Check]:
    from agent.editing.calibrated import calibrated
    from agent.store import revisions
    from agent.store.db import DATABASE, read_store
    from agent.workshop import delta_of, load_model

    lm = load_model(settings)
    parameters = list(lm.model.parameters())
    count, size = sum(p.numel() for p in parameters), sum(p.numel() * p.element_size() for p in parameters)
    dtype = str(parameters[0].dtype).removeprefix("torch.")
    described = (
        f"{lm.model.config.model_type}, {lm.n_layers} layers, {count / 1e6:.1f} million parameters, {dtype}"
    )
    chat = "; prompts go through its chat template" if lm.chat else ""
    yield Check("model", "ok", f"{lm.path}: {described}, {size / 2**20:.0f} MiB on {lm.device}{chat}")
    if dtype in ("bfloat16", "float16"):
        yield Check(
            "model",
            "warn",
            f"served in {dtype}",
            "rounding loses part of small edits; the verifier asks in this dtype",
        )
    found = calibrated(settings.state / "cache", lm, settings.editing.algorithm)
    if used := [key for key in found or {} if key not in settings.given]:
        yield Check("model", "ok", f"calibrated {', '.join(used)}, as nobody set them")
    if (settings.state / DATABASE).is_file():
        with read_store(settings.state) as store:
            served = revisions.current(store).id
            delta_of(store, served, lm)
            if served:
                yield Check("model", "ok", f"revision {served} fits this base")


def _name_finder(settings: Settings, _: Session) -> Iterator[Check]:
    from agent.ner.load import EMBEDDED, load_nlp

    nlp = load_nlp(settings.ner)
    embedded = Path(str(nlp.path)) == EMBEDDED
    name = (
        "the embedded pipeline"
        if embedded
        else f"{nlp.meta['lang']}_{nlp.meta['name']} {nlp.meta['version']}"
    )
    yield Check("name finder", "ok", name)
    if embedded:
        yield Check("name finder", "ok", "an installed en_core_web_lg would be used and finds more names")


_SAMPLE = (
    "Harbour Steel, based in Oslo, opened a mill. Harbour Steel chief executive Ingrid Moen spoke there."
)


def _extractor(settings: Settings, asked: Session) -> Iterator[Check]:
    if settings.extractor.kind == "rules":
        yield Check("extractor", "ok", "the rules alone; no language model is asked")
        return
    from agent.catalogue import load_catalogue
    from agent.ner.llm import Failed
    from agent.reading import model_reader
    from agent.relations import load_relations
    from agent.types import Article

    model = model_reader(
        settings.extractor, load_catalogue(settings.catalogue), load_relations(settings.relations)
    )
    now = asked.now()
    found = model.read(Article("doctor", "", "", "", "", _SAMPLE, now, now, ""))
    name = f"{settings.extractor.kind}, {settings.extractor.model} at {settings.extractor.url}"
    if isinstance(found, Failed):
        yield Check(
            "extractor", "fail", f"{name}: {found.reason}", "start the server, or set extractor.kind: rules"
        )
    elif not found.claims:
        advice = "it may be too small, or not told the form of its answer (extractor.response_format)"
        yield Check("extractor", "warn", f"{name} answers, but finds no fact in a plain sentence", advice)
    else:
        yield Check(
            "extractor", "ok", f"{name}: finds {plural(len(found.claims), 'fact')} in a test sentence"
        )


def _sources(settings: Settings, asked: Session) -> Iterator[Check]:
    from agent.follow import kinds_in
    from agent.sources.http import Client
    from agent.sources.look import look

    if not settings.sources:
        yield Check("sources", "warn", "none", "`factd feeds add URL` names one, or nothing is ever read")
    for found in look(settings.sources, Client(), asked.now(), kinds_in(settings)):
        name = f"source {found.name}"
        if found.status == "fail":
            yield Check(name, "fail", found.message, found.problems[0].advice)
            continue
        yield Check(name, "ok", found.message)
        for problem in found.problems:
            yield Check(name, "warn", problem.what, problem.advice)
