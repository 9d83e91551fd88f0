"""The guarded HTTP client: one GET, or one POST to an endpoint of the owner's, bounded in time, size, redirects and in whom it may talk to.

The guard sits where the socket is opened. `_GuardedBackend` resolves the host once, checks every address, and
dials one of those very addresses, so neither a redirect nor a DNS answer that changes between check and use
gets past it; httpcore still sends the original Host header and verifies the certificate for the original
name. Each GET has a connection pool of its own: no connection opened under one source's rights serves
another.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

from agent.errors import FetchRefused, SourceError
from agent.masked import masked
from agent.sources.guard import check_addresses, check_host, check_private
from agent.sources.unpack import MAX_BYTES, Unpacker

Resolver = Callable[[str, int], Sequence[str]]
USER_AGENT = "factd/0.1 (feed reader)"
ACCEPT = "application/rss+xml, application/atom+xml, application/feed+json, application/xml;q=0.9, */*;q=0.5"
_PERMANENT = (301, 308)
_REDIRECTS = (*_PERMANENT, 302, 303, 307)
_CAUGHT = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    OSError,
    UnicodeError,
)


@dataclass(frozen=True, slots=True)
class Response:
    """What the last hop answered. Header names are lower-case; A GET's `body` is empty unless `status` is 200.

    `moved_to` is where the unbroken run of permanent redirects from the start led, "" if there was none.
    """

    status: int
    url: str
    moved_to: str
    headers: Mapping[str, str]
    body: bytes


def system_resolver(host: str, port: int) -> list[str]:
    """The addresses of `host`, by the system's resolver. Raises OSError (socket.gaierror)."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Client:
    """Settings of all GETs; holds no connections, so it needs no closing and may be shared by threads."""

    def __init__(
        self,
        *,
        timeout_s: float = 20.0,
        max_bytes: int = MAX_BYTES,
        max_redirects: int = 5,
        user_agent: str = USER_AGENT,
        resolve: Resolver = system_resolver,
        monotonic: Callable[[], float] = time.monotonic,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.timeout_s = timeout_s
        self.max_bytes = max_bytes
        self.max_redirects = max_redirects
        self.user_agent = user_agent
        self.resolve = resolve
        self.monotonic = monotonic
        self.ssl_context = ssl_context or httpx.create_ssl_context(trust_env=False)

    def get(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        private_host: str = "",
        private_only: bool = False,
    ) -> Response:
        """GET `url`, following redirects under the guard.

        `private_host` is the one host that may lie on loopback or a LAN; with `private_only` there is no other. Conditional headers go to the first
        hop and along permanent redirects' targets alike: servers ignore validators that are not theirs.

        Raises:
            FetchRefused: scheme, host or address is off limits, here or behind a redirect.
            TooLarge: the body unpacks to more than `max_bytes`.
            SourceError: anything else that keeps the body from arriving, in words.
        """
        with self._web(url, private_host, private_only) as web:
            return self._follow(web, url, headers or {})

    def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        private_host: str = "",
        private_only: bool = False,
    ) -> Response:
        """POST `body` and give back the answer, body and all, whatever its status; redirects are not followed.

        `private_only` sends nothing unless the host lies on loopback or a LAN. Raises as `get` does.
        """
        with self._web(url, private_host, private_only) as web:
            here = httpx.URL(url)
            _check_url(here)
            with web.stream("POST", here, headers=headers, content=body) as answer:
                return Response(answer.status_code, str(here), "", dict(answer.headers), self._read(answer))

    @contextmanager
    def _web(self, url: str, private_host: str, private_only: bool = False) -> Iterator[httpx.Client]:
        """A client for one exchange under the guard; what goes wrong in it comes out as SourceError."""
        deadline = self.monotonic() + self.timeout_s
        try:
            with httpx.Client(
                transport=_Transport(self, deadline, private_host.lower(), private_only),
                trust_env=False,
                timeout=self.timeout_s,
                headers={"User-Agent": self.user_agent, "Accept": ACCEPT, "Accept-Encoding": "gzip, deflate"},
            ) as web:
                yield web
        except _CAUGHT as problem:
            raise SourceError(f"cannot fetch {shown(url)}: {_in_words(problem, self.timeout_s)}") from problem

    def _follow(self, web: httpx.Client, url: str, headers: Mapping[str, str]) -> Response:
        here, moved_to, permanent = httpx.URL(url), "", True
        for _ in range(self.max_redirects + 1):
            _check_url(here)
            with web.stream("GET", here, headers=headers) as answer:
                location = answer.headers.get("location", "")
                if answer.status_code not in _REDIRECTS or not location:
                    body = self._read(answer) if answer.status_code == 200 else b""
                    return Response(answer.status_code, str(here), moved_to, dict(answer.headers), body)
                target = here.join(location)
                permanent = permanent and answer.status_code in _PERMANENT
            if here.scheme == "https" and target.scheme == "http":
                raise FetchRefused(
                    f"{shown(str(here))} redirects to unencrypted {shown(str(target))};"
                    " name that url yourself if you trust it"
                )
            here = target
            moved_to = str(here) if permanent else moved_to
        raise SourceError(
            f"{shown(url)} redirects more than {self.max_redirects} times; the last was to {shown(str(here))}"
        )

    def _read(self, answer: httpx.Response) -> bytes:
        unpack = Unpacker(answer.headers.get("content-encoding", ""), self.max_bytes)
        for chunk in answer.iter_raw():
            unpack.feed(chunk)
        return unpack.finish()


