"""docs/cli.md from the commands themselves: `python -m agent.cli.docs > docs/cli.md`. A test holds the file
to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from agent.cli.main import app

_WIDTH = 100
_HEAD = """# The command line

Written by `python -m agent.cli.docs > docs/cli.md` from the commands' own help; change it there.

Results go to stdout, progress and remarks to stderr; `--json` puts one JSON document with a `version` on
stdout and nothing else. No command asks back where there is no terminal. Words from feeds are printed
without control or format characters.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | an error; one line on stderr says what, where and what to do |
| 2 | the command line or the settings are off |
| 3 | `plan --exit-code`: there is something to propose |
| 4 | verification failed: nothing was published |
| 5 | part of what was approved is live, part failed |
| 6 | another factd works on this state folder |
| 7 | a written policy forbids it |
| 130 | interrupted; nothing is lost |

One source that cannot be read is a warning; when none can be read, `plan` and `run --once` end with 1.
"""


def commands() -> Iterator[tuple[str, str]]:
    """(name, help text) of the app, every group and every command, in the order of `factd --help`."""
    yield from _walk(typer.main.get_command(app), "factd", None)


def _walk(command: Any, name: str, parent: Any) -> Iterator[tuple[str, str]]:
    context = command.context_class(command, info_name=name.split()[-1], parent=parent, terminal_width=_WIDTH)
    yield name, command.get_help(context)
    for key in getattr(command, "commands", ()):
        yield from _walk(command.get_command(context, key), f"{name} {key}", context)


def markdown() -> str:
    parts = [_HEAD]
    parts += [f"## {name}\n\n```\n{text.rstrip()}\n```\n" for name, text in commands()]
    return "\n".join(parts)


if __name__ == "__main__":
    print(markdown(), end="")
