"""A network of one machine: an honest site, a server that must never be asked, and a record of every address that is dialled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpcore
import pytest

from agent.sources.http import Client
from agent.sources.sockets import system_resolver

# The honest site has an address of the internet; the record sends it to loopback.
FRONT, FRONT_ADDRESS = "front.example", "93.184.216.34"
ELSEWHERE = "8.8.8.8"  # another address of the internet, where nobody answers
Page = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Net:
    """`pages` of the honest site by path. `dialled`: every address but those of the internet; `asked`: what the inner server was asked."""

    front_port: int
    inner_port: int
    pages: dict[str, Page] = field(default_factory=dict)
    dialled: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    names: dict[str, list[list[str]]] = field(default_factory=dict)

    def resolve(self, host: str, port: int) -> list[str]:
        """The names of a case, the honest site, and for everything else this machine's own resolver: it knows odd notations."""
        if host == FRONT:
            return [FRONT_ADDRESS]
        if host in self.names:
            answers = self.names[host]
            return answers.pop(0) if len(answers) > 1 else answers[0]
        return system_resolver(host, port)

    @cached_property
    def client(self) -> Client:
        return Client(timeout_s=5, resolve=self.resolve)

    def start(self, names: dict[str, list[list[str]]] | None = None) -> None:
        """Forget what was; the next attack."""
        self.names = {host: [list(answer) for answer in answers] for host, answers in (names or {}).items()}
        self.dialled.clear()
        self.asked.clear()

    @property
    def reached(self) -> str:
        """What was reached that should not have been; "" when nothing was."""
        return "; ".join([*(f"dialled {a}" for a in self.dialled), *(f"asked {a}" for a in self.asked)])


@contextmanager
def network() -> Iterator[Net]:
    net = Net(0, 0)

    def inside(handler: BaseHTTPRequestHandler) -> None:
        net.asked.append(handler.path)
        say(b"<rss/>")(handler)

    def outside(handler: BaseHTTPRequestHandler) -> None:
        net.pages.get(handler.path, say(b"", 404))(handler)

    dial = httpcore.SyncBackend.connect_tcp

    def connect(backend: Any, host: str, port: int, *rest: Any, **more: Any) -> httpcore.NetworkStream:
        if host == FRONT_ADDRESS:
            return dial(backend, "127.0.0.1", net.front_port, *rest, **more)
        if host != ELSEWHERE:
            net.dialled.append(host)
            if host.startswith("127.") or host in ("::1", "0.0.0.0", "::ffff:127.0.0.1"):
                return dial(backend, host, port, *rest, **more)
        raise httpcore.ConnectError("nobody there")

    with _server(inside) as inner, _server(outside) as front, pytest.MonkeyPatch.context() as patch:
        net.front_port, net.inner_port = front, inner
        patch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
        yield net


@contextmanager
def _server(answer: Page) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def say(body: bytes, status: int = 200, kind: str = "application/rss+xml", location: bytes = b"") -> Page:
    """A page; `location` goes out byte for byte, as a hostile server sends it."""

    def page(handler: BaseHTTPRequestHandler) -> None:
        head = [f"HTTP/1.0 {status} OK".encode(), f"Content-Type: {kind}".encode()]
        head += [f"Content-Length: {len(body)}".encode(), *([b"Location: " + location] if location else [])]
        handler.wfile.write(b"\r\n".join(head) + b"\r\n\r\n" + body)

    return page
