"""`factd feeds`: the sources in the settings: look at them, add some, take lists in and out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.session import SETTINGS, Session, session
from agent.cli.text import emit, err, minute, out, out_lines, out_whole, plural, table, terminal_width
from agent.errors import ConfigError, InputError, SourceError, UsageError
from agent.masked import masked
from agent.sources.naming import name_for, same_source, settled
from agent.store.db import DATABASE, read_store
from agent.types import FeedState, SourceSpec

if TYPE_CHECKING:
    from agent.settings import Settings
    from agent.sources.look import Finding

app = typer.Typer(help="The sources: look at them, add some.", no_args_is_help=True, rich_markup_mode=None)
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
_MAX_LIST_BYTES = 15 * 2**20


@app.command("list")
def list_(ctx: typer.Context, json: Json = False) -> None:
    """List the sources of the settings and how each one's last poll went. Fetches nothing."""
    asked = session(ctx)
    settings = asked.settings()
    states, brought = _remembered(settings)
    records = [_record(spec, states.get(spec.name), brought.get(spec.name, 0)) for spec in settings.sources]
    if json:
        emit({"sources": records})
        return
    rows = [
        (r["name"], r["state"], minute(r["polled_at"]), minute(r["next_poll_at"]), r["errors"], r["articles"],
         r["url"] + (f": {r['last_error']}" if r["last_error"] else ""))
        for r in records
    ]  # fmt: skip
    headers = ("name", "state", "polled", "next", "errors", "articles", "url")
    out_lines(table(headers, rows, width=terminal_width()))
    asked.note(plural(len(rows), "source") + ("" if rows else "; `factd feeds add URL` names one"))


@app.command()
def add(
    ctx: typer.Context,
    urls: Annotated[
        list[str], typer.Argument(metavar="URL...", help="A feed, a page that names one, a path.")
    ],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Else its host's or file's.")] = "",
    publisher: Annotated[
        str, typer.Option("--publisher", metavar="NAME", help="The one voice that all its items count as.")
    ] = "",
    body: Annotated[bool, typer.Option("--body", help="Also read the pages behind its items.")] = False,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="It lies on this machine or in the local network.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Fetch it first, and refuse what cannot be read.")
    ] = True,
) -> None:
    """Add sources to the settings file, which keeps every other line as it is."""
    if name and len(urls) > 1:
        raise UsageError("--name goes with one url")
    asked = session(ctx)
    file, settings = _settings_file(asked), asked.settings()
    known, new, lines, failed = list(settings.sources), [], list[str](), 0
    for url in urls:
        try:
            wanted = SourceSpec(
                name, settled(url), publisher=publisher or None, allow_private=allow_private, body=body
            )
            spec, said = _subscribed(wanted, known, asked.now(), settings, check=check)
        except SourceError as problem:
            failed += 1
            why = str(problem).replace("set allow_private on this source", "add --allow-private")
            err(f"error: {url}: {why}; it was not added")
            continue
        lines += said
        if spec is not None:
            known.append(spec)
            new.append(spec)
    _write(file, new)
    out_lines(lines)
    if failed:
        raise typer.Exit(1)


@app.command()
def check(
    ctx: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Else all of them.")] = None,
    json: Json = False,
) -> None:
    """Fetch sources now and say how they are. Changes nothing. Exit 1 when one cannot be read."""
    asked = session(ctx)
    settings = asked.settings()
    chosen = _chosen(settings, names or [])
    from agent.follow import kinds_in
    from agent.sources.http import Client
    from agent.sources.look import look

    found = []
    for finding in look(chosen, Client(), asked.now(), kinds_in(settings, chosen)):
        found.append(finding)
        if not json:
            out_lines(_finding_lines(finding))
    if json:
        order = {spec.name: number for number, spec in enumerate(chosen)}
        emit({"sources": [_finding_record(f) for f in sorted(found, key=lambda f: order[f.name])]})
    failed = sum(f.status == "fail" for f in found)
    asked.note(f"{plural(len(found), 'source')}, {failed} of them cannot be read")
    if failed:
        raise typer.Exit(1)


@app.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An OPML list, as every feed reader exports.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be added.")] = False,
) -> None:
    """Add the feeds of an OPML list that are not there yet. Fetches nothing: `feeds check` does."""
    from agent.sources.opml import choose, parse_opml

    asked = session(ctx)
    target, settings = _settings_file(asked), asked.settings()
    try:
        chosen = choose(parse_opml(_body(file)), settings.sources)
    except SourceError as problem:
        raise InputError(f"{file}: {problem}") from problem
    for left in chosen.left_out:
        asked.note(f"left out {left.title or left.url}: {left.reason}")
    if not dry_run:
        _write(target, chosen.new)
    out_lines(f"{'would add' if dry_run else 'added'} {spec.name}: {spec.url}" for spec in chosen.new)
    asked.note(f"{plural(len(chosen.new), 'source')}, {len(chosen.left_out)} left out")


@app.command()
def export(
    ctx: typer.Context,
    logins: Annotated[bool, typer.Option("--logins", help="With the logins and keys in urls.")] = False,
) -> None:
    """Write the sources on the web as an OPML list to stdout, logins and keys in their urls masked."""
    from agent.sources.opml import on_the_web, to_opml

    asked = session(ctx)
    sources = asked.settings().sources
    for line in to_opml(sources).splitlines():
        (out_whole if logins else out)(line)
    for spec in sources:
        if not on_the_web(spec):
            asked.note(f"left out {spec.name}: {spec.url} is not on the web")
        elif masked(spec.url) != spec.url:
            what = (
                "take it out before you give the list away" if logins else "it is masked, --logins writes it"
            )
            asked.note(f"the url of {spec.name} holds a login or a key; {what}")


