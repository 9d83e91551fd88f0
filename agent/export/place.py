"""Where an artefact goes: a new folder that appears whole, on the disk, or not at all."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import InputError, StoreError, UsageError
from agent.faults import step
from agent.whole import alive, sync

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def checked_name(name: str, what: str) -> str:
    """`name` if it can be a file's name and a served model's. Raises UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{what} {name!r}: begin with a letter or digit and go on with letters, digits, '.', '_' and '-', "
            "100 characters at most"
        )
    return name


def check_free(folder: Path) -> None:
    """Raises InputError when there is something at `folder` already."""
    if folder.exists() or folder.is_symlink():
        raise InputError(f"{folder} exists; give a folder that does not, so that nothing is overwritten")


@contextmanager
def placed(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder` that becomes it when the block ends well, synced to the disk; else it is removed.

    What a killed process left for the same target is swept away. Raises InputError when the target exists, before or after
    the block; StoreError when the disk refuses.
    """
    folder = folder.absolute()
    check_free(folder)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        with told(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            _sweep(folder)
            with step("export", "folder"):
                partial.mkdir()
        yield partial
        with told(folder):
            _open_up(partial)
            with step("export", "sync"):
                _sync_tree(partial)
            # rename(2) would take the place of an empty folder
            check_free(folder)
            with step("export", "rename"):
                partial.rename(folder)
            with step("export", "sync-folder"):
                sync(folder.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def told(where: Path) -> Iterator[None]:
    """What the disk refuses, as StoreError."""
    try:
        yield
    except OSError as error:
        advice = "free some space" if error.errno in _FULL else "check the folder and its permissions"
        raise StoreError(
            f"{where}: cannot be written ({error.strerror or error}); {advice}, then run it again"
        ) from error


def _sweep(folder: Path) -> None:
    """Folders of the same target whose process is gone."""
    for left in folder.parent.glob(f".{folder.name}.*.partial"):
        owner = left.name.split(".")[-2]
        if owner.isdigit() and not alive(int(owner)):
            shutil.rmtree(left, ignore_errors=True)


def _open_up(folder: Path) -> None:
    """As readable as any new file of this user: safetensors writes files that nobody else may read, and a server may be somebody else."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(folder.stat().st_mode & 0o666)


def _sync_tree(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        sync(path)
