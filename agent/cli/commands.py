"""The commands by name. A command's module is imported when it is called, or its help is wanted: `factd queue list` waits for no other."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

COMMANDS: Mapping[str, str] = MappingProxyType({
    "init": "init:init",
    "doctor": "doctor:doctor",
    "feeds": "feeds:app",
    "run": "run:run",
    "plan": "run:plan",
    "status": "status:status",
    "timeline": "timeline:timeline",
    "queue": "queue:app",
    "review": "review:review",
    "apply": "run:apply",
    "verify": "verify:verify",
    "ask": "ask:ask",
    "serve": "serve:serve",
    "web": "web:web",
    "revisions": "revisions:app",
    "rollback": "rollback:rollback",
    "revert": "rollback:revert",
    "blame": "blame:blame",
    "audit": "audit:app",
    "export": "export:app",
    "push": "push:app",
    "bench": "bench:bench",
    "locate": "locate:locate",
    "calibrate": "calibrate:calibrate",
    "stats": "stats:stats",
    "catalogue": "catalogue:app",
    "config": "config:app",
})  # fmt: skip
"""Name -> module of this package, and the function or the group in it; in the order of `factd --help`."""


class Commands(TyperGroup):
    """A group whose commands are built when they are asked for. In `commands` something stands for each, for the names: click looks there
    for the nearest one.
    """

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: TyperCommand(name) for name in COMMANDS}

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """None where there is none of that name, as click wants it."""
        return _built(cmd_name) if cmd_name in COMMANDS else None


@functools.cache
def _built(name: str) -> Any:
    """What typer makes of it within an app of its own."""
    module, attribute = COMMANDS[name].split(":")
    found = getattr(importlib.import_module(f"agent.cli.{module}"), attribute)
    around = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
    around.callback()(lambda: None)
    if isinstance(found, typer.Typer):
        around.add_typer(found, name=name)
    else:
        around.command(name)(found)
    group: Any = typer.main.get_command(around)
    return group.commands[name]
