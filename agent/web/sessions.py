"""Who is in: the token from the start of the command is exchanged for a cookie, and each cookie has a secret for its forms."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

_IDLE_S = 12 * 3600.0
_MOST = 64


@dataclass(frozen=True, slots=True)
class Notice:
    """What the next page says once. `undo`: (proposal, event) of a decision that can be undone."""

    text: str
    good: bool = True
    undo: tuple[int, int] | None = None


@dataclass(slots=True)
class Visitor:
    """One browser. `form_key` stands in each of its forms."""

    cookie: str = field(repr=False)
    form_key: str = field(repr=False)
    seen_s: float
    notice: Notice | None = None


class Sessions:
    """All that are in. Cookies are kept as hashes, and forgotten after twelve hours without a visit."""

    def __init__(self, token: str, clock: Callable[[], float]) -> None:
        self._token = token
        self._clock = clock
        self._visitors: OrderedDict[str, Visitor] = OrderedDict()
        self._lock = threading.Lock()

    def enter(self, token: str) -> Visitor | None:
        """A new visitor for the right token, None for a wrong one."""
        if not hmac.compare_digest(token.encode("utf-8", "replace"), self._token.encode()):
            return None
        visitor = Visitor(secrets.token_urlsafe(32), secrets.token_urlsafe(32), self._clock())
        with self._lock:
            self._visitors[_hash(visitor.cookie)] = visitor
            while len(self._visitors) > _MOST:
                self._visitors.popitem(last=False)
        return visitor

    def visitor(self, cookie: str) -> Visitor | None:
        """Who has that cookie, None if nobody has it (any more)."""
        key, now = _hash(cookie), self._clock()
        with self._lock:
            found = self._visitors.get(key)
            if found is None:
                return None
            if now - found.seen_s > _IDLE_S:
                del self._visitors[key]
                return None
            found.seen_s = now
            self._visitors.move_to_end(key)
            return found

    def leave(self, visitor: Visitor) -> None:
        with self._lock:
            self._visitors.pop(_hash(visitor.cookie), None)


def _hash(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).hexdigest()
