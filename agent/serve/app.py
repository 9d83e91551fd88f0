"""The routes: OpenAI's, and our own two. Nothing here touches the model; that is done by the engine's thread."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from agent.errors import RequestRefused
from agent.serve.engine import Engine
from agent.serve.guard import Guard
from agent.serve.order import Kind, Order, order_of, read_json
from agent.serve.replies import (
    DONE,
    Record,
    Reply,
    error_headers,
    error_record,
    event,
    headers_of,
    revision_record,
)
from agent.serve.ticket import Event, Started, Text, Ticket

# Every client may call the model this, whatever its checkpoint is called.
ALIAS = "factd"
_CLIENT_GONE = 499
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Front:
    """What the routes need. `model`: its public name."""

    engine: Engine
    guard: Guard
    model: str
    started_at_s: int

    async def chat(self, request: Request) -> Response:
        return await self._answer(request, "chat")

    async def completions(self, request: Request) -> Response:
        return await self._answer(request, "text")

    async def models(self, request: Request) -> Response:
        self.guard.check(request)
        return JSONResponse({"object": "list", "data": [self._model()]})

    async def one_model(self, request: Request) -> Response:
        self.guard.check(request)
        self._check_model(request.path_params["model"])
        return JSONResponse(self._model())

    async def revision(self, request: Request) -> Response:
        self.guard.check(request)
        return JSONResponse(revision_record(self.engine.current))

    async def healthz(self, request: Request) -> Response:
        """200 while answers are given, also from a revision older than it should be. Details only for who has the key."""
        self.guard.check_host(request)
        serving = self.engine.state in ("running", "finishing")
        problem = self.engine.served.problem
        status = ("degraded" if problem else "ok") if serving else "stopped"
        record: Record = {"status": status}
        if self.guard.knows(request):
            writing, waiting = self.engine.load
            record |= {"revision": self.engine.current.id, "problem": problem or None}
            record |= {"writing": writing, "waiting": waiting}
        return JSONResponse(record, status_code=200 if serving else 503)

    async def unforeseen(self, _request: Request, error: Exception) -> Response:
        """Our fault: told to the operator, without its words to the client."""
        self.engine.tell(f"error: unexpected {type(error).__name__}: {error}; our fault, please report it")
        told = RequestRefused("the server failed; its operator was told", status=500, code="server_error")
        return JSONResponse(error_record(told), status_code=500)

    async def _answer(self, request: Request, kind: Kind) -> Response:
        self.guard.check(request)
        settings = self.engine.settings
        body = read_json(await self.guard.body(request))
        order = order_of(body, kind, settings, seed=secrets.randbits(60))
        self._check_model(order.model)
        events: asyncio.Queue[Event] = asyncio.Queue()
        ticket = Ticket(order, _into(events))
        self.engine.submit(ticket)
        try:
            first = await _unless_gone(request, events.get())
            if not isinstance(first, Started):
                raise first if isinstance(first, RequestRefused) else ClientDisconnect
            reply = Reply(order, self.model, first, int(time.time()))
            if order.stream:
                return _Stream(ticket, reply, events)
            record = await _unless_gone(request, _collected(order, reply, events))
            return JSONResponse(record, headers=headers_of(first))
        except BaseException:
            ticket.give_up()
            raise

    def _check_model(self, name: str) -> None:
        if name not in (self.model, ALIAS):
            raise RequestRefused(
                f"there is no model {name!r} here; it is {self.model!r}, or {ALIAS!r}",
                status=404,
                code="model_not_found",
                param="model",
            )

    def _model(self) -> Record:
        return {"id": self.model, "object": "model", "created": self.started_at_s, "owned_by": ALIAS}


def build(front: Front) -> Starlette:
    """The ASGI application."""
    routes = [
        Route("/v1/chat/completions", front.chat, methods=["POST"]),
        Route("/v1/completions", front.completions, methods=["POST"]),
        Route("/v1/models", front.models),
        Route("/v1/models/{model:path}", front.one_model),
        Route("/v1/revision", front.revision),
        Route("/healthz", front.healthz),
    ]
    handlers: dict[int | type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
        RequestRefused: _refused,
        HTTPException: _no_such_thing,
        ClientDisconnect: _gone,
        Exception: front.unforeseen,
    }
    return Starlette(routes=routes, exception_handlers=handlers)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestRefused)
    return JSONResponse(error_record(error), status_code=error.status, headers=error_headers(error))


async def _no_such_thing(request: Request, error: Exception) -> Response:
    """No such path, or not by this method."""
    status = getattr(error, "status_code", 404)
    told = RequestRefused(
        f"{request.method} {request.url.path}: {getattr(error, 'detail', error)}", status=status
    )
    return JSONResponse(error_record(told), status_code=status, headers=getattr(error, "headers", None))


async def _gone(_request: Request, _error: Exception) -> Response:
    """Nobody reads it."""
    return Response(status_code=_CLIENT_GONE)


def _into(events: asyncio.Queue[Event]) -> Callable[[Event], None]:
    """What the model's thread calls: puts an event into a queue of this thread's loop."""
    loop = asyncio.get_running_loop()

    def deliver(one: Event) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(events.put_nowait, one)

    return deliver


async def _unless_gone(request: Request, wanted: Awaitable[T]) -> T:
    """What is awaited. Raises ClientDisconnect when the client hangs up first."""
    work, gone = asyncio.ensure_future(wanted), asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnect
        return work.result()
    finally:
        for task in (work, gone):
            task.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _collected(order: Order, reply: Reply, events: asyncio.Queue[Event]) -> Record:
    """Raises RequestRefused when the model failed on the way."""
    texts = [""] * order.rows
    ends: dict[int, Text] = {}
    while len(ends) < order.rows:
        one = await events.get()
        if isinstance(one, RequestRefused):
            raise one
        if isinstance(one, Text):
            texts[one.choice] += one.text
            if one.finish:
                ends[one.choice] = one
    return reply.whole(texts, [ends[i] for i in range(order.rows)])


class _Stream(StreamingResponse):
    """Server-sent events, as they come. When the client hangs up its rows leave the batch."""

    def __init__(self, ticket: Ticket, reply: Reply, events: asyncio.Queue[Event]) -> None:
        super().__init__(
            _streamed(reply, events),
            media_type="text/event-stream",
            headers={**headers_of(reply.started), "Cache-Control": "no-store"},
        )
        self._ticket = ticket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ticket.give_up()


async def _streamed(reply: Reply, events: asyncio.Queue[Event]) -> AsyncIterator[bytes]:
    ends: list[Text] = []
    for record in reply.opening():
        yield event(record)
    while len(ends) < reply.order.rows:
        one = await events.get()
        if isinstance(one, RequestRefused):
            yield event(error_record(one))
            return
        if isinstance(one, Text):
            if one.text:
                yield event(reply.chunk(one))
            if one.finish:
                ends.append(one)
                yield event(reply.ending(one))
    if reply.order.include_usage:
        yield event(reply.usage(ends))
    yield DONE
