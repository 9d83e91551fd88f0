"""One worker per state folder: who compiles, verifies and publishes holds its lock. `factd run` holds a second one as long as it runs,
so that there is one daemon, and everybody can see whether it is alive.

The kernel frees a lock when the process ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import LockHeld, StoreError
from agent.private import FILE, make_file

LOCK = "lock"
DAEMON_LOCK = "daemon.lock"
# Who looks whether there is a daemon holds its lock for a moment, and must not keep one from starting.
_TRIES, _PAUSE_S = 5, 0.1


@contextmanager
def worker_lock(folder: Path) -> Iterator[None]:
    """Hold the state folder's lock. Raises LockHeld at once, naming the process that has it, StoreError if
    there is no folder.
    """
    with _held(folder / LOCK, "another factd (process {}) works on this state; wait for it or stop it"):
        yield


@contextmanager
def daemon_lock(folder: Path) -> Iterator[None]:
    """Be the daemon of a state folder. Raises LockHeld, StoreError as `worker_lock` does."""
    told = "another `factd run` (process {}) goes round on this state; stop it first, or use another state folder"
    with _held(folder / DAEMON_LOCK, told, tries=_TRIES):
        yield


def daemon_pid(folder: Path) -> int | None:
    """The process that goes round on this state folder; None where none does, 0 where it cannot be told which."""
    try:
        handle = os.open(folder / DAEMON_LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = _pid_in(handle)
        return int(pid) if pid.isdecimal() else 0
    finally:
        os.close(handle)
    return None


@contextmanager
def _held(path: Path, told: str, *, tries: int = 1) -> Iterator[None]:
    """The file is never removed: a second file of the same name could be locked while the first still is."""
    try:
        make_file(path)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE)
    except OSError as error:
        raise StoreError(
            f"{path}: the lock cannot be opened ({error.strerror}); check the state folder"
        ) from error
    try:
        try:
            _take(handle, tries)
        except BlockingIOError as error:
            raise LockHeld(f"{path.parent}: {told.format(_pid_in(handle) or 'unknown')}") from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode("ascii"), 0)
        yield
    finally:
        os.close(handle)


def _take(handle: int, tries: int) -> None:
    """Raises BlockingIOError."""
    for left in range(tries - 1, -1, -1):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not left:
                raise
            time.sleep(_PAUSE_S)


def _pid_in(handle: int) -> str:
    return os.pread(handle, 32, 0).decode("ascii", "replace").strip()
