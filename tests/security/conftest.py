"""The small world of the command line's tests, and the site of those of the sources."""

from __future__ import annotations

from tests.cli.conftest import bare, world
from tests.sources.conftest import site

__all__ = ["bare", "site", "world"]
