"""`factd run` without `--once`: the daemon, with its log on stderr and, where it is wanted, its pages on loopback."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from agent.cli.logs import logging_to
from agent.cli.progress import ProgressLine
from agent.cli.session import Session
from agent.errors import UsageError
from agent.store.db import read_store

if TYPE_CHECKING:
    from agent.daemon import Daemon
    from agent.health import Standing
    from agent.redact import Redactor
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
        daemon = daemon_of(shop, own_notifier())
        if wanted.port is not None:
            _open_pages(stack, daemon, redact)
        code = run(daemon)
    raise typer.Exit(code)


def _open_pages(stack: ExitStack, daemon: Daemon, redact: Redactor) -> None:
    """The status page and its neighbours, for as long as the daemon runs. Raises UsageError."""
    from agent.loopback import is_loopback
    from agent.standing import standing
    from agent.watch.server import Server, Watched

    settings, clock = daemon.shop.settings, daemon.shop.clock

    def look() -> Standing:
        with read_store(settings.state) as store:
            return standing(settings, store, clock(), redact)

    host, port = settings.daemon.host, settings.daemon.port
    server = Server(host, port or 0, Watched(look, daemon.pulse.is_moving, redact))
    server.start()
    stack.callback(server.stop)
    log = logging.getLogger(__name__)
    log.info("status page at %s", server.url, extra={"event": "pages", "fields": {"url": server.url}})
    if not is_loopback(host):
        log.warning("the status page asks for no key, and %s can be reached from other machines", host)


def _changed(settings: DaemonSettings, log: str | None, port: int | None) -> DaemonSettings:
    """The settings with the options in them. Raises ConfigError."""
    given = {"log": log, "port": port}
    return replace(settings, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
