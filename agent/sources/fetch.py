"""The border of this package: poll one source, get a value, whatever happens."""

from __future__ import annotations

from datetime import datetime

from agent.errors import SourceError
from agent.sources.base import Fetched, Source, SourceSpec, state_for
from agent.sources.files import FileSource
from agent.sources.http import Client
from agent.sources.web import WebSource, failed
from agent.types import FeedState

KINDS: tuple[Source, ...] = (WebSource(), FileSource())


def fetch(
    spec: SourceSpec,
    state: FeedState | None,
    client: Client,
    now: datetime,
    kinds: tuple[Source, ...] = KINDS,
) -> Fetched:
    """Poll `spec` now, due or not. Never raises SourceError.

    `state` is what the last poll left, None if there was none.
    """
    known = state_for(spec, state)
    try:
        kind = next((kind for kind in kinds if kind.accepts(spec)), None)
        if kind is None:
            raise SourceError(f"{spec.url!a} is neither http(s)://, file:// nor a path")
        return kind.fetch(spec, known, client, now)
    except SourceError as problem:
        return failed(known, now, str(problem), spec=spec)
