"""Places where a crash test may kill the process, so that "nothing is lost" is tried and not believed.

Every durable write (a database's commit, a file's content, an fsync, a rename, a link, a removal) stands between two points:

    with step("publish", "rename"):       publish:before-rename
        folder.rename(place)              publish:after-rename

A point does nothing unless the environment variable `FACTD_FAULT` holds just its name; then the process kills itself with SIGKILL: no
handler, no `finally`, no flush. Each passing is also told to the audit hooks of the interpreter (`sys.audit`), by which tests
count the points, kill at the third passing, or let a write fail as on a full disk.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

FAULT_VARIABLE = "FACTD_FAULT"
FAULT_EVENT = "factd.fault"

STORE_WRITES: Mapping[str, tuple[str, ...]] = {
    "open": ("folders", "commit"),
    "articles": ("commit",),
    "poll": ("commit",),
    "feed": ("commit",),
    "claims": ("commit",),
    "retire": ("commit",),
    "propose": ("commit",),
    "skips": ("commit",),
    "stage": ("commit",),
    "decide": ("commit",),
    "undo": ("commit",),
    "approve": ("commit",),
    "reject": ("commit",),
    "defer": ("commit",),
    "reopen": ("commit",),
    "send-back": ("commit",),
    "take-back": ("commit",),
    "move": ("commit",),
    "lease": ("commit",),
    "renew": ("commit",),
    "verified": ("commit",),
    "failed": ("commit",),
    "release": ("commit",),
    "expired": ("commit",),
    "ledger": ("commit",),
    "sign": ("commit",),
    "round": ("commit",),
    "pin": ("commit",),
    "unpin": ("commit",),
    "publish": ("folder", "write", "sync", "sweep", "rename", "sync-folder", "commit"),
    "confirm": ("unlink", "sync-folder"),
    "republish": ("commit",),
    "rollback": ("commit",),
    "link": ("symlink", "rename", "unlink", "sync-folder"),
    "gc": ("commit", "unlink", "sync-folder"),
    "restore": ("write", "sync", "rename", "sync-folder", "commit"),
    "repair": ("remove",),
}
"""Stage -> what `agent/store` writes in it."""

FILE_WRITES: Mapping[str, tuple[str, ...]] = {
    "whole": ("write", "sync", "rename", "link", "sync-folder"),
    "values": ("folder", "write", "sync", "rename", "sync-folder", "move", "sync-moved", "rmdir"),
    "statistics": ("write", "sync", "rename", "sync-folder", "unlink"),
    "export": ("folder", "sync", "rename", "sync-folder"),
}
"""What is written outside the database and the folder of revisions: files that appear whole, value vectors, key statistics, exports."""

BETWEEN = ("apply:after-check", "apply:after-compile", "apply:after-verify")
"""Where a run has done much work and written none of it."""


def _points(writes: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(
        f"{stage}:{moment}-{what}"
        for stage, whats in writes.items()
        for what in whats
        for moment in ("before", "after")
    )


POINTS = (*_points(STORE_WRITES), *_points(FILE_WRITES), *BETWEEN)
"""All that there are. tests/crash holds that the program has no others and that each is met."""


def fault(name: str) -> None:
    """Tell the audit hooks, and kill this process here and now if `FACTD_FAULT` names this point."""
    sys.audit(FAULT_EVENT, name)
    if os.environ.get(FAULT_VARIABLE) == name:
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def step(stage: str, what: str) -> Iterator[None]:
    """One durable write between its two points."""
    fault(f"{stage}:before-{what}")
    yield
    fault(f"{stage}:after-{what}")
