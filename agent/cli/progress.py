"""One line on stderr that says how far a stage is, on a terminal only, and gone when the stage is over."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import TextIO

from agent.cli.text import safe_text

_EVERY_S = 0.1
_CLEAR = "\r\x1b[K"
_NAMES = {
    "fetch": "fetching sources",
    "bodies": "reading pages",
    "read": "reading articles",
    "extract": "asking the extractor's model",
    "ask": "asking the model",
    "import": "reading the file, MB",
    "covariance": "measuring the model",
    "values": "optimising values",
    "polish": "polishing the edits",
    "known": "asking for known facts",
    "trace": "tracing",
    "flips": "trying free vectors",
    "search": "settings tried, of at most",
    "before": "asking the base model",
    "verify": "asking the edited model",
    "artefact": "asking what was exported",
    "served": "asking the server",
}


def shows_progress(stream: TextIO, *, quiet: bool) -> bool:
    return not quiet and stream.isatty() and os.environ.get("TERM") != "dumb"


@dataclass(slots=True)
class ProgressLine:
    """Call it as `progress(stage, done, total)`; leave it as a context manager, which clears the line."""

    shown: bool
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    _drawn_at_s: float = -1.0
    _stage: str = ""

    def __call__(self, stage: str, done: int, total: int) -> None:
        now_s = time.monotonic()
        if not self.shown or (stage == self._stage and done < total and now_s - self._drawn_at_s < _EVERY_S):
            return
        self._drawn_at_s, self._stage = now_s, stage
        self.stream.write(f"{_CLEAR}{safe_text(_NAMES.get(stage, stage))} {done}/{total}")
        self.stream.flush()

    def clear(self) -> None:
        """Take the line away; call it before printing something else."""
        if self.shown and self._stage:
            self.stream.write(_CLEAR)
            self.stream.flush()
            self._stage = ""

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()
