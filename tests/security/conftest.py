"""The small world of the command line's tests."""

from __future__ import annotations

from tests.cli.conftest import bare, world

__all__ = ["bare", "world"]
