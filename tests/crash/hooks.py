"""What is to happen at a fault point, by the interpreter's audit hooks: they cannot be taken out again, so only in a process of its own."""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent.faults import FAULT_EVENT

Action = Literal["trace", "kill", "full", "memory", "tight"]


@dataclass(frozen=True)
class Hook:
    """At the `nth` passing of `point` (of any, where none is named): die as by kill -9, meet a full disk, run out of memory (said by Python, or `tight`: the kernel gives
    no more than `extra_mb`). `trace`: a file that gets every point passed, a line each.
    """

    point: str = ""
    nth: int = 1
    action: Action = "trace"
    trace: str = ""
    extra_mb: int = 0


def install(hook: Hook) -> None:
    seen: Counter[str] = Counter()
    traced = os.open(hook.trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if hook.trace else None

    def meet(event: str, arguments: tuple[object, ...]) -> None:
        if event != FAULT_EVENT:
            return
        name = str(arguments[0])
        if traced is not None:
            os.write(traced, f"{name}\n".encode())
        seen[name] += 1
        if (seen[name] if name == hook.point else seen.total()) == hook.nth and hook.point in (name, ""):
            _act(hook)

    sys.addaudithook(meet)


def _act(hook: Hook) -> None:
    match hook.action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), hook.point)
        case "memory":
            raise MemoryError
        case "tight":
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit = pages * resource.getpagesize() + hook.extra_mb * 2**20
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def passed(trace: Path) -> list[tuple[str, int]]:
    """Every passing of a traced run, in order: the point, and for how many-th time."""
    seen: Counter[str] = Counter()
    found = []
    for name in trace.read_text().split():
        seen[name] += 1
        found.append((name, seen[name]))
    return found
