"""Files that appear whole or not at all, also when the power goes."""

from __future__ import annotations

import glob
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from agent.faults import step

_READABLE = 0o644


def write_whole(
    path: Path, content: bytes | str, like: os.stat_result | None = None, *, mode: int = _READABLE
) -> None:
    """Put `content` at `path`, text as UTF-8. What is there stays until the new content is on the disk, and when anything fails. What is no
    file, as /dev/null or a pipe, is written to and not replaced.

    `like` lends the new file its permissions and, where this user may give files away, its owner; without it they are `mode`: everybody may read
    the file unless told otherwise. Raises OSError.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    if path.exists() and not (path.is_file() or path.is_dir()):
        path.write_bytes(data)
        return
    _sweep(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.{os.getpid()}.", suffix=".partial", dir=path.parent)
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            with step("whole", "write"):
                stream.write(data)
                stream.flush()
            _dress(stream.fileno(), like, mode)
            with step("whole", "sync"):
                os.fsync(stream.fileno())
        with step("whole", "rename"):
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    with step("whole", "sync-folder"):
        sync(path.parent)


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk: until the folder is synced too, a power cut may forget them. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def alive(process: int) -> bool:
    """Whether there is a process of this number, whoever's."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _sweep(path: Path) -> None:
    """What killed processes left of their attempts at this file."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        owner = left.name.removeprefix(f".{path.name}.").partition(".")[0]
        if owner.isdigit() and not alive(int(owner)):
            left.unlink(missing_ok=True)


def _dress(handle: int, like: os.stat_result | None, mode: int) -> None:
    os.fchmod(handle, mode if like is None else like.st_mode & 0o7777)
    if like is not None:
        with suppress(PermissionError):
            os.fchown(handle, like.st_uid, like.st_gid)