def shown(url: str) -> str:
    """A URL as messages show it: ASCII, without login, keys masked, at most 200 characters."""
    try:
        parts = urlsplit(url)
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    except ValueError:
        pass
    return ascii(masked(url))[1:-1][:200]


def _check_url(url: httpx.URL) -> None:
    if url.scheme not in ("http", "https"):
        raise FetchRefused(
            f"{shown(str(url))} is neither http nor https, the only schemes that feeds may use"
        )
    check_host(url.raw_host.decode("ascii", "replace"))


def _in_words(problem: Exception, timeout_s: float) -> str:
    if isinstance(problem, httpx.TimeoutException | httpcore.TimeoutException | TimeoutError):
        return f"no complete answer within {timeout_s:g} s"
    return f"{ascii(masked(str(problem)))[1:-1][:200] or 'no reason given'} ({type(problem).__name__})"


class _Transport(httpx.BaseTransport):
    """httpx over a httpcore pool whose sockets come from the guard."""

    def __init__(self, client: Client, deadline: float, private_host: str, private_only: bool) -> None:
        backend = _GuardedBackend(client, deadline, private_host, private_only)
        self._pool = httpcore.ConnectionPool(ssl_context=client.ssl_context, network_backend=backend)

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

    def __init__(self, client: Client, deadline: float, private_host: str, private_only: bool) -> None:
        self._client = client
        self._deadline = deadline
        self._private_host = private_host
        self._private_only = private_only
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left_s = _left_s(self._client, self._deadline)
        addresses = _resolve_within(self._client.resolve, host, port, left_s)
        check_addresses(host, addresses, allow_private=host.lower() == self._private_host)
        if self._private_only:
            check_private(host, addresses)
        problem: Exception | None = None
        for tried, address in enumerate(addresses):
            share_s = _left_s(self._client, self._deadline) / (len(addresses) - tried)
            try:
                stream = self._sockets.connect_tcp(address, port, share_s, local_address, socket_options)
                return _BoundedStream(stream, self._client, self._deadline)
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

    def __init__(self, stream: httpcore.NetworkStream, client: Client, deadline: float) -> None:
        self._stream = stream
        self._client = client
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left_s(self._client, self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left_s(self._client, self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        inner = self._stream.start_tls(ssl_context, server_hostname, _left_s(self._client, self._deadline))
        return _BoundedStream(inner, self._client, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left_s(client: Client, deadline: float) -> float:
    left = deadline - client.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the time for this fetch is up")
    return left


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
