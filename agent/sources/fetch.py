"""The border of this package: poll one source, get a value, whatever happens."""

from __future__ import annotations

from datetime import datetime

from agent.errors import SourceError
from agent.sources.base import Fetched, Source, SourceSpec, state_for
from agent.sources.files import FileSource
from agent.sources.http import Client
from agent.sources.web import WebSource, failed
from agent.sources.wikidata import Followed, WikidataSource
from agent.types import FeedState

KINDS: tuple[Source, ...] = (WebSource(), WikidataSource(), FileSource())


def kinds_for(followed: Followed) -> tuple[Source, ...]:
    """`KINDS`, with a Wikidata source that knows what is followed of it."""
    return tuple(WikidataSource(followed) if isinstance(kind, WikidataSource) else kind for kind in KINDS)


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
            raise SourceError(f"{spec.url!a} is neither http(s)://, file://, wikidata: nor a path")
        return kind.fetch(spec, known, client, now)
    except SourceError as problem:
        return failed(known, now, str(problem), spec=spec)
