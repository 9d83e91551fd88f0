"""Results of long measurements, kept in a folder."""

from __future__ import annotations

from pathlib import Path


def only_file(folder: Path) -> Path:
    """The one file that is there: nothing half written was left beside it."""
    (path,) = folder.iterdir()
    return path
