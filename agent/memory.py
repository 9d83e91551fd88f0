"""Memory of a process that runs for months. What a round needed is given back to the system afterwards, and threads share their heaps.

glibc gives each thread a heap of its own, up to eight for each core. Polling takes new threads every round, so that what little stays alive of
a round comes to lie in one heap after the other, and each keeps the pages around it (measured in docs/soak.md). Elsewhere both
functions do what they can, which may be nothing.
"""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

_M_ARENA_MAX = -8  # malloc.h
_HEAPS = 2


def share_heaps() -> None:
    """From now on no more than two heaps for all threads. To be called before there are threads."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _HEAPS)


def give_back() -> None:
    """Collect what is garbage, and return free pages to the system: some tenths of a second."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
