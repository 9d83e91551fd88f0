"""`/healthz`, `/readyz`, `/metrics` and the status page, in threads of their own: nobody who asks can hold up the daemon.

A request is read whole before it is looked at: within a deadline and a size, however slowly it drips. Answers are short, connections
are closed after each, and there are only so many at a time. On loopback a foreign Host header is refused: a page of the web may
have given its own name our address.
"""

from __future__ import annotations

import io
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from agent.errors import FactdError, UsageError
from agent.health import Standing
from agent.loopback import is_local, is_loopback
from agent.watch.metrics import CONTENT_TYPE, metrics
from agent.watch.page import page, policy

HEAD_BYTES = 8192
TIMEOUT_S = 5.0
CONNECTIONS = 32
# The database and the folder are looked at so often at most, however many ask.
_FRESH_S = 1.0
_TEXT = "text/plain; charset=utf-8"
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Watched:
    """What the pages are about: `look` reads how things stand (a connection of its own, closed at the end), `alive` says whether rounds
    get on, `redact` takes secrets out of messages of errors.
    """

    look: Callable[[], Standing]
    alive: Callable[[], bool]
    redact: Callable[[str], str]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _last: tuple[float, Standing] | None = None

    def standing(self) -> Standing:
        """At most a second old. Raises FactdError when the state cannot be read."""
        with self._lock:
            if self._last is None or time.monotonic() - self._last[0] > _FRESH_S:
                self._last = (time.monotonic(), self.look())
            return self._last[1]


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    kind: str
    text: str


def reply(path: str, watched: Watched) -> Reply:
    """The answer to a GET. Raises FactdError when the state cannot be read."""
    if path == "/healthz":
        return Reply(200, _TEXT, "ok\n") if watched.alive() else Reply(503, _TEXT, "a round is stuck\n")
    if path not in ("/", "/readyz", "/metrics"):
        return Reply(404, _TEXT, "there are /, /healthz, /readyz and /metrics\n")
    found = watched.standing()
    if path == "/metrics":
        return Reply(200, CONTENT_TYPE, metrics(found, alive=watched.alive()))
    if path == "/":
        return Reply(200, "text/html; charset=utf-8", page(found, alive=watched.alive()))
    lines = [" ".join(p.message.split()) for p in found.problems if p.blocks]
    if not watched.alive():
        lines.insert(0, "a round is stuck")
    return Reply(503 if lines else 200, _TEXT, "\n".join(lines or ["ready"]) + "\n")


class _Handler(BaseHTTPRequestHandler):
    """One connection: its head was read by `setup`, its answer is one of `reply`."""

    server: Server
    rfile: Any

    def version_string(self) -> str:
        return "factd"

    def setup(self) -> None:
        self.connection = self.request
        self.rfile = io.BytesIO(_head(self.connection))
        self.wfile = io.BytesIO()

    def finish(self) -> None:
        """All at once, within the time: who does not read is left."""
        self.request.sendall(self.wfile.getvalue())  # type: ignore[attr-defined]

    def parse_request(self) -> bool:
        """No words of a stranger come back, and no request is read that is not whole."""
        try:
            return super().parse_request()
        except (ValueError, UnicodeError):
            self.send_error(400)
            return False

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        hosts = self.headers.get_all("Host") or [""]
        if self.server.on_loopback and not (len(hosts) == 1 and is_local(hosts[0])):
            found = Reply(421, _TEXT, "the Host header names no address of this machine\n")
        else:
            found = self._found(self.path.partition("?")[0])
        body = found.text.encode("utf-8", "replace")
        self.send_response(found.status)
        self.send_header("Content-Type", found.kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", policy())
        self.send_header("Connection", "close")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _found(self, path: str) -> Reply:
        try:
            return reply(path, self.server.watched)
        except FactdError as error:
            return Reply(503, _TEXT, self.server.watched.redact(" ".join(str(error).split())) + "\n")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """The standard page would repeat the request."""
        self.send_response(405 if code == 501 else code)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Who asks how we are is no event."""


class Server(ThreadingHTTPServer):
    """`start` it, and `stop` it at the end."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = CONNECTIONS

    def __init__(self, host: str, port: int, watched: Watched) -> None:
        """Raises UsageError where that address cannot be listened on."""
        self.watched = watched
        self.on_loopback = is_loopback(host)
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        self._thread: threading.Thread | None = None
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise UsageError(
                f"{host}:{port} cannot be listened on ({error.strerror}); stop what listens there, or choose another"
                " daemon.port"
            ) from error

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        name = host.decode() if isinstance(host, bytes) else str(host)
        return f"http://{f'[{name}]' if ':' in name else name}:{port}/"

    def server_bind(self) -> None:
        """Without the look-up of the host's name, which can take long."""
        if self.allow_reuse_address:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def start(self) -> None:
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.2,), name="factd-watch", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        if self._thread is not None:
            self.shutdown()
            self._thread.join()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread, as long as one is free; whoever comes beyond that is turned away at once."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is nothing to speak of; anything else is ours."""
        error = sys.exception()
        if not isinstance(error, OSError):
            _log.error("the status server: unexpected %s: %s", type(error).__name__, error)


def _head(connection: socket.socket) -> bytes:
    """What a client sends up to the empty line. Raises OSError when it does not come in time, or is too long."""
    deadline, head = time.monotonic() + TIMEOUT_S, b""
    while b"\r\n\r\n" not in head and b"\n\n" not in head:
        left_s = deadline - time.monotonic()
        if left_s <= 0 or len(head) > HEAD_BYTES:
            raise TimeoutError("the request did not come in time, or is too long")
        connection.settimeout(left_s)
        part = connection.recv(4096)
        if not part:
            raise ConnectionError("the client went away")
        head += part
    connection.settimeout(TIMEOUT_S)
    return head
