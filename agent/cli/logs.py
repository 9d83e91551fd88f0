"""The log of `factd run` on stderr: one line an event, as text or as JSON, without secrets and without terminal escapes."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from agent.cli.text import safe_text
from agent.redact import Redactor

Form = Literal["text", "json"]
_LONGEST = 2000
_OURS = "agent"


class Lines(logging.Formatter):
    """A record as one line. `event` and `fields` of a record are ours; those of other libraries have none."""

    def __init__(self, form: Form, redact: Redactor) -> None:
        super().__init__()
        self._form = form
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        message = self._clean(record.getMessage())
        trace = self._clean(self.formatException(record.exc_info)) if record.exc_info else ""
        if self._form == "text":
            mark = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
            mark = "" if message.startswith(mark) else mark
            return f"{at:%Y-%m-%d %H:%M:%S} {mark}{message}{' ' + trace if trace else ''}"
        line: dict[str, Any] = {
            "at": at.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": self._clean(getattr(record, "event", "log")),
            "message": message,
        }
        fields = getattr(record, "fields", {})
        line |= {self._clean(k): self._plain(v) for k, v in fields.items() if k not in line}
        return json.dumps(line | ({"trace": trace} if trace else {}))

    def _clean(self, text: object) -> str:
        """First the invisible characters, which could split a secret, then the secrets, which a cut could halve."""
        return self._redact(safe_text(str(text)[: 2 * _LONGEST]))[:_LONGEST]

    def _plain(self, value: object) -> object:
        return value if isinstance(value, bool | int | float) or value is None else self._clean(value)


class _Handler(logging.StreamHandler[TextIO]):
    """Clears the progress line before it writes."""

    def __init__(self, stream: TextIO, clear: Callable[[], None]) -> None:
        super().__init__(stream)
        self._clear = clear

    def emit(self, record: logging.LogRecord) -> None:
        self._clear()
        super().emit(record)


@contextmanager
def logging_to(
    form: Form, redact: Redactor, *, clear: Callable[[], None] = lambda: None, stream: TextIO | None = None
) -> Iterator[None]:
    """Everything that is logged goes to `stream` (stderr): ours from INFO on, other libraries' warnings. Python's own warnings too."""
    handler = _Handler(stream or sys.stderr, clear)
    handler.setFormatter(Lines(form, redact))
    root, ours = logging.getLogger(), logging.getLogger(_OURS)
    levels = root.level, ours.level
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    ours.setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        root.setLevel(levels[0])
        ours.setLevel(levels[1])
