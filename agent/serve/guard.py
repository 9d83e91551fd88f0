"""Who may ask, and how much: the key, the Host header, the form and size of a body. All before the model hears of it."""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass, field

from starlette.requests import Request

from agent.errors import RequestRefused
from agent.loopback import is_local, is_loopback

__all__ = ["Guard", "is_loopback"]
_BODY_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Guard:
    """`host`: the address that is listened on. `key`: what clients must show, None where nobody must. `body_bytes`: the largest body."""

    host: str
    key: str | None = field(repr=False)
    body_bytes: int

    def check(self, request: Request) -> None:
        """Raises RequestRefused: 400 for a foreign Host on loopback, 401 without the key."""
        self.check_host(request)
        if not self.knows(request):
            raise RequestRefused(
                "wrong or missing API key; send it as Authorization: Bearer KEY",
                status=401,
                code="invalid_api_key",
            )

    def check_host(self, request: Request) -> None:
        """A page of the web can give its own name our address (DNS rebinding); its Host header still tells."""
        if is_loopback(self.host) and not is_local(request.headers.get("host", "")):
            raise RequestRefused("the Host header names no address of this machine", code="invalid_host")

    def knows(self, request: Request) -> bool:
        if self.key is None:
            return True
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(shown.strip().encode("utf-8", "surrogatepass"), self.key.encode())
        return scheme.lower() == "bearer" and same

    async def body(self, request: Request) -> bytes:
        """The request's body. Raises RequestRefused: 415 unless it is JSON, 413 when it is too large, 408 when it does not come."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            # Also what keeps web pages out: a browser asks before it sends JSON to another site, and gets no leave here.
            raise RequestRefused("send the header Content-Type: application/json", status=415)
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > self.body_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(_BODY_TIMEOUT_S):
                return await self._read(request)
        except TimeoutError as error:
            raise RequestRefused("the body did not come in time", status=408) from error

    async def _read(self, request: Request) -> bytes:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > self.body_bytes:
                raise self._too_large()
        return bytes(body)

    def _too_large(self) -> RequestRefused:
        return RequestRefused(f"the body is larger than {self.body_bytes} bytes (serve.body_kb)", status=413)
