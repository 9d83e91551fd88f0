"""`factd web`: the review desk in a browser, on this machine only."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.session import Session, session, who
from agent.cli.signals import stopped_by_signals
from agent.cli.text import err, out_whole
from agent.errors import FactdError, UsageError
from agent.private import FILE
from agent.whole import write_new

if TYPE_CHECKING:
    import socket

    from agent.web.listen import Listener

_LOOK_S = 0.2
_LEAST = 32


def web(
    ctx: typer.Context,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Listen here; an address of loopback.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="On this port; 0 is any free one.")
    ] = 8401,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            metavar="FILE",
            help="Keep the token here, for the next start too. Made if missing.",
        ),
    ] = None,
) -> None:
    """The review desk in a browser: the queue with its evidence, beliefs, history, revisions, reports.

    It prints an address with a token; whoever opens it decides in your name. It listens on loopback only; from another machine:
    ssh -L 8401:127.0.0.1:8401 HOST. Ctrl-C or SIGTERM ends it.
    """
    _check_installed()
    from agent.serve.guard import is_loopback

    if not is_loopback(host):
        raise UsageError(
            f"--host {host} can be reached from other machines; the desk is for this one. From another: ssh -L"
            f" {port}:127.0.0.1:{port} and this machine's name"
        )
    asked = session(ctx)
    with asked.writing():  # brings an older state up to date, and fails here rather than in the browser
        pass
    token = _new_token() if token_file is None else _token_of(token_file)
    from agent.serve.sockets import bound

    with bound(host, port) as listening, stopped_by_signals() as caught:
        listener = _listener(asked, host, token, listening)
        listener.start()
        out_whole(f"{listener.url}/enter?token={token}")
        asked.note("the review desk; open this address in a browser, Ctrl-C stops it")
        while not caught:
            if not listener.is_up:
                raise FactdError("the server has ended by itself; start it again, and report what it said")
            time.sleep(_LOOK_S)
        listener.stop()
    asked.note("stopped")


def _check_installed() -> None:
    from importlib.util import find_spec

    for package in ("starlette", "uvicorn"):
        if find_spec(package) is None:
            raise UsageError(f"web needs {package}, which is not installed; pip install 'factd[web]'")


def _listener(asked: Session, host: str, token: str, listening: socket.socket) -> Listener:
    from agent.web.app import build
    from agent.web.front import Front
    from agent.web.gate import Gate
    from agent.web.listen import Listener
    from agent.web.render import Renderer
    from agent.web.sessions import Sessions

    gate = Gate(host, f"factd_{listening.getsockname()[1]}", Sessions(token, time.monotonic))
    front = Front(asked.settings(), gate, Renderer.load(), who(), asked.now, err)
    return Listener(build(front), listening)


def _token_of(path: Path) -> str:
    """The token in a file that only its owner can read; a new one where there is no file. Raises UsageError."""
    token = _new_token()
    try:
        write_new(path, f"{token}\n", mode=FILE)
    except FileExistsError:
        return _kept_token(path)
    except OSError as error:
        raise UsageError(f"--token-file {path}: cannot be made ({error.strerror})") from error
    return token


def _new_token() -> str:
    from secrets import token_urlsafe

    return token_urlsafe(32)


def _kept_token(path: Path) -> str:
    try:
        with path.open(encoding="ascii") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode) or mode & 0o077:
                raise UsageError(
                    f"--token-file {path}: others may read it; chmod 600 {path}, and put a new token in"
                )
            token = file.read(1024).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--token-file {path}: cannot be read ({error})") from error
    if len(token) < _LEAST or not all(c.isalnum() or c in "-_" for c in token):
        raise UsageError(
            f"--token-file {path}: no token of at least {_LEAST} letters, digits, - and _; remove the file for a new one"
        )
    return token
