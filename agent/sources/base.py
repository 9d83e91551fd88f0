"""What a source is, and the values that a poll of one gives back.

Nothing in this package raises across its border: a feed that is away, moved, broken or hostile is a `Fetched`
whose `status` and `message` say so, and whose `state` says when to ask again. The caller stores the articles
first and the state second, so that a crash between the two costs a re-fetch and not an article.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, Protocol

from agent.types import Article, FeedState, SourceSpec

if TYPE_CHECKING:
    from agent.sources.http import Client

__all__ = ["Fetched", "Source", "SourceSpec", "is_due", "new_state", "state_for"]

# So far a clock may be corrected without anybody noticing.
_CLOCK_SLACK = timedelta(minutes=5)
FetchStatus = Literal["ok", "not_modified", "error", "gone"]


@dataclass(frozen=True, slots=True)
class Fetched:
    """The outcome of one poll.

    `message` is for people; `notes` name what was skipped or repaired, one line each.
    """

    source: str
    status: FetchStatus
    articles: tuple[Article, ...]
    state: FeedState
    message: str
    notes: tuple[str, ...] = ()


class Source(Protocol):
    """A kind of source: a new one is one file in this package and one entry in `fetch.KINDS`."""

    def accepts(self, spec: SourceSpec) -> bool:
        """Whether `spec.url` is of this kind."""
        ...

    def fetch(self, spec: SourceSpec, state: FeedState, client: Client, now: datetime) -> Fetched:
        """Poll once. May raise SourceError, which `fetch.fetch` turns into a value."""
        ...


def new_state(spec: SourceSpec) -> FeedState:
    """The state of a source that was never polled."""
    return FeedState(source=spec.name, url=spec.url, origin=spec.url)


def state_for(spec: SourceSpec, state: FeedState | None) -> FeedState:
    """`state`, or a new one where there is none or the settings' url has changed since.

    A state without `origin` is from an older version: it is kept if its url is the settings', else nobody can
    tell a feed that moved from one that was configured anew, and starting over costs one fetch.
    """
    if state is None or (state.origin or state.url) != spec.url:
        return new_state(spec)
    return replace(state, origin=spec.url)


def is_due(spec: SourceSpec, state: FeedState | None, now: datetime) -> bool:
    """Whether a source wants polling: never polled or reconfigured, or its time has come.

    A gone feed stays gone until its url in the settings changes. One that was polled in the future is due: the clock ran ahead then
    and was set back, and its time might not come for years.
    """
    known = state_for(spec, state)
    if known.gone:
        return False
    if known.polled_at is not None and known.polled_at > now + _CLOCK_SLACK:
        return True
    return known.next_poll_at is None or known.next_poll_at <= now
