"""`factd init`: a settings file to start from, with a line on every key, and the state folder beside it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.session import SETTINGS, Session, session
from agent.cli.text import out
from agent.errors import ConfigError, StoreError, UsageError
from agent.paths import data_file
from agent.sources.naming import name_for
from agent.whole import sweep, write_new

if TYPE_CHECKING:
    from agent.settings import Settings


def init(
    ctx: typer.Context,
    model: Annotated[
        str | None, typer.Option("--model", metavar="PATH", help="Model folder or hub id; else the demo's.")
    ] = None,
    feed: Annotated[
        list[str] | None, typer.Option("--feed", metavar="URL", help="A feed's url or file. Repeatable.")
    ] = None,
    systemd: Annotated[
        bool, typer.Option("--systemd", help="Also write factd.service, for systemd, beside the settings.")
    ] = False,
) -> None:
    """Write factd.yaml, annotated, and make the state folder. Nothing that is there is overwritten."""
    asked = session(ctx)
    path = asked.config or Path(SETTINGS)
    for written in (path, path.parent / "factd.service"):
        sweep(written)
    if systemd and (path.parent / "factd.service").exists():
        raise UsageError(
            f"{path.parent / 'factd.service'} exists already and is not overwritten; move it away"
        )
    model = model or asked.model
    if path.exists() and (model or feed or (_is_ready(asked) and not systemd)):
        raise UsageError(
            f"{path} exists already and is not overwritten; edit it, or name another file with --config"
        )
    if not path.exists():
        text = filled(
            data_file(SETTINGS).read_text(encoding="utf-8"), model=model, feeds=feed or [], state=asked.state
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_new(path, text, mode=_permitted())
        out(f"wrote {path}")
    settings = Session(path, asked.state, asked.model).settings()
    from agent.store.db import open_store

    open_store(settings.state, asked.now(), create_missing=True).close()
    out(f"state in {settings.state}")
    if systemd:
        _write_unit(path, settings)
    asked.note("next: `factd doctor` looks whether all is well, `factd plan` shows what it would do")


def _write_unit(path: Path, settings: Settings) -> None:
    """Raises UsageError, ConfigError."""
    from agent.cli.session import who
    from agent.cli.unit import UNIT, unit

    text = unit(path, settings, who())
    write_new(path.parent / UNIT, text, mode=_permitted())
    out(f"wrote {path.parent / UNIT}; its first lines say how it is installed")


def _permitted() -> int:
    """What the umask leaves to others: settings may hold the logins of feeds."""
    mask = os.umask(0o077)
    os.umask(mask)
    return 0o666 & ~mask


def filled(template: str, *, model: str | None, feeds: Sequence[str], state: Path | None) -> str:
    """The template with these values in place of its own; its comments stay. Raises ConfigError when it has
    no such key.
    """
    text = _commented_out(template, "editing")
    if model is not None:
        path = Path(model).expanduser()
        text = _with(
            text, r"  path:", f" {_quoted(str(path.absolute()) if path.exists() else model)}", "model.path"
        )
    if state is not None:
        text = _with(text, r"state:", f" {_quoted(str(state.absolute()))}", "state")
    if feeds:
        rows = (f"\n  - {{name: {_quoted(name)}, url: {_quoted(url)}}}" for name, url in _named(feeds))
        text = _with(text, r"sources:", "".join(rows), "sources")
    return text


def _commented_out(text: str, section: str) -> str:
    """The section as comments: written out, its defaults would overrule what a checkpoint says of itself."""
    lines, inside = [], False
    for line in text.splitlines(keepends=True):
        inside = line.startswith(f"{section}:") or (inside and line.startswith((" ", "#")))
        lines.append(f"# {line}" if inside and not line.startswith("#") else line)
    return "".join(lines)


def _is_ready(asked: Session) -> bool:
    """Whether the state is there and up to date, so that nothing is left to be done."""
    try:
        asked.reading().close()
    except StoreError:
        return False
    return True


def _with(text: str, start: str, value: str, key: str) -> str:
    """The first line that begins with `start` with another value; a comment behind it stays."""
    pattern = rf"(?m)^({start})[^\n#]*?([ ]+#.*)?$"
    changed, count = re.subn(pattern, lambda m: f"{m[1]}{value}{m[2] or ''}", text, count=1)
    if not count:
        raise ConfigError(f"the shipped {SETTINGS} has no line for {key}; install factd again")
    return changed


def _quoted(text: str) -> str:
    """A YAML string, whatever is in it."""
    return json.dumps(text, ensure_ascii=False)


def _named(feeds: Sequence[str]) -> list[tuple[str, str]]:
    """Each feed with a name of its own: its host, or its file's name; a second of that name is numbered."""
    found: dict[str, str] = {}
    for feed in feeds:
        url = feed if "://" in feed else str(Path(feed).expanduser().absolute())
        found[name_for(url, found)] = url
    return list(found.items())
