"""`factd run` without `--once`: the daemon, with its log on stderr and, where it is wanted, its pages on loopback."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from agent.cli.logs import logging_to
from agent.cli.progress import ProgressLine
from agent.cli.session import Session
from agent.errors import UsageError

if TYPE_CHECKING:
    from agent.settings import DaemonSettings


def serve(asked: Session, *, log: str | None, port: int | None) -> None:
    """Run until told to stop. Raises UsageError, ConfigError, StoreError, LockHeld, and typer.Exit with the exit code."""
    if log not in (None, "text", "json"):
        raise UsageError(f"--log {log}: is text or json")
    from agent.daemon import daemon_of
    from agent.daemon import serve as run
    from agent.notify import own_notifier
    from agent.redact import redactor_for

    with asked.working() as shop, ExitStack() as stack:
        wanted = _changed(shop.settings.daemon, log, port)
        shop = replace(shop, settings=replace(shop.settings, daemon=wanted))
        redact = redactor_for(shop.settings, os.environ)
        line = shop.progress
        clear = line.clear if isinstance(line, ProgressLine) else lambda: None
        stack.enter_context(logging_to(wanted.log, redact, clear=clear))
        code = run(daemon_of(shop, own_notifier()))
    raise typer.Exit(code)


def _changed(settings: DaemonSettings, log: str | None, port: int | None) -> DaemonSettings:
    """The settings with the options in them. Raises ConfigError."""
    given = {"log": log, "port": port}
    return replace(settings, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
