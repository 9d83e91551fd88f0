"""Made-up feeds over HTTP on many hosts (127.0.0.1, 127.0.0.2, ...), for `benchmarks.polling`: a server that counts.

    python -m benchmarks.feed_server --feeds 1000 --hosts 250 --latency-ms 20      prints its port, serves until its stdin closes

A host is busy with a connection from the moment it is accepted, and again from the moment a further request comes on it, until the whole
answer is handed to the system. A client cannot have seen the end of an answer before that, so one that keeps to a limit of k is
never seen with more than k busy connections to a host.

Every feed has some 25 items of 40 to 90 words, in turn RSS with escaped markup, RSS with CDATA, and Atom. One in ten sends no validators and
gives its whole body whenever it is asked; the others have an ETag and answer 304. `/control/begin/1` makes each twentieth
feed have three new items; `/control/seen` tells the counts, in JSON. Only asyncio: it must cost less than those it serves.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

ITEMS = 25
NEW_ITEMS = 3
_LATEST_AT = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
_SYLLABLES = (
    "ba",
    "co",
    "di",
    "fe",
    "gu",
    "ha",
    "jo",
    "ka",
    "le",
    "mi",
    "no",
    "re",
    "ster",
    "len",
    "mar",
    "ton",
    "ing",
)


def plain(n: int) -> bool:
    """Whether feed `n` sends neither ETag nor Last-Modified."""
    return n % 10 == 9


def changes(n: int) -> bool:
    """Whether feed `n` has news in the third round."""
    return n % 20 == 4


def feed_body(n: int, items: int, *, unusual: bool = False) -> bytes:
    """Feed `n` with `items` items, the newest first; item k reads the same however many there are.

    An unusual one has an xml:base, with which our quick way of reading leaves it to feedparser.
    """
    base = f' xml:base="https://paper{n}.example/"' if unusual else ""
    entries = [_entry(n, k) for k in reversed(range(items))]
    if n % 3 == 2:
        return (
            f'<?xml version="1.0" encoding="utf-8"?>\n<feed xmlns="http://www.w3.org/2005/Atom"{base}>'
            f"<title>Paper {n}</title><id>urn:paper:{n}</id><updated>{_LATEST_AT.isoformat()}</updated>"
            f'<link href="https://paper{n}.example/"/>{"".join(entries)}</feed>\n'
        ).encode()
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/"{base}>'
        f"<channel><title>Paper {n}</title><link>https://paper{n}.example/</link><description>News</description>"
        f"<ttl>30</ttl>{''.join(entries)}</channel></rss>\n"
    ).encode()


def _entry(n: int, k: int) -> str:
    rng = random.Random(n * 10_000 + k)
    words = ["".join(rng.choices(_SYLLABLES, k=rng.randint(1, 4))) for _ in range(rng.randint(40, 90))]
    title, first, second = " ".join(words[:8]), " ".join(words[8:30]), " ".join(words[30:])
    text = f'<p>{first} &amp; <b>{words[0]}</b>.</p><p>{second} <a href="https://x.example/{k}">more</a>.</p>'
    at = _LATEST_AT - timedelta(hours=ITEMS - k, minutes=n % 60)
    link = f"https://paper{n}.example/story/{k}?utm_source=rss"
    if n % 3 == 2:
        escaped = text.replace("&", "&amp;").replace("<", "&lt;")
        return (
            f"<entry><id>urn:paper:{n}:{k}</id><title>{title}</title><link rel='alternate' href='{link}'/>"
            f"<updated>{at.isoformat()}</updated><published>{at.isoformat()}</published>"
            f"<author><name>{words[1]} {words[2]}</name></author><summary type='html'>{escaped}</summary></entry>\n"
        )
    inside = (
        f"<![CDATA[{text}]]>"
        if n % 3
        else text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    )
    return (
        f"<item><guid isPermaLink='false'>{n}-{k}</guid><title>{title}</title><link>{link}</link>"
        f"<pubDate>{format_datetime(at)}</pubDate><dc:creator>{words[1]} {words[2]}</dc:creator>"
        f"<category>{words[3]}</category><description>{inside}</description></item>\n"
    )


@dataclass
class Site:
    """The bodies, gzipped and bare, and what was seen since `begin`."""

    feeds: int
    latency_s: float
    unusual: bool = False
    news: int = 0
    bodies: dict[tuple[int, int], tuple[bytes, bytes]] = field(default_factory=dict)
    busy: Counter[str] = field(default_factory=Counter)
    most_busy: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    connections: int = 0

    def prepare(self) -> None:
        for n in range(self.feeds):
            for news in (0, 1) if changes(n) else (0,):
                body = feed_body(n, ITEMS + NEW_ITEMS * news, unusual=self.unusual)
                self.bodies[n, news] = (body, gzip.compress(body, 6, mtime=0))

    def begin(self, news: int) -> None:
        self.news = news
        self.most_busy.clear()
        self.statuses.clear()
        self.connections = 0

    def enter(self, host: str) -> None:
        self.busy[host] += 1
        self.most_busy[host] = max(self.most_busy[host], self.busy[host])

    def leave(self, host: str) -> None:
        self.busy[host] -= 1

    def answer(self, head: bytes) -> bytes:
        """The answer to a request's head: a feed, 304, 404, or what `/control/` gives."""
        path = head.split(b" ", 2)[1].decode("ascii", "replace")
        if path.startswith("/control/"):
            return self._control(path)
        number = path.removeprefix("/feed/").removesuffix(".xml")
        if not number.isdigit() or int(number) >= self.feeds:
            return _message("404 Not Found", b"")
        n = int(number)
        news = self.news if changes(n) else 0
        etag = f'"{n}-{news}"'.encode()
        lower = head.lower()
        if not plain(n) and b"if-none-match: " + etag in lower:
            self.statuses["304"] += 1
            return _message("304 Not Modified", None, b"ETag: " + etag)
        self.statuses["200"] += 1
        packed = b"gzip" in lower
        lines = [b"Content-Type: application/xml; charset=utf-8"]
        lines += [b"Content-Encoding: gzip"] if packed else []
        lines += [] if plain(n) else [b"ETag: " + etag]
        return _message("200 OK", self.bodies[n, news][packed], *lines)

    def _control(self, path: str) -> bytes:
        if path.startswith("/control/begin/"):
            self.begin(int(path.rpartition("/")[2]))
        hosts = [count for host, count in self.most_busy.items() if host]
        seen = {
            "busiest_host": max(hosts, default=0),
            "hosts": len(hosts),
            "connections": self.connections,
            "statuses": dict(self.statuses),
        }
        return _message("200 OK", json.dumps(seen).encode())


