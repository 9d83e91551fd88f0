"""What the routes share: the state, the pages around every answer, and how errors become pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from agent.errors import FactdError, LockHeld, RequestRefused, StaleState, UnknownId, UsageError
from agent.settings import Settings
from agent.store import desk
from agent.store.db import Store, open_store, read_store
from agent.web.gate import Gate, NotIn, form_of
from agent.web.render import Renderer
from agent.web.sessions import Visitor

Form = Mapping[str, str]
_LARGEST = 2**31
Answer = Callable[[Request], Awaitable[Response]]
_STATUS: tuple[tuple[type[FactdError], int], ...] = (
    (StaleState, 409), (LockHeld, 409), (UnknownId, 404), (UsageError, 400),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Front:
    """`who`: the name under which everything is decided. `tell`: says a line to whoever runs the command."""

    settings: Settings
    gate: Gate
    renderer: Renderer
    who: str
    now: Callable[[], datetime]
    tell: Callable[[str], None]

    def reading(self) -> Store:
        """Raises StoreError."""
        return read_store(self.settings.state)

    def writing(self) -> Store:
        """Raises StoreError."""
        return open_store(self.settings.state, self.now())

    def page(
        self,
        request: Request,
        visitor: Visitor | None,
        template: str,
        /,
        *,
        status: int = 200,
        **values: object,
    ) -> Response:
        """A page with the frame around it. What is to be said once is said here."""
        notice, counts = None, {}
        if visitor is not None:
            notice, visitor.notice = visitor.notice, None
            with self.reading() as store:
                counts = desk.counts(store, self.now())
        given = {"notice": notice, **values}
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        body = self.renderer.page(
            template, visitor=visitor, who=self.who, counts=counts, now=self.now(), here=here, **given
        )
        return HTMLResponse(body, status_code=status)

    def shows(self, make: Callable[[Request, Visitor], Response]) -> Answer:
        """An endpoint that only shows; the database is read in a thread."""

        async def answer(request: Request) -> Response:
            visitor = self.gate.visitor(request)
            _check_number(request)
            return await run_in_threadpool(make, request, visitor)

        return answer

    def changes(self, make: Callable[[Request, Visitor, Form], Response]) -> Answer:
        """An endpoint that changes something: only for our own forms."""

        async def answer(request: Request) -> Response:
            self.gate.check_host(request)
            self.gate.check_origin(request)
            visitor = self.gate.visitor(request)
            form = await form_of(request)
            self.gate.check_form(visitor, form)
            _check_number(request)
            return await run_in_threadpool(make, request, visitor, form)

        return answer

    def problem(self, request: Request, message: str, status: int) -> Response:
        try:
            visitor = self.gate.visitor(request)
            return self.page(request, visitor, "problem.html", status=status, message=message)
        except (NotIn, FactdError):
            return HTMLResponse(
                self.renderer.page("bare.html", message=message, title="factd", token=False),
                status_code=status,
            )

    async def failed(self, request: Request, error: Exception) -> Response:
        """One of our errors, or HTTP's own."""
        if isinstance(error, RequestRefused):
            status = error.status
        elif isinstance(error, HTTPException):
            message = "There is no such page." if error.status_code == 404 else error.detail
            return await run_in_threadpool(self.problem, request, message, error.status_code)
        else:
            status = status_of(error)
        return await run_in_threadpool(self.problem, request, str(error), status)

    async def outside(self, _request: Request, _error: Exception) -> Response:
        """Who is not in gets a field for the token."""
        message = "Open the address that factd web printed when it started, or paste the token from it."
        page = self.renderer.page("bare.html", message=message, title="Come in", token=True)
        return HTMLResponse(page, status_code=401)

    async def unforeseen(self, request: Request, error: Exception) -> Response:
        """Our fault: told to the operator, without its words to the browser."""
        self.tell(f"error: unexpected {type(error).__name__}: {error}; our fault, please report it")
        return HTMLResponse(
            self.renderer.page(
                "bare.html",
                message="The desk failed at this; the terminal says more.",
                title="factd",
                token=False,
            ),
            status_code=500,
        )


def status_of(error: Exception) -> int:
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def number(text: str, otherwise: int = 1) -> int:
    """A number from an address, `otherwise` for what is none or too large."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else otherwise


def printable(text: str) -> str:
    """What somebody typed, or was made to send, as one line of printable characters."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def _check_number(request: Request) -> None:
    """Raises HTTPException (404) for a number that no row can have: the database would not even take it."""
    if request.path_params.get("id", 0) > _LARGEST:
        raise HTTPException(404)


def back_to(form: Form) -> Response:
    """Where the form stood, if that is one of our own addresses."""
    place = form.get("back", "/")
    own = place.startswith("/") and not place.startswith("//") and "\\" not in place and place.isprintable()
    return RedirectResponse(place if own else "/", status_code=303)
