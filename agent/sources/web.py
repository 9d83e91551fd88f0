"""Sources on the web: conditional GET, and what each status means for the feed's future.

200 with the ETag or, byte for byte, the body that we had counts as unmodified. 301 and 308 rewrite the feed's url; 410 retires it;
everything else that is not 200 or 304 is an error, with the server's Retry-After honoured.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urlsplit

from agent.errors import SourceError
from agent.masked import masked
from agent.sources.base import Fetched, SourceSpec
from agent.sources.body import parse_body
from agent.sources.http import Client, Response, shown
from agent.sources.items import Context
from agent.sources.pace import DEFAULT_PACING, Pacing, jitter_s, next_poll_at, own_pace_s, retry_at
from agent.types import FeedState

_ERRORS_UNTIL_HOME = 5  # after so many failures at the place a feed moved to, we try the settings' url again
_MAX_VALIDATOR = 1024
_MEANINGS = {
    401: "wants a login",
    402: "wants payment",
    403: "forbids reading",
    404: "has no such page",
    429: "says we ask too often",
    500: "failed inside",
    503: "is overloaded or down",
}


@dataclass(frozen=True, slots=True)
class WebSource:
    """http:// and https:// sources."""

    pacing: Pacing = DEFAULT_PACING

    def accepts(self, spec: SourceSpec) -> bool:
        return spec.url.lower().startswith(("http://", "https://"))

    def fetch(self, spec: SourceSpec, state: FeedState, client: Client, now: datetime) -> Fetched:
        """Poll once. Raises SourceError when no answer comes at all."""
        answer = client.get(state.url, _validators(state), private_host=_private_host(spec))
        if answer.status == 304 or _same_etag(answer, state):
            return self._unmodified(state, answer, now)
        if answer.status == 410:
            message = (
                f"{shown(state.url)} is gone for good (410); remove it from the settings or give its new url"
            )
            gone = replace(state, gone=True, polled_at=now, next_poll_at=None, last_error=message)
            return Fetched(spec.name, "gone", (), gone, message)
        if answer.status != 200:
            meaning = _MEANINGS.get(answer.status, "gave no feed")
            return failed(
                state,
                now,
                f"{shown(answer.url)} {meaning} (HTTP {answer.status})",
                answer,
                spec=spec,
                pacing=self.pacing,
            )
        sha256 = hashlib.sha256(answer.body).hexdigest()
        if sha256 == state.body_sha256:
            return self._unmodified(_validated(state, answer), answer, now)
        try:
            return self._read(spec, replace(state, body_sha256=sha256), answer, now)
        except SourceError as problem:
            return failed(
                state, now, f"{shown(answer.url)}: {problem}", answer, spec=spec, pacing=self.pacing
            )

    def _read(self, spec: SourceSpec, state: FeedState, answer: Response, now: datetime) -> Fetched:
        parsed = parse_body(
            answer.body,
            Context(spec, now),
            name=urlsplit(answer.url).path,
            content_type=answer.headers.get("content-type", ""),
            base_url=answer.url,
        )
        own_s = own_pace_s(
            [a.published_at for a in parsed.articles if a.published_at != now], now, self.pacing
        )
        after = replace(
            _validated(_well(state, answer, now), answer),
            next_poll_at=next_poll_at(now, own_s, answer.headers, parsed.ttl_s, self.pacing, spec.name),
        )
        count = len(parsed.articles)
        message = (
            f"{count} article{'s' * (count != 1)}" if count else "the feed is well-formed and has no entries"
        )
        moved = f"; it has moved to {shown(after.url)}" if after.url != state.url else ""
        return Fetched(spec.name, "ok", parsed.articles, after, message + moved, parsed.notes)

    def _unmodified(self, state: FeedState, answer: Response, now: datetime) -> Fetched:
        # The pace of last time, a quarter slower: nothing came.
        pacing = self.pacing
        own_s = pacing.usual_s
        if state.polled_at is not None and state.next_poll_at is not None and not state.errors:
            last_s = (state.next_poll_at - state.polled_at).total_seconds()
            own_s = 1.25 * (last_s - jitter_s(state.source, last_s))
        own_s = min(max(own_s, pacing.fastest_s), pacing.slowest_s)
        after = replace(
            _well(state, answer, now),
            next_poll_at=next_poll_at(now, own_s, answer.headers, 0.0, pacing, state.source),
        )
        return Fetched(state.source, "not_modified", (), after, "not modified since the last poll")


def failed(
    state: FeedState,
    now: datetime,
    message: str,
    answer: Response | None = None,
    *,
    spec: SourceSpec,
    pacing: Pacing = DEFAULT_PACING,
) -> Fetched:
    """An error as a value: the state counts it, keeps the validators, and asks again later and later."""
    errors = state.errors + 1
    message = masked(message)  # a server may say our own url back
    after = replace(
        state,
        errors=errors,
        last_error=message,
        polled_at=now,
        next_poll_at=retry_at(now, errors, answer.headers if answer else None, pacing, spec.name),
    )
    if errors >= _ERRORS_UNTIL_HOME and after.url != spec.url:
        after = replace(after, url=spec.url, etag="", last_modified="")
        message += "; the next poll tries the settings' url again"
    return Fetched(spec.name, "error", (), after, message)


def _well(state: FeedState, answer: Response, now: datetime) -> FeedState:
    url = answer.moved_to or state.url
    return replace(state, url=url, errors=0, last_error="", gone=False, polled_at=now)


def _validated(state: FeedState, answer: Response) -> FeedState:
    return replace(state, etag=_validator(answer, "etag"), last_modified=_validator(answer, "last-modified"))


def _validators(state: FeedState) -> dict[str, str]:
    headers = {}
    if state.etag:
        headers["If-None-Match"] = state.etag
    if state.last_modified:
        headers["If-Modified-Since"] = state.last_modified
    return headers


def _validator(answer: Response, name: str) -> str:
    value = answer.headers.get(name, "")
    return value if len(value) <= _MAX_VALIDATOR and value.isascii() and value.isprintable() else ""


def _same_etag(answer: Response, state: FeedState) -> bool:
    return answer.status == 200 and bool(state.etag) and answer.headers.get("etag") == state.etag


def _private_host(spec: SourceSpec) -> str:
    if not spec.allow_private:
        return ""
    try:
        return urlsplit(spec.url).hostname or ""
    except ValueError:
        return ""
