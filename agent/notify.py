"""Word to systemd (sd_notify): ready, stopping, alive. One datagram each to the socket that NOTIFY_SOCKET names.

The protocol is three lines of text and stable; the Python packages for it are unmaintained or want a C library.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

_STATUS_BYTES = 200


@dataclass(frozen=True, slots=True)
class Notifier:
    """`address`: the socket's, "" where nobody listens. `watchdog_s`: within which time systemd wants to hear that we are alive, 0 for
    never.
    """

    address: str = ""
    watchdog_s: float = 0.0

    @classmethod
    def of(cls, environ: Mapping[str, str], pid: int) -> Notifier:
        """What systemd put into the environment for the process `pid`."""
        address = environ.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return cls()
        micros = environ.get("WATCHDOG_USEC", "")
        ours = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
        return cls(address, int(micros) / 1e6 if micros.isdecimal() and ours else 0.0)

    def ready(self, status: str) -> bool:
        return self.send("READY=1", _status(status))

    def stopping(self, status: str) -> bool:
        return self.send("STOPPING=1", _status(status))

    def alive(self) -> bool:
        return self.send("WATCHDOG=1")

    def status(self, status: str) -> bool:
        return self.send(_status(status))

    def send(self, *lines: str) -> bool:
        """Whether it was sent. That nobody hears it is no reason to fail."""
        if not self.address:
            return False
        where = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
                line.setblocking(False)
                line.sendto("\n".join(lines).encode("utf-8", "replace"), where)
        except OSError:
            return False
        return True


def own_notifier() -> Notifier:
    return Notifier.of(os.environ, os.getpid())


def _status(text: str) -> str:
    """`STATUS=` and one line: a line break in it would be another message."""
    line = " ".join(text.split())
    return "STATUS=" + line.encode("utf-8", "replace")[:_STATUS_BYTES].decode("utf-8", "ignore")
