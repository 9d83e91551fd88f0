"""A command in a real pseudo-terminal, and what its screen shows."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

CLEAR = "\x1b[2J\x1b[H"
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_WITHIN_S = 15.0


@dataclass
class Terminal:
    process: subprocess.Popen[bytes]
    master: int
    output: str = ""
    at_start: tuple[Any, ...] = ()  # what the terminal does with input and output
    seen: int = 0  # how much of the output a `wait` has been satisfied with

    @classmethod
    def start(
        cls, arguments: Sequence[object], *, width: int = 80, height: int = 24, **environ: str
    ) -> Terminal:
        master, slave = os.openpty()
        _resize(master, width, height)
        before = _settings(master)
        process = subprocess.Popen(
            [sys.executable, "-m", "agent.cli.main", *map(str, arguments)],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=_as_a_shell_does,
            env={**os.environ, "TERM": "xterm-256color", "OMP_NUM_THREADS": "1", **environ},
        )  # fmt: skip
        os.close(slave)
        return cls(process, master, at_start=before)

    def resize(self, width: int, height: int) -> None:
        _resize(self.master, width, height)

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def settings(self) -> tuple[Any, ...]:
        return _settings(self.master)

    def screen(self) -> str:
        """What is on the screen, without styles."""
        return _STYLE.sub("", self.output.rpartition(CLEAR)[2]).replace("\r\n", "\n")

    def wait(self, *words: str, until: Callable[[str], bool] = bool) -> str:
        """The first screen, drawn since the last `wait`, that shows all `words`, and of which `until` holds."""
        deadline = time.monotonic() + _WITHIN_S
        while time.monotonic() < deadline:
            fresh = len(self.output) > self.seen
            if fresh and all(word in self.screen() for word in words) and until(self.screen()):
                self.seen = len(self.output)
                return self.screen()
            if not self._read():
                break
        raise AssertionError(f"{words} did not come:\n{self.screen()}")

    def end(self) -> int:
        """Read until the process has ended; its exit code."""
        while self._read():
            pass
        return self.process.wait(_WITHIN_S)

    def close(self) -> None:
        if self.master >= 0:
            os.close(self.master)
            self.master = -1
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def _read(self) -> bool:
        if not select.select([self.master], [], [], _WITHIN_S)[0]:
            return False
        try:
            part = os.read(self.master, 65536)
        except OSError:  # nobody has it open any more
            return False
        self.output += part.decode("utf-8", "replace")
        return bool(part)


def _as_a_shell_does() -> None:
    """The terminal becomes the process's own, and Ctrl-C ends it: started in the background it would have inherited that it does not."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _resize(master: int, width: int, height: int) -> None:
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))


def _settings(master: int) -> tuple[Any, ...]:
    return tuple(termios.tcgetattr(master)[:4])
