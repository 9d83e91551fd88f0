"""`factd serve`: an OpenAI-compatible endpoint over the revision that is current."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.session import Session, session
from agent.cli.signals import stopped_by_signals
from agent.cli.text import err
from agent.errors import FactdError, UsageError
from agent.store import revisions
from agent.store.db import read_store

if TYPE_CHECKING:
    from agent.serve.engine import Engine
    from agent.serve.listen import Listener
    from agent.serve.served import Choice
    from agent.settings import ServeSettings, Settings

_LOOK_S = 0.2


def serve(
    ctx: typer.Context,
    host: Annotated[
        str | None, typer.Option("--host", metavar="ADDRESS", help="Listen here (127.0.0.1).")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", metavar="N", min=0, max=65535, help="On this port (8400).")
    ] = None,
    key_variable: Annotated[
        str | None,
        typer.Option(
            "--key-variable", metavar="NAME", help="Environment variable with the key that clients must show."
        ),
    ] = None,
    revision: Annotated[
        int | None,
        typer.Option("--revision", metavar="N", help="Serve this revision, whichever is current."),
    ] = None,
    base: Annotated[bool, typer.Option("--base", help="Serve the base model.")] = False,
) -> None:
    """Answer like OpenAI's API: /v1/chat/completions, /v1/completions, /v1/models. The revision that is current answers, also when
    another one becomes current meanwhile.

    Another address than loopback wants a key. SIGTERM or Ctrl-C ends it once the answers in progress are given; a second one at once.
    """
    if base and revision is not None:
        raise UsageError("--base does not go with --revision")
    _check_installed()
    asked = session(ctx)
    settings = asked.settings()
    wanted = _changed(settings.serve, host, port, key_variable)
    key = _key(wanted)
    choice = _choice(settings.state, revision, base)
    from agent.serve.listen import bound

    with bound(wanted.host, wanted.port) as socket:
        engine = _engine(asked, settings, wanted, choice)
        from agent.serve.guard import Guard
        from agent.serve.listen import Listener

        engine.start()
        guard = Guard(wanted.host, key, wanted.body_kb * 1024)
        listener = Listener(engine, guard, _public_name(settings.model.path), socket)
        with stopped_by_signals() as caught:
            listener.start()
            served = f"revision {engine.current.id}" if engine.current.id else "the base"
            asked.note(f"{served} of {listener.model} is served at {listener.url}; Ctrl-C stops it")
            _wait(engine, listener, caught)
    asked.note("stopped; every answer in progress was given" if len(caught) < 2 else "stopped at once")


def _check_installed() -> None:
    from importlib.util import find_spec

    for package in ("starlette", "uvicorn"):
        if find_spec(package) is None:
            raise UsageError(f"serve needs {package}, which is not installed; pip install 'factd[serve]'")


def _changed(
    settings: ServeSettings, host: str | None, port: int | None, key_variable: str | None
) -> ServeSettings:
    """The settings with the options in them. Raises ConfigError."""
    given = {"host": host, "port": port, "key_variable": key_variable}
    return replace(settings, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]


def _key(settings: ServeSettings) -> str | None:
    """The key that clients must show. Raises UsageError where one is wanted and there is none."""
    from agent.serve.guard import is_loopback

    if settings.key_variable:
        key = os.environ.get(settings.key_variable, "").strip()
        if not key:
            raise UsageError(
                f"the variable {settings.key_variable} is empty or not set; put the key into it that clients must show"
            )
        return key
    if not is_loopback(settings.host):
        raise UsageError(
            f"--host {settings.host} can be reached from other machines, so a key is needed: put one into a variable and"
            " name it, --key-variable NAME"
        )
    return None


def _choice(state: Path, revision: int | None, base: bool) -> Choice:
    """Looked up before the model is loaded. Raises StoreError, UnknownId."""
    from agent.serve.served import Choice

    if base:
        return Choice(None, 0)
    with read_store(state) as store:
        if revision is not None:
            revisions.get(store, revision)
    return Choice(state, revision)


def _engine(asked: Session, settings: Settings, wanted: ServeSettings, choice: Choice) -> Engine:
    """Raises ConfigError, ModelError."""
    from agent.catalogue import load_catalogue
    from agent.relations import load_relations
    from agent.serve.engine import Engine
    from agent.serve.served import Served
    from agent.workshop import load_model

    relations, catalogue = load_relations(settings.relations), load_catalogue(settings.catalogue)
    with asked.progress() as line:
        line("loading the model", 0, 1)
        lm = load_model(settings)
    return Engine(Served(lm, choice, relations, catalogue, err), wanted, err)


def _public_name(path: str) -> str:
    """A hub id as it is; of a folder its last name: where it lies is nobody's business."""
    return Path(path).expanduser().resolve().name if Path(path).expanduser().is_dir() else path


def _wait(engine: Engine, listener: Listener, caught: list[int]) -> None:
    """Until a signal comes; then everybody who waits gets their answer. Raises FactdError when a part of the server has ended."""
    while not caught:
        if not listener.is_up or engine.state == "stopped":
            raise FactdError("the server has ended by itself; start it again, and report what it said")
        time.sleep(_LOOK_S)
    while not listener.stop(_LOOK_S):
        if len(caught) > 1:
            listener.stop_now()
            engine.finish(now=True, timeout_s=5.0)
    engine.finish(now=len(caught) > 1)
