"""What is said of installed versions."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from agent.versions import installed, own_version

ROOT = Path(__file__).parents[1]


def test_what_is_installed_has_its_version() -> None:
    assert installed("pytest") == version("pytest")
    assert installed("factd-has-no-such-package") is None


def test_our_own_is_empty_where_we_run_from_a_folder() -> None:
    """`-S` leaves out the folder of installed packages, so that only this checkout is there."""
    code = "from agent.versions import own_version; print(repr(own_version()))"
    alone = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert alone.stdout == "''\n"
    assert own_version() == (installed("factd") or "")
