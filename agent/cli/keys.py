"""Single keys from a terminal, and word when its window has another size or it came back from the background."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType

_CTRL_D = "\x04"
RESIZED, END = "resized", "end"
_NAMED = {
    "\x1b[A": "up", "\x1b[B": "down", "\x1b[C": "right", "\x1b[D": "left", "\x1bOA": "up", "\x1bOB": "down",
    "\x1bOC": "right", "\x1bOD": "left", "\x1b[5~": "page up", "\x1b[6~": "page down", "\x1b": "escape",
    " ": "page down", "\r": "enter", "\n": "enter", "\x7f": "page up",
}  # fmt: skip
_SIGNALS = (signal.SIGWINCH, signal.SIGCONT)


class Keyboard:
    """The terminal's keys while it is open; as it was afterwards, whatever happened."""

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._fd)

    def __enter__(self) -> Keyboard:
        # A signal writes into a pipe that `key` listens to: a handler that draws or raises could come in the middle of anything.
        self._heard, self._told = os.pipe()
        for end in (self._heard, self._told):
            os.set_blocking(end, False)
        self._wakeup = signal.set_wakeup_fd(self._told, warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, _nothing) for number in _SIGNALS}
        self._handlers[signal.SIGTERM] = signal.signal(signal.SIGTERM, _leave)
        self._single()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._heard)
        os.close(self._told)

    def key(self) -> str:
        """The next key: a character or its name; RESIZED when all is to be drawn again, END when the terminal is gone or Ctrl-D was
        pressed. Of keys that came together (pasted, or typed ahead) only the first counts. Raises KeyboardInterrupt.
        """
        ready, _, _ = select.select([self._fd, self._heard], [], [])
        if self._heard in ready:
            self._hear()
            self._single()  # a shell has had the terminal, if we were stopped
            return RESIZED
        try:
            # Not click.getchar: it drops what has come before it was called, and does not wake up for anything else.
            pressed = os.read(self._fd, 64).decode("utf-8", "replace")
        except OSError:
            return END
        if not pressed or pressed[0] == _CTRL_D:
            return END
        return _NAMED.get(pressed) or ("" if pressed[0] == "\x1b" else _NAMED.get(pressed[0], pressed[0]))

    def line(self, question: str) -> str | None:
        """A line of text that the person types behind `question`; None when it is broken off (Ctrl-C, Ctrl-D)."""
        typed = b""
        try:
            with self.cooked():
                _keep_output(self._fd)
                print(question, end="", flush=True)
                while not typed.endswith(b"\n"):
                    part = self._part()
                    if part == b"":
                        return None
                    typed += part or b""
        except KeyboardInterrupt:
            self.forget()
            return None
        except OSError:
            return None
        return typed.decode("utf-8", "replace").strip()

    def _part(self) -> bytes | None:
        """What was typed, None when a signal came instead. Not `input`: a Ctrl-C that comes just before that starts to read is not
        heard until the next key.
        """
        ready, _, _ = select.select([self._fd, self._heard], [], [])
        if self._heard in ready:
            self._hear()
            return None
        return os.read(self._fd, 4096)

    def forget(self) -> None:
        """Drop what was typed ahead: a key counts for what was on the screen when it was pressed."""
        termios.tcflush(self._fd, termios.TCIFLUSH)

    @contextmanager
    def cooked(self) -> Iterator[None]:
        """The terminal as other programs want it: for a line of text, or for another program."""
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
        try:
            yield
        finally:
            self._single()

    def _single(self) -> None:
        """Single keys, not echoed."""
        tty.setcbreak(self._fd, termios.TCSADRAIN)
        _keep_output(self._fd)

    def _hear(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._heard, 4096)


def _keep_output(fd: int) -> None:
    """Ctrl-C empties a terminal's queues, a moment after it has sent its signal: what is drawn in answer to it would be lost."""
    mode = termios.tcgetattr(fd)
    mode[3] |= termios.NOFLSH
    termios.tcsetattr(fd, termios.TCSADRAIN, mode)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    pass


def _leave(number: int, _frame: FrameType | None) -> None:
    """In order, so that the terminal is as it was."""
    raise SystemExit(128 + number)
