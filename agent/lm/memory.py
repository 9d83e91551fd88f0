"""Running out of memory, which torch tells in four ways, as one error that says what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from agent.errors import ModelError

# What torch's allocators and its C++ say in a bare RuntimeError.
_SAID = ("not enough memory", "can't allocate memory", "bad_alloc", "cannot allocate memory", "out of memory")


@contextmanager
def enough_memory(doing: str) -> Iterator[None]:
    """Raises ModelError where the block runs out of memory; `doing` says what it was at. Every other error comes through."""
    try:
        yield
    except Exception as error:
        if not _is_about_memory(error):
            raise
        raise ModelError(
            f"out of memory while {doing}; nothing was published. Free some, or make it smaller: editing.batch_rows,"
            f" editing.chunk, model.dtype ({str(error).splitlines()[0][:120] if str(error) else type(error).__name__})"
        ) from error


def _is_about_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _SAID)
