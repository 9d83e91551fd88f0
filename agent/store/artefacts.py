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
from agent.private import FILE, FOLDER, make_folder
from agent.whole import sync

DELTA = "delta.safetensors"
LINK = "current"
_BUILDING = ".building-"


@dataclass(frozen=True, slots=True)
class Draft:
    """A folder that is complete and on the disk, under a temporary name. `files` maps name to SHA-256."""

    folder: Path
    files: dict[str, str]

    def settle(self, revision_id: int) -> None:
        """Give it its place. What a killed process left there without a row in the database goes."""
        place = self.folder.parent / str(revision_id)
        with _told(place):
            if place.exists():
                shutil.rmtree(place)
            self.folder.rename(place)
            sync(self.folder.parent)


@contextmanager
def written(
    parent: Path, delta: bytes | Callable[[Path], object], texts: Mapping[str, str]
) -> Iterator[Draft]:
    """A temporary folder in `parent` with the delta and `texts` (name -> content), synced to the disk.

    It is removed at the end unless it was settled. Raises StoreError when it cannot be written; errors of a
    caller's own delta function that are not the disk's come through.
    """
    with _told(parent):
        make_folder(parent)
        folder = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=parent))
    try:
        with _told(folder):
            folder.chmod(FOLDER)
            for name, text in texts.items():
                (folder / name).write_text(text + "\n", encoding="utf-8")
            if isinstance(delta, bytes):
                (folder / DELTA).write_bytes(delta)
            else:
                delta(folder / DELTA)
            if not (folder / DELTA).is_file():
                raise StoreError(f"{folder}: no {DELTA} was written; nothing was published")
            files = {path.name: _sha(path) for path in sorted(folder.iterdir())}
            for path in folder.iterdir():
                path.chmod(FILE)
            for path in (*folder.iterdir(), folder):
                sync(path)
        yield Draft(folder, files)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
        (folder / name).unlink(missing_ok=True)
        sync(folder)
    return freed


def put(folder: Path, name: str, content: bytes | Callable[[Path], object], wanted: str) -> None:
    """Write one file of a revision in one step, in place of what is there. Raises StoreError when its SHA-256 is not `wanted`."""
    with _told(folder, "nothing was put back"):
        make_folder(folder)
    fresh = folder.parent / f"{_BUILDING}{folder.name}-{name}"
    try:
        with _told(fresh, "nothing was put back"):
            if isinstance(content, bytes):
                fresh.write_bytes(content)
            else:
                content(fresh)
            if _sha(fresh) != wanted:
                raise StoreError(f"{folder / name}: what was written is not what was published")
            fresh.chmod(FILE)
            sync(fresh)
            fresh.replace(folder / name)
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
            place.unlink()
        else:
            fresh = parent / f"{_BUILDING}{LINK}-{os.getpid()}"
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(target)
            fresh.replace(place)
        sync(parent)


def linked(parent: Path) -> str | None:
    """What `parent/current` points at, None where there is no such link."""
    place = parent / LINK
    return str(place.readlink()) if place.is_symlink() else None


def sweep(parent: Path) -> None:
    """Remove the temporary folders and links of processes that were killed.

    Only for who holds the worker's lock.
    """
    for path in parent.glob(f"{_BUILDING}*"):
        if path.is_symlink() or path.is_file():
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path, ignore_errors=True)


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
