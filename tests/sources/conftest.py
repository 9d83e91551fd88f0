"""A real HTTP server on loopback whose pages are functions, and small feeds to serve."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from agent.sources.base import SourceSpec
from agent.sources.http import Client
from agent.sources.text import registered_domain

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
Page = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Site:
    """`pages[path]` answers a GET; `seen` holds the request headers, lower-case, in order."""

    url: str
    stop: threading.Event
    pages: dict[str, Page] = field(default_factory=dict)
    seen: list[dict[str, str]] = field(default_factory=list)

    def spec(self, path: str, allow_private: bool = True) -> SourceSpec:
        return SourceSpec("local", self.url + path, allow_private=allow_private)


@pytest.fixture
def site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            here.seen.append({k.lower(): v for k, v in self.headers.items()} | {":path": self.path})
            here.pages.get(self.path, answer(404))(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    here = Site(f"http://127.0.0.1:{server.server_address[1]}", threading.Event())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield here
    here.stop.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session", autouse=True)
def suffixes_read() -> None:
    """Reading the list of suffixes takes longer than Hypothesis allows a first example."""
    registered_domain("https://paper.example/")


@pytest.fixture(scope="session")
def client() -> Client:
    return Client(timeout_s=5)


def answer(status: int, body: bytes = b"", **headers: str) -> Page:
    """A page with that status, body and headers (`etag='"a"'`, `content_type=...`)."""

    def page(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return page


def rss(*items: str, head: str = "") -> bytes:
    """An RSS 2.0 document of these <item> contents."""
    inside = "".join(f"<item>{item}</item>" for item in items)
    return (
        '<?xml version="1.0" encoding="utf-8"?><rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<channel><title>A feed</title><link>https://paper.example/</link>{head}{inside}</channel></rss>"
    ).encode()


def item(n: int, **more: str) -> str:
    """The contents of an <item> with its own guid, link, title and text."""
    fields = {
        "guid": f"guid-{n}",
        "link": f"https://www.paper.example/story/{n}",
        "title": f"Story number {n}",
        "description": f"Something happened {n} times in the town of Elmford, the council said on Monday.",
        "pubDate": f"Mon, 02 Mar 2026 10:{n % 60:02d}:00 GMT",
    } | more
    return "".join(f"<{k}>{v}</{k}>" for k, v in fields.items())
