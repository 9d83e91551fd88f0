"""The unit with which systemd starts `factd run`: the shipped one with the paths of this machine in it."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from agent.errors import ConfigError, UsageError
from agent.paths import data_file
from agent.settings import Settings

UNIT = "factd.service"
# What systemd would read as more than itself: its specifiers, quotes, variables, and the end of a line.
_PLAIN = re.compile(r"[A-Za-z0-9_./@:+,=-]+( [A-Za-z0-9_./@:+,=-]+)*")
_CPU = ("cpu",)


def unit(config: Path, settings: Settings, user: str) -> str:
    """The text of the unit. Raises UsageError for a path that cannot stand in one, ConfigError where the installation lacks the unit."""
    values = {
        "USER": user,
        "FOLDER": str(config.absolute().parent),
        "CONFIG": str(config.absolute()),
        "STATE": str(settings.state.absolute()),
        "PRIVATE_DEVICES": "yes" if settings.model.device in _CPU else "no",
    }
    text = data_file(UNIT).read_text(encoding="utf-8")
    for name, value in values.items():
        if not _PLAIN.fullmatch(value) or " " in value:
            raise UsageError(
                f"{value!r} cannot stand in a systemd unit; move it to a path without spaces and signs, or write the unit"
                " yourself from configs/factd.service"
            )
        text = text.replace(f"@{name}@", value)
    text = text.replace("@FACTD@", command())
    if left := re.search(r"(?m)^[^#\n]*@[A-Z_]+@", text):
        raise ConfigError(f"the shipped {UNIT} has a line that nobody fills: {left[0]}; install factd again")
    return text


def command() -> str:
    """How this factd is started: the script beside this Python, else one on the path, else the module. Raises UsageError."""
    beside = Path(sys.executable).parent / "factd"
    found = str(beside) if beside.is_file() else shutil.which("factd")
    if not _PLAIN.fullmatch(found or sys.executable) or " " in (found or sys.executable):
        raise UsageError(
            f"{found or sys.executable!r} cannot stand in a systemd unit; move it to a plainer path"
        )
    return found or f"{sys.executable} -m agent.cli.main"
