"""A server on loopback that sends what a list entry says, byte for byte, in whatever manner."""

from __future__ import annotations

import gzip
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

_STEP_S = 0.02
_BLOCK = 1 << 16


@dataclass
class Sender:
    """`case` is what the next request gets; `asked` are the paths of all requests."""

    url: str
    stop: threading.Event = field(default_factory=threading.Event)
    case: dict[str, Any] = field(default_factory=dict)
    secret: str = ""
    asked: list[str] = field(default_factory=list)
    body: bytes = b""

    def prepare(self, case: dict[str, Any]) -> None:
        """The next answer. Packing a bomb takes longer than a client waits."""
        self.case = case
        self.asked.clear()
        self.body = packed(case["body"], case.get("packed", ""), self._filled) if "body" in case else b""

    def answer(self, line: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request and (part := line.recv(65536)):
            request += part
        path = request.split(b" ")[1].decode("latin-1") if b" " in request else "?"
        self.asked.append(path)
        with suppress(OSError):
            for part in self._parts():
                if self.stop.is_set():
                    return
                line.sendall(part)

    def _parts(self) -> Iterator[bytes]:
        manner = self.case.get("manner", "plain")
        if manner != "plain":
            yield from MANNERS[manner](self)
            return
        body, head = self.body, [line.encode() for line in self.case.get("head", [])]
        if not any(line.lower().startswith((b"content-length", b"transfer-encoding")) for line in head):
            head.append(f"Content-Length: {len(body)}".encode())
        yield b"\r\n".join([b"HTTP/1.1 200 OK", *head, b"Connection: close", b"", b""]) + body

    def _filled(self, text: str) -> str:
        return text.replace("{secret}", self.secret).replace("{inner}", f"{self.url}/inner")

    def wait(self) -> bool:
        return not self.stop.wait(_STEP_S)


def packed(pieces: list[list[Any]], how: str, filled: Callable[[str], str]) -> bytes:
    """The body; a bomb is never in memory as a whole."""
    if how in ("utf-16-le", "latin-1"):
        return "".join(filled(text) * times for text, times in pieces).encode(how)
    blocks = _blocks(pieces, filled)
    if how == "":
        return b"".join(blocks)
    if how == "members":
        return b"".join(
            gzip.compress(block[:1]) for block in b"".join(blocks) for block in [bytes([block])] * 20
        )
    wbits = {"gzip": 31, "gzip gzip": 31, "half": 31, "zlib": 15, "deflate": -15}[how]
    packer = zlib.compressobj(1 if how != "half" else 0, wbits=wbits)
    body = b"".join(packer.compress(block) for block in blocks) + packer.flush()
    if how == "gzip gzip":
        return gzip.compress(body)
    return body[: len(body) // 2] if how == "half" else body


def _blocks(pieces: list[list[Any]], filled: Callable[[str], str]) -> Iterator[bytes]:
    for text, times in pieces:
        one = filled(text).encode()
        many = max(1, (1 << 20) // max(1, len(one)))
        while times:
            yield one * min(many, times)
            times -= min(many, times)


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/rss+xml\r\n"


def _forever(head: bytes, piece: bytes) -> Callable[[Sender], Iterator[bytes]]:
    def send(_sender: Sender) -> Iterator[bytes]:
        yield head
        while True:
            yield piece

    return send


def _drip(head: bytes, piece: bytes) -> Callable[[Sender], Iterator[bytes]]:
    def send(sender: Sender) -> Iterator[bytes]:
        yield head
        while sender.wait():
            yield piece

    return send


def _once(*parts: bytes) -> Callable[[Sender], Iterator[bytes]]:
    return lambda _sender: iter(parts)


MANNERS: dict[str, Callable[[Sender], Iterator[bytes]]] = {
    "endless": _forever(_HEAD + b"\r\n<rss><channel>", b"<item><title>more</title></item>" * 2000),
    "endless chunks": _forever(
        _HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * _BLOCK + b"\r\n"
    ),
    "endless spaces": _forever(_HEAD + b"\r\n", b" \n" * (_BLOCK // 2)),
    "slow body": _drip(_HEAD + b"\r\n<rss>", b" "),
    "slow head": _drip(_HEAD + b"X-Slow: ", b"a"),
    "silence": _drip(b"", b""),
    "silence after head": _drip(_HEAD + b"Content-Length: 100\r\n\r\n", b""),
    "loop": _once(
        b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    ),
    "huge header": _once(_HEAD + b"X-Long: ", *[b"a" * (1 << 20)] * 20, b"\r\n\r\n<rss/>"),
    "many headers": _once(_HEAD, *[b"X-A: b\r\n" * 10_000] * 100, b"\r\n<rss/>"),
    "endless status": _forever(b"HTTP/1.1 200 ", b"O" * _BLOCK),
    "endless interim": _forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "endless trailers": _forever(
        _HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: a\r\n" * 4000
    ),
    "huge location": _once(
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /", b"a" * (1 << 20), b"\r\n\r\n"
    ),
    "garbage": _once(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n<rss/>"),
    "null header": _once(_HEAD + b"X-Null: a\x00b\r\nContent-Length: 6\r\n\r\n<rss/>"),
}


@contextmanager
def sending(secret: str) -> Iterator[Sender]:
    listener = socket.create_server(("127.0.0.1", 0))
    here = Sender(f"http://127.0.0.1:{listener.getsockname()[1]}", secret=secret)
    threads: list[threading.Thread] = []

    def serve(line: socket.socket) -> None:
        with line, suppress(OSError):
            here.answer(line)

    def accept() -> None:
        with suppress(OSError):
            while True:
                line, _ = listener.accept()
                threads.append(threading.Thread(target=serve, args=(line,), daemon=True))
                threads[-1].start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield here
    finally:
        here.stop.set()
        listener.close()
        for thread in threads:
            thread.join(2)
