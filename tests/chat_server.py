"""A real HTTP server on loopback that speaks `/v1/chat/completions`, with a "model" of one regular expression.

There is no language model on the machines that run these tests. What is real here is everything around one: the
socket, the request, the answer's form and all the ways in which it can go wrong. The stand-in reads the article
out of the request and answers from it; `manner` is how the server behaves.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[dict[str, str], dict[str, Any]], Any]
_CHIEF = re.compile(
    r"((?:[A-Z]\w+ )*[A-Z]\w+)(?:(?:'s)? chief executive| is steered by) ((?:[A-Z]\w+ )*[A-Z]\w+)"
)


def claim(
    subject: str, object_: str, quote: str, relation: str = "ceo", kind: str = "state"
) -> dict[str, str]:
    return {"quote": quote, "relation": relation, "subject": subject, "object": object_, "kind": kind}


def chiefs(article: dict[str, str], _request: dict[str, Any]) -> Any:
    """The stand-in for a model: every "Acme chief executive Jane Roe" of the article, and what the
    rules have no words for."""
    found = [claim(m[1], m[2], m[0]) for text in article.values() for m in _CHIEF.finditer(text)]
    return {"claims": found}


@dataclass
class ChatServer:
    """`answer(article, request)` gives the model's answer, `manner` the server's ways, `by_title` those for one
    article; `requests` holds what came, `headers` with which headers (names lower-case)."""

    url: str
    stop: threading.Event
    manner: str = "honoured"
    answer: Answer = chiefs
    by_title: dict[str, str] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def articles(self) -> list[dict[str, str]]:
        return [json.loads(request["messages"][-1]["content"]) for request in self.requests]


@contextmanager
def serving() -> Iterator[ChatServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            here.requests.append(request)
            here.headers.append({name.lower(): value for name, value in self.headers.items()})
            article = json.loads(request["messages"][-1]["content"])
            manner = here.by_title.get(article["title"], here.manner)
            if self.path != "/v1/chat/completions":
                reply(self, 404, b"no such page")
            else:
                MANNERS[manner](self, here, article, request)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here = ChatServer(f"http://127.0.0.1:{server.server_address[1]}/v1", threading.Event())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield here
    finally:
        here.stop.set()
        server.shutdown()
        thread.join()
        server.server_close()


def reply(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def completion(content: str | None, finish: str = "stop", **message: Any) -> bytes:
    choice = {
        "index": 0,
        "finish_reason": finish,
        "message": {"role": "assistant", "content": content, **message},
    }
    return json.dumps({"object": "chat.completion", "choices": [choice]}).encode()


def _says(wrap: Callable[[str], str], **more: Any) -> Callable[..., None]:
    def manner(handler: Any, here: ChatServer, article: Any, request: Any) -> None:
        reply(handler, 200, completion(wrap(json.dumps(here.answer(article, request))), **more))

    return manner


def _raw(status: int, body: bytes) -> Callable[..., None]:
    return lambda handler, *_: reply(handler, status, body)


def _honoured(handler: Any, here: ChatServer, article: Any, request: Any) -> None:
    """Insists that the schema came, strict and naming the fields, as a server that compiles it would."""
    form = request.get("response_format", {})
    given = form.get("json_schema", {})
    item = given.get("schema", {}).get("properties", {}).get("claims", {}).get("items", {})
    if (
        form.get("type") != "json_schema"
        or not given.get("strict")
        or item.get("additionalProperties") is not False
    ):
        reply(handler, 500, b"no strict schema in the request")
    else:
        _says(str)(handler, here, article, request)


def _unsupported(handler: Any, here: ChatServer, article: Any, request: Any) -> None:
    if "response_format" in request:
        reply(handler, 400, b'{"error": {"message": "response_format is not supported"}}')
    else:
        _says(str)(handler, here, article, request)


def _slow(handler: Any, here: ChatServer, *_: Any) -> None:
    """One byte of a good answer now and then, for ever."""
    _trickle(handler, here, b" ", pause_s=0.05)


def _endless(handler: Any, here: ChatServer, *_: Any) -> None:
    _trickle(handler, here, b'{"choices": [' + b"[" * 65_536, pause_s=0.0)


def _trickle(handler: Any, here: ChatServer, piece: bytes, pause_s: float) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        while not here.stop.wait(pause_s):
            handler.wfile.write(piece)
    except OSError:
        handler.close_connection = True


def _echo(handler: Any, *_: Any) -> None:
    """Quotes the key that it was sent, as some proxies do."""
    reply(handler, 401, b"who is " + handler.headers.get("Authorization", "").encode() + b"?")


MANNERS: dict[str, Callable[..., None]] = {
    "honoured": _honoured,
    "ignored": _says(str),
    "fenced": _says(lambda text: f"Sure! Here [1] it is:\n```json\n{text}\n```\nAnything else?"),
    "thinking": _says(lambda text: f"<think>A {{thought}} [about] it.</think>\n{text}"),
    "bare list": _says(lambda text: json.dumps(json.loads(text)["claims"])),
    "unsupported": _unsupported,
    "broken": _says(lambda text: text[: len(text) // 2]),
    "prose": _raw(200, completion("I am sorry, but I cannot help with that.")),
    "nothing": _raw(200, completion(None)),
    "refusal": _raw(200, completion(None, refusal="No.")),
    "cut off": _says(str, finish="length"),
    "no choices": _raw(200, b'{"choices": []}'),
    "other service": _raw(200, b"<html>Welcome to the router</html>"),
    "deep": _raw(200, b"[" * 200_000),
    "deep answer": _raw(200, completion("[" * 200_000)),
    "error": _raw(500, b'{"error": {"message": "out of memory \x1b[2J"}}'),
    "redirect": lambda handler, *_: (
        handler.send_response(307),
        handler.send_header("Location", "http://127.0.0.1:9/v1/chat/completions"),
        handler.send_header("Content-Length", "0"),
        handler.end_headers(),
    ),
    "echo": _echo,
    "slow": _slow,
    "endless": _endless,
}