def _remembered(settings: Settings) -> tuple[dict[str, FeedState], dict[str, int]]:
    """What the database knows of each source; nothing before the first run."""
    from agent.store import articles, feeds

    if not (settings.state / DATABASE).exists():
        return {}, {}
    with read_store(settings.state) as store:
        return {state.source: state for state in feeds.states(store)}, articles.counts(store)


def _record(spec: SourceSpec, state: FeedState | None, brought: int) -> dict[str, Any]:
    moved = state is not None and state.url != spec.url
    if state is None or state.polled_at is None:
        word = "new"
    else:
        word = "gone" if state.gone else "failing" if state.errors else "moved" if moved else "ok"
    return {
        "name": spec.name,
        "url": spec.url,
        "publisher": spec.publisher,
        "state": word,
        "moved_to": state.url if state is not None and moved else None,
        "polled_at": state.polled_at if state else None,
        "next_poll_at": state.next_poll_at if state else None,
        "errors": state.errors if state else 0,
        "last_error": state.last_error if state else "",
        "articles": brought,
    }


def _settings_file(asked: Session) -> Path:
    """The file that the sources in force stand in, or would. Raises ConfigError where adding to it would
    change nothing, or hide others.
    """
    from agent.config import load_with_origin

    file = asked.settings_file()
    _, origins = load_with_origin(asked.config, state=asked.state, model=asked.model)
    origin = origins.get("sources")
    if origin in (None, str(file)) and file is not None:
        return file
    if origin is None:
        raise ConfigError(f"there is no settings file; `factd init` writes {SETTINGS}")
    if origin == "environment":
        raise ConfigError("the sources come from the variable FACTD_SOURCES; unset it, or add to it yourself")
    if file is None:
        return Path(origin)
    raise ConfigError(f"the sources come from {origin}; add to them with --config {origin}")


def _subscribed(
    wanted: SourceSpec, known: Sequence[SourceSpec], now: datetime, settings: Settings, *, check: bool
) -> tuple[SourceSpec | None, list[str]]:
    """The source to add, None if it is there already, and what to tell. Raises SourceError."""
    twin = same_source(wanted.url, known)
    said: list[str] = []
    spec, message = wanted, "not looked at"
    if twin is None and check:
        from agent.follow import kinds_in
        from agent.sources.http import Client
        from agent.sources.subscribe import subscribe

        found = subscribe(wanted, known, Client(), now, kinds_in(settings, [wanted]))
        said += found.remarks
        spec, twin = found.spec, None if found.is_new else found.spec
        message = found.fetched.message if found.fetched else ""
    if twin is not None:
        return None, [*said, f"{twin.name} is there already: {twin.url}"]
    named = replace(spec, name=name_for(spec.url, {s.name for s in known}, spec.name))
    return named, [*said, f"added {named.name}: {named.url} ({message})"]


def _write(file: Path, specs: Iterable[SourceSpec]) -> None:
    from agent.sourcelist import add_to_file

    entries = []
    for spec in specs:
        entry: dict[str, str | bool] = {"name": spec.name, "url": spec.url}
        if spec.publisher:
            entry["publisher"] = spec.publisher
        entry |= {key: True for key in ("allow_private", "body") if getattr(spec, key)}
        entries.append(entry)
    if entries:
        add_to_file(file, entries)


def _chosen(settings: Settings, names: Sequence[str]) -> tuple[SourceSpec, ...]:
    known = {spec.name: spec for spec in settings.sources}
    for name in names:
        if name not in known:
            raise UsageError(f"no source is called {name!r}; there are: {', '.join(known) or 'none'}")
    return tuple(known[name] for name in dict.fromkeys(names)) if names else settings.sources


def _finding_lines(found: Finding) -> list[str]:
    lines = [f"{found.status:<4}  {found.name}: {found.message}"]
    if found.status != "fail":
        voices = ", ".join(found.publishers[:3]) + (", ..." if len(found.publishers) > 3 else "")
        newest = f"newest {minute(found.newest_at)}" if found.newest_at else "no dates"
        lines.append(f"      {found.kind}; {newest}; {found.with_text} with text; {voices or 'no publisher'}")
    for problem in found.problems:
        if found.status == "fail":
            lines += [f"      {problem.advice}"] if problem.advice else []
        else:
            lines.append(f"      {problem.what}" + (f": {problem.advice}" if problem.advice else ""))
    return lines


def _finding_record(found: Finding) -> dict[str, Any]:
    return {
        "name": found.name,
        "url": found.url,
        "kind": found.kind,
        "status": found.status,
        "message": found.message,
        "items": found.items,
        "newest_at": found.newest_at,
        "with_text": found.with_text,
        "publishers": list(found.publishers),
        "problems": [{"what": p.what, "advice": p.advice} for p in found.problems],
    }


def _body(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            body = stream.read(_MAX_LIST_BYTES + 1)
    except OSError as problem:
        raise InputError(f"{file}: cannot be read ({problem.strerror}); check the path") from problem
    if len(body) > _MAX_LIST_BYTES:
        raise InputError(f"{file}: is larger than {_MAX_LIST_BYTES / 2**20:g} MB; no list of feeds is")
    return body
