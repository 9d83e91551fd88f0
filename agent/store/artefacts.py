"""The files of revisions: written whole or not at all, hashed, linked.

Knows nothing of the database or of what is in them.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.errors import StoreError
from agent.faults import step
from agent.private import FILE, FOLDER, make_folder
from agent.whole import sync

DELTA = "delta.safetensors"
LINK = "current"
_BUILDING = ".building-"
# In a folder of a revision from before it has its number until the database knows it: who finds it there without a row knows that a
# publication was killed, and not that the database was put back to an older copy.
_UNCONFIRMED = ".unconfirmed"


@dataclass(frozen=True, slots=True)
class Draft:
    """A folder that is complete and on the disk, under a temporary name. `files` maps name to SHA-256."""

    folder: Path
    files: dict[str, str]

    def settle(self, revision_id: int) -> None:
        """Give it its place, unconfirmed. What a killed publication left there goes; anything else stays, and StoreError is raised."""
        place = self.folder.parent / str(revision_id)
        with _told(place):
            if is_unconfirmed(place):
                with step("publish", "sweep"):
                    shutil.rmtree(place)
            elif place.exists():
                raise StoreError(
                    f"{place}: is there already and not in the database; move it away, nothing was published"
                )
            with step("publish", "rename"):
                self.folder.rename(place)
            with step("publish", "sync-folder"):
                sync(self.folder.parent)


@contextmanager
def written(
    parent: Path, delta: bytes | Callable[[Path], object], texts: Mapping[str, str]
) -> Iterator[Draft]:
    """A temporary folder in `parent` with the delta and `texts` (name -> content), synced to the disk.

    It is removed at the end unless it was settled. Raises StoreError when it cannot be written; errors of a
    caller's own delta function that are not the disk's come through.
    """
    with _told(parent), step("publish", "folder"):
        make_folder(parent)
        folder = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=parent))
    try:
        with _told(folder):
            folder.chmod(FOLDER)
            for name, text in texts.items():
                with step("publish", "write"):
                    (folder / name).write_text(text + "\n", encoding="utf-8")
            with step("publish", "write"):
                _write(folder / DELTA, delta)
            if not (folder / DELTA).is_file():
                raise StoreError(f"{folder}: no {DELTA} was written; nothing was published")
            files = {path.name: _sha(path) for path in sorted(folder.iterdir())}
            (folder / _UNCONFIRMED).touch()
            for path in folder.iterdir():
                path.chmod(FILE)
            for path in (*sorted(folder.iterdir()), folder):
                with step("publish", "sync"):
                    sync(path)
        yield Draft(folder, files)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def confirm(parent: Path, revision_id: int) -> bool:
    """The database knows this revision: its folder is no longer one that a killed publication may have left. Whether it was until now."""
    place = parent / str(revision_id)
    if not is_unconfirmed(place):
        return False
    with _told(place, "it is published; the next start goes on from there"):
        with step("confirm", "unlink"):
            (place / _UNCONFIRMED).unlink(missing_ok=True)
        with step("confirm", "sync-folder"):
            sync(place)
    return True


def is_unconfirmed(place: Path) -> bool:
    return (place / _UNCONFIRMED).is_file()


def numbers(parent: Path) -> tuple[int, ...]:
    """The revisions that have a folder, whatever is in it."""
    found = (path.name for path in parent.iterdir() if path.is_dir() and not path.is_symlink())
    return tuple(
        sorted(int(name) for name in found if name.isascii() and name.isdecimal() and str(int(name)) == name)
    )


def remove_unconfirmed(parent: Path, revision_id: int) -> None:
    """What a killed publication left. Only for who holds the worker's lock."""
    with _told(parent / str(revision_id), "it is in nobody's way"), step("repair", "remove"):
        shutil.rmtree(parent / str(revision_id))


def _write(path: Path, content: bytes | Callable[[Path], object]) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content(path)


def check(folder: Path, files: Mapping[str, str]) -> None:
    """Raises StoreError for the first of `files` that is missing from `folder` or has another SHA-256."""
    for name, sha in files.items():
        with _told(folder / name):
            if _sha(folder / name) != sha:
                raise StoreError(
                    f"{folder / name}: was changed after publication; restore a copy, or roll back"
                )


def size(folder: Path, name: str) -> int | None:
    """Bytes of one file, None where it is not there."""
    try:
        return (folder / name).stat().st_size
    except FileNotFoundError:
        return None


def sha(folder: Path, name: str) -> str | None:
    """SHA-256 of one file, None where it is not there. Raises StoreError when it cannot be read."""
    with _told(folder / name, "it cannot be checked"):
        return _sha(folder / name) if (folder / name).is_file() else None


def discard(folder: Path, name: str) -> int:
    """Remove one file, if it is there; the bytes that it had. Raises StoreError when it cannot be removed."""
    freed = size(folder, name)
    if freed is None:
        return 0
    with _told(folder / name, "it is marked as removed and taken away at a later start"):
        with step("gc", "unlink"):
            (folder / name).unlink(missing_ok=True)
        with step("gc", "sync-folder"):
            sync(folder)
    return freed


def put(folder: Path, name: str, content: bytes | Callable[[Path], object], wanted: str) -> None:
    """Write one file of a revision in one step, in place of what is there. Raises StoreError when its SHA-256 is not `wanted`."""
    with _told(folder, "nothing was put back"):
        make_folder(folder)
    fresh = folder.parent / f"{_BUILDING}{folder.name}-{name}"
    try:
        with _told(fresh, "nothing was put back"):
            with step("restore", "write"):
                _write(fresh, content)
            if _sha(fresh) != wanted:
                raise StoreError(f"{folder / name}: what was written is not what was published")
            fresh.chmod(FILE)
            with step("restore", "sync"):
                sync(fresh)
            with step("restore", "rename"):
                fresh.replace(folder / name)
            with step("restore", "sync-folder"):
                sync(folder)
    finally:
        fresh.unlink(missing_ok=True)


def link(parent: Path, target: str | None) -> None:
    """Let `parent/current` point at `target`, in one step; without a target remove it."""
    place = parent / LINK
    with _told(place):
        if linked(parent) == target:
            return
        if target is None:
            with step("link", "unlink"):
                place.unlink()
        else:
            fresh = parent / f"{_BUILDING}{LINK}-{os.getpid()}"
            fresh.unlink(missing_ok=True)
            with step("link", "symlink"):
                fresh.symlink_to(target)
            with step("link", "rename"):
                fresh.replace(place)
        with step("link", "sync-folder"):
            sync(parent)


def linked(parent: Path) -> str | None:
    """What `parent/current` points at, None where there is no such link."""
    place = parent / LINK
    return str(place.readlink()) if place.is_symlink() else None


def sweep(parent: Path) -> int:
    """Remove the temporary folders and links of processes that were killed; how many.

    Only for who holds the worker's lock.
    """
    left = list(parent.glob(f"{_BUILDING}*"))
    for path in left:
        with step("repair", "remove"):
            if path.is_symlink() or path.is_file():
                path.unlink(missing_ok=True)
            else:
                shutil.rmtree(path, ignore_errors=True)
    return len(left)


def _sha(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def _told(path: Path, outcome: str = "nothing was published") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        advice = (
            "the disk is full; free some space and run it again"
            if full
            else "check the folder and its permissions"
        )
        raise StoreError(f"{error.filename or path}: {error.strerror}: {advice}; {outcome}") from error
