"""The guarded HTTP client: one GET, or one POST to an endpoint of the owner's, bounded in time, size, redirects and in whom it may talk to.

The guard itself sits where the sockets are opened (`agent.sources.sockets`).
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpcore
import httpx

from agent.errors import FetchRefused, SourceError
from agent.masked import masked
from agent.sources.guard import check_host
from agent.sources.sockets import GuardedTransport, Reach, Resolver, system_resolver
from agent.sources.unpack import MAX_BYTES, Unpacker

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
        reach = Reach(self.resolve, self.monotonic, deadline, private_host.lower(), private_only)
        try:
            with httpx.Client(
                transport=GuardedTransport(reach, self.ssl_context),
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
