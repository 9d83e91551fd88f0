"""The server around the application: a socket, uvicorn in a thread of its own, and an orderly end."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass

import uvicorn

from agent.errors import UsageError
from agent.serve.app import Front, build
from agent.serve.engine import Engine
from agent.serve.guard import Guard
from agent.serve.sockets import bound

_STARTED_WITHIN_S = 30.0
_CONNECTIONS = 1000
__all__ = ["Listener", "bound"]


@dataclass(slots=True)
class Listener:
    """The HTTP side, in a thread: `start`, and at the end `stop`, after which nobody waits for an answer."""

    engine: Engine
    guard: Guard
    model: str
    socket: socket.socket
    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        host, port = self.socket.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"

    def start(self) -> None:
        """Returns when requests are taken. Raises UsageError when that does not come about."""
        front = Front(self.engine, self.guard, self.model, int(time.time()))
        # Its own pages, log and signal handlers stay out: only the command line prints, and only there signals are heard.
        config = uvicorn.Config(
            build(front), log_config=None, log_level="critical", access_log=False, lifespan="off", http="h11", ws="none",
            loop="asyncio", server_header=False, limit_concurrency=_CONNECTIONS, proxy_headers=False,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self.socket],), name="factd-http", daemon=True
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

    def stop(self, timeout_s: float | None = None) -> bool:
        """Take no more connections, wait for the answers in progress. False when some are in progress still after `timeout_s`."""
        assert self._server is not None and self._thread is not None
        self._server.should_exit = True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def stop_now(self) -> None:
        """Whoever waits is cut off."""
        assert self._server is not None
        self._server.force_exit = self._server.should_exit = True
