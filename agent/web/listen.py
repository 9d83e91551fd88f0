"""The server around the desk: uvicorn in a thread of its own, on a socket of loopback."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass, field

import uvicorn
from starlette.types import ASGIApp

from agent.errors import UsageError

_STARTED_WITHIN_S = 30.0
_CONNECTIONS = 200


@dataclass(slots=True)
class Listener:
    """`start`, and at the end `stop`."""

    app: ASGIApp
    socket: socket.socket
    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = field(default=None)

    @property
    def url(self) -> str:
        return url_of(self.socket)

    def start(self) -> None:
        """Returns when requests are taken. Raises UsageError when that does not come about."""
        # Its own log and signal handlers stay out: only the command line prints, and only there signals are heard.
        config = uvicorn.Config(
            self.app, log_config=None, log_level="critical", access_log=False, lifespan="off", http="h11", ws="none",
            loop="asyncio", server_header=False, limit_concurrency=_CONNECTIONS, proxy_headers=False,
            timeout_graceful_shutdown=5,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self.socket],), name="factd-web", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + _STARTED_WITHIN_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise UsageError(f"{self.url}: the server did not start; try another --port")
            time.sleep(0.01)

    @property
    def is_up(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """Take no more connections, give the answers in progress."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join()


def url_of(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
