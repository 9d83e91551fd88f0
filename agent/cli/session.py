"""What the global options say, and the openings that every command makes from them.

Nothing heavy is imported here: `agent.workshop` and `agent.pipeline` bring torch with them, so they are
imported where a command needs the model, and nowhere else.
"""

from __future__ import annotations

import getpass
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from agent.cli.progress import ProgressLine, shows_progress
from agent.cli.text import err
from agent.errors import UsageError
from agent.store.db import DATABASE, Store, open_store, read_store

if TYPE_CHECKING:
    from agent.settings import Settings
    from agent.workshop import Workshop

SETTINGS = "factd.yaml"


@dataclass(frozen=True, slots=True)
class Session:
    """One call of the command line: its global options."""

    config: Path | None = None
    state: Path | None = None
    model: str | None = None
    quiet: bool = False

    def settings(self) -> Settings:
        """Raises ConfigError."""
        from agent.config import load

        return load(self.config, state=self.state, model=self.model)

    def settings_file(self) -> Path | None:
        """The project's settings file, if there is one."""
        named = self.config or (
            Path(os.environ["FACTD_CONFIG"]) if os.environ.get("FACTD_CONFIG") else Path(SETTINGS)
        )
        return named if named.is_file() else None

    def now(self) -> datetime:
        return datetime.now(UTC)

    def reading(self) -> Store:
        """The state, for reading only. Raises ConfigError, StoreError."""
        return read_store(self.settings().state)

    def writing(self) -> Store:
        """The state, for reading and writing. Raises ConfigError, StoreError."""
        return open_store(self.settings().state, self.now())

    def progress(self) -> ProgressLine:
        return ProgressLine(shows_progress(sys.stderr, quiet=self.quiet))

    def note(self, line: object) -> None:
        """A line for the person at the terminal, unless they asked for quiet."""
        if not self.quiet:
            err(line)

    @contextmanager
    def working(self) -> Iterator[Workshop]:
        """The workshop over the state folder, for commands that change it. Raises ConfigError, StoreError."""
        from agent.workshop import open_workshop

        with self.progress() as line:
            shop = open_workshop(self.settings(), progress=line, tell=_teller(line))
            with shop.store:
                yield shop

    @contextmanager
    def looking(self) -> Iterator[Workshop]:
        """The workshop for commands that change nothing: the state is opened for reading only, and where
        there is none yet a temporary one stands in for it.
        """
        from agent.catalogue import load_catalogue
        from agent.relations import load_relations
        from agent.workshop import Workshop

        settings = self.settings()
        with self.progress() as line, _state_or_none_yet(settings.state, self.now()) as store:
            relations, catalogue = load_relations(settings.relations), load_catalogue(settings.catalogue)
            yield Workshop(settings, store, relations, catalogue, self.now, line)


def _teller(line: ProgressLine) -> Callable[[str], None]:
    """Writes where the progress line stands, which goes on below."""

    def tell(told: str) -> None:
        line.clear()
        err(told)

    return tell


@contextmanager
def _state_or_none_yet(folder: Path, now: datetime) -> Iterator[Store]:
    if (folder / DATABASE).exists() or (folder.exists() and not folder.is_dir()):
        with read_store(folder) as store:
            yield store
        return
    with (
        tempfile.TemporaryDirectory(prefix="factd-") as name,
        open_store(Path(name), now, create_missing=True) as store,
    ):
        yield store


def session(ctx: typer.Context) -> Session:
    """The session that the app's callback made."""
    found = ctx.find_object(Session)
    return found if found is not None else Session()


def repair(store: Store) -> None:
    """What a start does about a killed run, for commands without a model; each thing done is told. Only under the worker's lock."""
    from agent.store import revisions

    for line in revisions.repair(store):
        err(line)


def who() -> str:
    """Who decides, for the history: the login name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def confirm(question: str, *, yes: bool) -> None:
    """Go on only with `--yes` or a person's consent. Raises UsageError where there is no terminal to ask on,
    typer.Exit(1) on no.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"{question} There is no terminal to ask on; add --yes")
    if not typer.confirm(question, err=True):
        err("nothing was changed")
        raise typer.Exit(1)
