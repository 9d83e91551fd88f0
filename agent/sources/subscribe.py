"""From what a person pastes to a source that can be read: known already, moved, or a page that names its
feed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urljoin, urlsplit

from agent.errors import SourceError
from agent.sources.base import Fetched, Source, SourceSpec
from agent.sources.decode import decode
from agent.sources.feed import named_feed
from agent.sources.fetch import KINDS, fetch
from agent.sources.http import Client, shown
from agent.sources.naming import same_source, settled


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A source that is ready for the settings, or the one in `known` that reads the same. `fetched` is the
    poll that proved it; `remarks` are for the person who asked.
    """

    spec: SourceSpec
    is_new: bool
    fetched: Fetched | None = None
    remarks: tuple[str, ...] = ()


def subscribe(
    spec: SourceSpec,
    known: Sequence[SourceSpec],
    client: Client,
    now: datetime,
    kinds: tuple[Source, ...] = KINDS,
) -> Subscribed:
    """`spec` polled once; a page is left for the feed that it names, an old address for the new one.

    Raises:
        SourceError: it cannot be read, in words.
    """
    fetched = fetch(spec, None, client, now, kinds)
    remarks: list[str] = []
    if fetched.status != "ok" and "is an HTML page" in fetched.message:
        found = _feed_of(spec, client)
        if found is None:
            raise SourceError(fetched.message)
        remarks.append(f"{shown(spec.url)} is a page; it names the feed {shown(found.url)}")
        twin = same_source(found.url, known)
        if twin is not None:
            return Subscribed(twin, False, remarks=tuple(remarks))
        spec, fetched = found, fetch(found, None, client, now, kinds)
    if fetched.status != "ok":
        raise SourceError(fetched.message)
    if fetched.state.url != spec.url:
        remarks.append(f"{shown(spec.url)} has moved to {shown(fetched.state.url)}")
        spec = replace(spec, url=fetched.state.url)
        twin = same_source(spec.url, known)
        if twin is not None:
            return Subscribed(twin, False, remarks=tuple(remarks))
    return Subscribed(spec, True, fetched, tuple(remarks))


def _feed_of(spec: SourceSpec, client: Client) -> SourceSpec | None:
    """The feed that the page at `spec.url` names. A page may not send us into the local network: only on the
    page's own host does `allow_private` go on.
    """
    host = _host(spec.url)
    page = client.get(spec.url, private_host=host if spec.allow_private else "")
    link = named_feed(decode(page.body, page.headers.get("content-type", "")))
    if not link:
        return None
    try:
        url = settled(urljoin(page.url, link))
    except ValueError as problem:
        raise SourceError(f"{shown(spec.url)} is a page whose link to its feed is no url") from problem
    if not url.lower().startswith(("http://", "https://")):
        raise SourceError(f"{shown(spec.url)} is a page that names {url[:200]!a} as its feed; no web address")
    return replace(spec, url=url, allow_private=spec.allow_private and _host(url) == host)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
