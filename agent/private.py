"""What lies in the state folder is its owner's alone: folders 0700, files 0600, whatever the umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

FOLDER, FILE = 0o700, 0o600
_OTHERS = 0o077
# Adapters are handed to a server, which may run as somebody else.
SHARED = "adapters"


def make_folder(folder: Path) -> None:
    """Make it, and what it lies in. One that is there stays as it is: its owner may have shared it. Raises OSError."""
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=FOLDER, exist_ok=True)
    folder.chmod(FOLDER)  # mkdir takes the umask's bits away, and an odd one could take ours


def make_file(path: Path) -> None:
    """An empty file, if there is none. Raises OSError."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, FILE)
    except FileExistsError:
        return
    try:
        os.fchmod(handle, FILE)
    finally:
        os.close(handle)


def open_to_others(folder: Path) -> Iterator[Path]:
    """The folder and what is below it that others may read or write; nothing below where nobody may enter."""
    if not _open(folder):
        return
    yield folder
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != SHARED]
        yield from (path for name in (*folders, *files) if _open(path := Path(place, name)))


def _open(path: Path) -> bool:
    try:
        found = path.lstat().st_mode
    except OSError:
        return False
    return not stat.S_ISLNK(found) and bool(found & _OTHERS)
