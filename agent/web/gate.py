"""What every request must pass: a Host of this machine, a cookie, and for changes a form that this desk has made itself.

A page of another site can send a browser here. It cannot read anything (no CORS, no frames, SameSite=Strict), and it cannot
change anything: Origin and Sec-Fetch-Site give it away, and it does not know the secret in the forms. Under another name
(DNS rebinding) its Host header gives it away.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.errors import RequestRefused
from agent.serve.guard import Guard
from agent.web.sessions import Sessions, Visitor

FORM_BYTES = 64 * 1024
FIELDS = 50
_FORM_TIMEOUT_S = 30.0
_FORM = "application/x-www-form-urlencoded"
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'"
)
# Referrer-Policy same-origin: with no-referrer browsers send `Origin: null` with our own forms.
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class NotIn(Exception):
    """The request has no cookie, or one that nobody knows."""


@dataclass(frozen=True, slots=True)
class Gate:
    """`cookie`: its name, which has the port in it: cookies know no ports."""

    host: str
    cookie: str
    sessions: Sessions

    def check_host(self, request: Request) -> None:
        """Raises RequestRefused (400) for a Host that does not name this machine."""
        Guard(self.host, None, FORM_BYTES).check_host(request)

    def visitor(self, request: Request) -> Visitor:
        """Raises RequestRefused, NotIn."""
        self.check_host(request)
        visitor = self.sessions.visitor(request.cookies.get(self.cookie, ""))
        if visitor is None:
            raise NotIn
        return visitor

    def check_origin(self, request: Request) -> None:
        """Raises RequestRefused (403) unless the browser says that one of our own pages sends this."""
        origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
        ours = f"http://{request.headers.get('host', '')}"
        if (
            (origin is None and site is None)
            or origin not in (None, ours)
            or site not in (None, "same-origin")
        ):
            raise RequestRefused("this form was not sent by the desk itself; nothing was changed", status=403)

    def check_form(self, visitor: Visitor, form: Mapping[str, str]) -> None:
        """Raises RequestRefused (403) for a form without the visitor's secret."""
        if not hmac.compare_digest(form.get("key", "").encode("utf-8", "replace"), visitor.form_key.encode()):
            raise RequestRefused(
                "this form is of an earlier visit; nothing was changed, load the page again", status=403
            )


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form, the last one of a name. Raises RequestRefused: 415 unless it is one, 413 when it is too large, 408."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise RequestRefused("only forms are taken here", status=415)
    body = bytearray()
    try:
        async with asyncio.timeout(_FORM_TIMEOUT_S):
            async for part in request.stream():
                body += part
                if len(body) > FORM_BYTES:
                    raise RequestRefused(f"the form is larger than {FORM_BYTES} bytes", status=413)
    except TimeoutError as error:
        raise RequestRefused("the form did not come in time", status=408) from error
    try:
        text = body.decode("ascii", "replace")
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS, errors="replace"))
    except ValueError as error:
        raise RequestRefused("the form cannot be read", status=400) from error


@dataclass(frozen=True, slots=True)
class Headers:
    """Puts `HEADERS` on every answer, but for those that it has of its own."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, sealed)
