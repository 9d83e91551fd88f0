"""Files that appear whole or not at all, also when the power goes."""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    if path.exists() and not (path.is_file() or path.is_dir()):
        path.write_bytes(_bytes(content))
        return
    with _beside(path, _bytes(content), like, mode) as partial, step("whole", "rename"):
        partial.replace(path)
    with step("whole", "sync-folder"):
        sync(path.parent)


def write_new(path: Path, content: bytes | str, *, mode: int = _READABLE) -> None:
    """Put `content` where there is nothing yet, with the permissions `mode`. Raises FileExistsError where there is something, which stays as
    it is, and OSError.
    """
    with _beside(path, _bytes(content), None, mode) as partial, step("whole", "link"):
        _take_place(partial, path)
    with step("whole", "sync-folder"):
        sync(path.parent)


@contextmanager
def _beside(path: Path, data: bytes, like: os.stat_result | None, mode: int) -> Iterator[Path]:
    """The content on the disk under a name that nobody knows. The name is gone at the end."""
    sweep(path)
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
        yield partial
    finally:
        partial.unlink(missing_ok=True)


def _take_place(partial: Path, path: Path) -> None:
    """A rename would put itself over what somebody else has made meanwhile; a link does not."""
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except (
        OSError
    ):  # a file system without hard links: take the name first, empty, then put the content there
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        partial.replace(path)


def _bytes(content: bytes | str) -> bytes:
    return content.encode("utf-8") if isinstance(content, str) else content


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


def sweep(path: Path) -> None:
    """Remove what killed processes left of their attempts at this file, as every writer of it does first."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        owner = left.name.removeprefix(f".{path.name}.").partition(".")[0]
        if owner.isdigit() and not alive(int(owner)):
            left.unlink(missing_ok=True)


def _dress(handle: int, like: os.stat_result | None, mode: int) -> None:
    os.fchmod(handle, mode if like is None else like.st_mode & 0o7777)
    if like is not None:
        with suppress(PermissionError):
            os.fchown(handle, like.st_uid, like.st_gid)