def _message(status: str, body: bytes | None, *lines: bytes) -> bytes:
    head = [f"HTTP/1.1 {status}".encode(), *lines]
    if body is not None:
        head.append(f"Content-Length: {len(body)}".encode())
    return b"\r\n".join([*head, b"", body or b""])


class Connection(asyncio.Protocol):
    """One connection, kept alive; requests without a body, one at a time."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.host = ""  # while busy, the address that was dialled
        self.pending = b""
        self.used = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.local = transport.get_extra_info("sockname")[0]
        self._enter()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def data_received(self, data: bytes) -> None:
        self._enter()
        self.pending += data
        if b"\r\n\r\n" not in self.pending:
            return
        head, _, self.pending = self.pending.partition(b"\r\n\r\n")
        control = b" /control/" in head[:64]
        if control:
            self._leave()
        elif not self.used:
            self.used = True
            self.site.connections += 1
        asyncio.get_running_loop().call_later(0 if control else self.site.latency_s, self._give, head)

    def _give(self, head: bytes) -> None:
        answer = self.site.answer(head)
        self._leave()  # before the first byte goes: the client may be back before we are called again
        if not self.transport.is_closing():
            self.transport.write(answer)
            if b"connection: close" in head.lower():
                self.transport.close()

    def _enter(self) -> None:
        if not self.host:
            self.host = self.local
            self.site.enter(self.host)

    def _leave(self) -> None:
        if self.host:
            self.site.leave(self.host)
            self.host = ""


def host(n: int) -> str:
    """The address that stands for host `n`."""
    return f"127.0.{n // 250}.{1 + n % 250}"


def host_of(feed: int, hosts: int) -> str:
    """Where feed `feed` lives: one in ten with one large publisher, the others spread evenly."""
    return host(0 if feed % 10 == 0 or hosts == 1 else 1 + feed % (hosts - 1))


async def serve(site: Site, hosts: int) -> None:
    """Listen on every host's address at one port, print it, and stay until stdin closes."""
    loop = asyncio.get_running_loop()
    addresses = [host(n) for n in range(hosts)]
    first = await loop.create_server(lambda: Connection(site), addresses[0], 0, backlog=256)
    port = first.sockets[0].getsockname()[1]
    servers = [first]
    for address in addresses[1:]:
        servers.append(await loop.create_server(lambda: Connection(site), address, port, backlog=256))
    print(port, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    for server in servers:
        server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Made-up feeds on many loopback addresses.")
    parser.add_argument("--feeds", type=int, default=1000)
    parser.add_argument("--hosts", type=int, default=250)
    parser.add_argument("--latency-ms", type=float, default=20.0)
    parser.add_argument("--unusual", action="store_true", help="every feed has an xml:base")
    options = parser.parse_args()
    site = Site(options.feeds, options.latency_ms / 1000, options.unusual)
    site.prepare()
    asyncio.run(serve(site, options.hosts))


if __name__ == "__main__":
    main()
