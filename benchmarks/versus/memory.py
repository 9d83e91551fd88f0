"""This process's resident memory, now and at its highest, in MiB."""

from __future__ import annotations

import ctypes
import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

_MIB = 1 << 20
_STATUS = Path("/proc/self/status")


def resident() -> float:
    """Resident now. Where the kernel does not tell (macOS): the highest so far."""
    return _of_status("VmRSS") or _highest()


def peak() -> float:
    """Highest since the start of the process, or since `reset_peak` where that works."""
    return _of_status("VmHWM") or _highest()


def reset_peak() -> None:
    """Start `peak` anew (Linux): what loading took for a moment is not the edit's.

    `ru_maxrss` cannot be started anew, and a child inherits in it what its parent had before the exec. What the allocator holds
    but nobody uses any more goes back to the system first (glibc).
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _of_status(name: str) -> float:
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _highest() -> float:
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MIB


def touch(model: torch.nn.Module) -> None:
    """Read every weight: those that are still in the file only would be counted for whoever reads them first."""
    for parameter in model.parameters():
        parameter.detach().sum()
