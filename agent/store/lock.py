"""One worker per state folder: who compiles, verifies and publishes holds this lock.

The kernel frees it when the process ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import LockHeld, StoreError

LOCK = "lock"


@contextmanager
def worker_lock(folder: Path) -> Iterator[None]:
    """Hold the state folder's lock. Raises LockHeld at once, naming the process that has it, StoreError if
    there is no folder.

    The file is never removed: a second file of the same name could be locked while the first still is.
    """
    path = folder / LOCK
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(
            f"{path}: the lock cannot be opened ({error.strerror}); check the state folder"
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise LockHeld(
                f"{folder}: another factd (process {pid}) works on this state; wait for it or stop it"
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode("ascii"), 0)
        yield
    finally:
        os.close(handle)
