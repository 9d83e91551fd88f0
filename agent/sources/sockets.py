"""Sockets under the guard, for one exchange: httpx over connections that go only where the guard lets them, and none that outlives it.

The guard sits where the socket is opened. `_GuardedBackend` resolves the host once, checks every address, and
dials one of those very addresses, so neither a redirect nor a DNS answer that changes between check and use
gets past it; httpcore still sends the original Host header and verifies the certificate for the original
name. Each exchange has a connection pool of its own: no connection opened under one source's rights serves
another.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import httpcore
import httpx

from agent.errors import FetchRefused
from agent.sources.guard import check_addresses, check_private

Resolver = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Reach:
    """Whom one exchange may talk to, and how long: `monotonic` (seconds) must not pass `deadline`. `private_host`, in lower case, is the
    one host that may lie on loopback or a LAN; with `private_only` there is no other.
    """

    resolve: Resolver
    monotonic: Callable[[], float]
    deadline: float
    private_host: str = ""
    private_only: bool = False

    def left_s(self) -> float:
        """Raises httpcore.ReadTimeout when nothing is left."""
        left = self.deadline - self.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the time for this fetch is up")
        return left


def system_resolver(host: str, port: int) -> list[str]:
    """The addresses of `host`, by the system's resolver. Raises OSError (socket.gaierror)."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class GuardedTransport(httpx.BaseTransport):
    """httpx over a httpcore pool whose sockets come from the guard."""

    def __init__(self, reach: Reach, ssl_context: ssl.SSLContext) -> None:
        self._pool = httpcore.ConnectionPool(ssl_context=ssl_context, network_backend=_GuardedBackend(reach))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        assert isinstance(request.stream, httpx.SyncByteStream)
        answer = self._pool.handle_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer))

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        return self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


class _GuardedBackend(httpcore.NetworkBackend):
    """Opens sockets only to addresses that the guard lets pass, and none that outlives the deadline."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        reach = self._reach
        addresses = _resolve_within(reach.resolve, host, port, reach.left_s())
        check_addresses(host, addresses, allow_private=host.lower() == reach.private_host)
        if reach.private_only:
            check_private(host, addresses)
        problem: Exception | None = None
        for tried, address in enumerate(addresses):
            share_s = reach.left_s() / (len(addresses) - tried)
            try:
                stream = self._sockets.connect_tcp(address, port, share_s, local_address, socket_options)
                return _BoundedStream(stream, reach)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                problem = failed
        raise problem or httpcore.ConnectError(f"the name {host!a} has no address")

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        raise FetchRefused(f"a feed may not be read from the socket {path!a}")

    def sleep(self, seconds: float) -> None:
        self._sockets.sleep(seconds)


class _BoundedStream(httpcore.NetworkStream):
    """Cuts each read to what is left of the whole GET: one byte at a time could hold us for hours."""

    def __init__(self, stream: httpcore.NetworkStream, reach: Reach) -> None:
        self._stream = stream
        self._reach = reach

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._reach.left_s())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._reach.left_s())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        inner = self._stream.start_tls(ssl_context, server_hostname, self._reach.left_s())
        return _BoundedStream(inner, self._reach)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _resolve_within(resolve: Resolver, host: str, port: int, limit_s: float) -> Sequence[str]:
    """Resolve in a thread of its own: getaddrinfo knows no timeout, and a dead name server takes minutes.

    An address needs no name server.
    """
    if _is_address(host):
        return resolve(host, port)
    answer: list[Sequence[str] | OSError] = []

    def ask() -> None:
        try:
            answer.append(resolve(host, port))
        except (OSError, UnicodeError) as problem:
            answer.append(OSError(f"the name {host!a} does not resolve: {problem}"))

    thread = threading.Thread(target=ask, daemon=True, name="resolve")
    thread.start()
    thread.join(limit_s)
    if not answer:
        raise httpcore.ConnectTimeout(f"the name {host!a} took too long to resolve")
    if isinstance(answer[0], OSError):
        raise answer[0]
    return answer[0]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
