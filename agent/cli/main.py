"""The command `factd`: the app, its global options, and the one place where errors become messages and exit
codes.

0 ok   1 error   2 usage or settings   3 changes are pending (plan --exit-code)   4 verification failed
5 part of it failed   6 another factd holds the state   7 refused by policy   130 interrupted
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.commands import Commands
from agent.cli.session import Session
from agent.cli.text import err
from agent.errors import FactdError
from agent.versions import own_version

INTERRUPTED = 130

app = typer.Typer(
    name="factd",
    cls=Commands,
    help="Keep a local language model's facts current: read news, propose corrections, compile the approved "
    "ones into the weights, verify, publish.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    suggest_commands=False,  # click does
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"factd {own_version() or '(not installed)'}")
        raise typer.Exit


@app.callback(no_args_is_help=True)
def options(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Settings file (else FACTD_CONFIG, ./factd.yaml)."),
    ] = None,
    state: Annotated[
        Path | None, typer.Option("--state", metavar="DIR", help="State folder, in place of the settings'.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="PATH", help="Model folder or hub id, in place of the settings'."),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no remarks on stderr; errors still.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    ctx.obj = Session(config, state, model, quiet)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (`sys.argv` if none is given) and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(None if arguments is None else list(arguments), prog_name="factd", standalone_mode=False)
    except FactdError as error:
        return _failed(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough; the null device spares Python a second complaint at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError:
        return _failed("out of memory; nothing was published, free some and run it again", 1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _failed(
            f"{where}{error.strerror or error}; check the path, its permissions and the space on the disk",
            1,
        )
    except Exception as error:
        return _unforeseen(error)
    if code == INTERRUPTED:
        return _failed(
            "interrupted; nothing is lost, run it again and it goes on where it stood", INTERRUPTED
        )
    return code if isinstance(code, int) else 0


def _unforeseen(error: Exception) -> int:
    """The command line's own errors, in whatever module typer keeps them; anything else is our fault."""
    said = getattr(error, "format_message", None)
    if said is None:
        if os.environ.get("FACTD_TRACEBACK"):
            raise error
        kind = type(error).__name__
        return _failed(
            f"unexpected {kind}: {error}; our fault, please report it: FACTD_TRACEBACK=1 shows where",
            1,
        )
    message = str(said())
    if "\n" in message:  # a group without a command: its help
        for line in message.splitlines():
            err(line)
        return 2
    return _failed(f"{message} (see `factd --help`)", 2)


def _failed(message: str, code: int) -> int:
    if message:
        err(f"error: {message}")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
