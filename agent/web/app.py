"""The routes of `factd web`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from agent.errors import FactdError
from agent.web.actions import Actions
from agent.web.front import Front
from agent.web.gate import Headers, NotIn
from agent.web.render import STATIC
from agent.web.views import Views

Handler = Callable[[Request, Exception], Awaitable[Response]]


def build(front: Front) -> ASGIApp:
    """The ASGI application."""
    views, actions = Views(front), Actions(front)
    shown = {
        "/": views.home,
        "/queue": views.queue,
        "/proposals/{id:int}": views.proposal,
        "/evidence": views.evidence,
        "/beliefs": views.beliefs,
        "/history": views.history,
        "/subject": views.subject,
        "/revisions": views.revisions,
        "/revisions/{id:int}": views.revision,
        "/revisions/{id:int}/report": views.report,
    }
    changing = {
        "/proposals/{id:int}/undo": actions.undo,
        "/proposals/{id:int}/{action}": actions.decide,
        "/revisions/{id:int}/rollback": actions.rollback,
        "/leave": actions.leave,
    }
    routes = [Route(path, front.shows(make)) for path, make in shown.items()]
    routes += [Route(path, front.changes(make), methods=["POST"]) for path, make in changing.items()]
    routes += [Route("/enter", actions.enter, methods=["GET", "POST"])]
    routes += [Route(f"/{name}", _file(front, name)) for name in STATIC]
    handlers: dict[int | type[Exception], Handler] = {
        FactdError: front.failed,
        HTTPException: front.failed,
        NotIn: front.outside,
        Exception: front.unforeseen,
    }
    # Outermost, so that answers to our own faults have the headers too.
    return Headers(Starlette(routes=routes, exception_handlers=handlers))


def _file(front: Front, name: str) -> Callable[[Request], Awaitable[Response]]:
    """A file of ours; its address changes with its content."""

    async def answer(request: Request) -> Response:
        front.gate.check_host(request)
        headers = {"Cache-Control": "private, max-age=31536000, immutable"}
        return Response(front.renderer.files[name], media_type=STATIC[name], headers=headers)

    return answer
