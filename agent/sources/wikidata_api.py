"""Wikidata through the MediaWiki API: which followed items have changed, and what they say now.

Of two ways to learn what has changed the one with fewer requests is taken: ask each followed item for its last
revision (50 a request), or read all recent changes (500 a request; Wikidata has some 8 edits a second). The first
works over any gap; recent changes go back 30 days.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from agent.errors import ServerRefused, SourceError, TooLarge
from agent.sources.http import Client, Response, shown
from agent.sources.wikidata_read import Followed, Found
from agent.wikibase import label, listed, mapping, statements, text

_TITLES = 50  # titles or labels of one request, as anonymous users may ask for
_ENTITIES = 10  # items with all their statements: a country has half a megabyte of them
_CHANGES = 500
_EDITS_PER_S = 8.0
_OVERLAP = timedelta(seconds=60)  # changes become visible out of order, by some seconds
_OLDEST = timedelta(days=29)
_COMMON = {"format": "json", "formatversion": "2", "maxlag": "5"}
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """How far a source has been read; what is in the state between two polls.

    `since`: everything changed before (the server's time) is known, "" for nothing. `began`: when the pass under way
    began, `at`: the next item of it, `go`: the next page of recent changes. `items`: which items it is about.
    """

    items: str
    since: str = ""
    began: str = ""
    at: int = 0
    go: str = ""


@dataclass(frozen=True, slots=True)
class Server:
    """One Wikibase: how to ask it. Counts nothing and keeps nothing."""

    client: Client
    endpoint: str
    headers: Mapping[str, str]
    private_host: str = ""

    def ask(self, **params: str) -> Json:
        """One request. Raises ServerRefused (overloaded, over a limit, lagged), TooLarge, SourceError."""
        return self.document({**params, **_COMMON})

    def document(self, params: Mapping[str, str]) -> Json:
        """The JSON that the endpoint answers to these parameters."""
        url = f"{self.endpoint}{'&' if '?' in self.endpoint else '?'}{urlencode(params)}"
        answer = self.client.get(url, self.headers, private_host=self.private_host)
        if answer.status != 200:
            raise ServerRefused(f"{shown(self.endpoint)} answers HTTP {answer.status}", answer.headers)
        return _checked(answer, self.endpoint)


def _checked(answer: Response, endpoint: str) -> Json:
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError) as problem:
        raise SourceError(f"{shown(endpoint)} answers no JSON, or half of it ({problem})"[:300]) from problem
    if not isinstance(document, dict):
        raise SourceError(f"{shown(endpoint)} answers JSON of another form; check the endpoint")
    error = mapping(document.get("error"))
    if error:
        code, info = text(error.get("code")), text(error.get("info"))
        raise ServerRefused(f"{shown(endpoint)} refuses ({code}): {info}"[:300], answer.headers)
    return document


def steps(
    server: Server, place: Place, items: Sequence[str], now: datetime
) -> Iterator[tuple[Place, tuple[str, ...]]]:
    """(place, ids): the items that have changed, and the place to remember once they have been read."""
    if place.go and now - _time(place.since, now) < _OLDEST:
        yield from _changes(server, place, frozenset(items), now)
        return
    gap_s = (now - _time(place.since, now)).total_seconds()
    pages = gap_s * _EDITS_PER_S / _CHANGES
    if place.since and not place.at and gap_s < _OLDEST.total_seconds() and pages < len(items) / _TITLES:
        yield from _changes(server, replace(place, began="", go=""), frozenset(items), now)
    else:
        yield from _revisions(server, replace(place, go=""), items, now)


def _revisions(
    server: Server, place: Place, items: Sequence[str], now: datetime
) -> Iterator[tuple[Place, tuple[str, ...]]]:
    """Each item's last revision, against the time up to which we know."""
    since_at = _time(place.since, now) - _OVERLAP if place.since else None
    began = place.began if place.at else ""
    for start in range(place.at, max(1, len(items)), _TITLES):
        batch = items[start : start + _TITLES]
        answer = server.ask(
            action="query", prop="revisions", rvprop="ids|timestamp", titles="|".join(batch), curtimestamp="1"
        )
        began = began or _server_time(answer, now)
        changed = tuple(
            text(page.get("title"))
            for page in map(mapping, listed(mapping(answer.get("query")).get("pages")))
            if page.get("title") in batch and _edited_since(page, since_at, now)
        )
        end = start + _TITLES
        if end < len(items):
            yield Place(place.items, place.since, began, end), changed
        else:
            yield Place(place.items, began), changed


def _edited_since(page: Json, since_at: datetime | None, now: datetime) -> bool:
    revision = mapping(next(iter(listed(page.get("revisions"))), None))
    return bool(revision) and (since_at is None or _time(text(revision.get("timestamp")), now) >= since_at)


def _changes(
    server: Server, place: Place, items: Collection[str], now: datetime
) -> Iterator[tuple[Place, tuple[str, ...]]]:
    """All recent changes since then, oldest first, of which the followed items are picked."""
    start = f"{_time(place.since, now) - _OVERLAP:%Y-%m-%dT%H:%M:%SZ}"
    while True:
        more = {"rccontinue": place.go, "continue": "-||"} if place.go else {}
        answer = server.ask(
            action="query", list="recentchanges", rcdir="newer", rcstart=start, rcnamespace="0",
            rctype="edit|new", rcprop="title|ids|timestamp", rclimit=str(_CHANGES), curtimestamp="1", **more,
        )  # fmt: skip
        began = place.began or _server_time(answer, now)
        rows = map(mapping, listed(mapping(answer.get("query")).get("recentchanges")))
        changed = tuple(dict.fromkeys(t for row in rows if (t := text(row.get("title"))) in items))
        go = text(mapping(answer.get("continue")).get("rccontinue"))
        if not go or go == place.go:
            yield Place(place.items, began), changed
            return
        place = replace(place, began=began, go=go)
        yield place, changed


def read_items(
    server: Server, ids: Sequence[str], followed: Followed, note: Callable[[str], None]
) -> list[Found]:
    """What the items say now about everything that is followed of them."""
    entities: dict[str, Json] = {}
    for start in range(0, len(ids), _ENTITIES):
        entities |= _entities(server, ids[start : start + _ENTITIES], note)
    raw = [
        (item, wanted, statements(entities[item], wanted.property_id))
        for item in ids
        if item in entities
        for wanted in followed.items.get(item, ())
    ]
    values = dict.fromkeys(s.value for *_, found in raw for s in found if s.rank != "deprecated" and s.value)
    names = _names(server, list(values))
    return [
        Found(item, wanted, found, names, _maybe_time(text(entities[item].get("modified"))))
        for item, wanted, found in raw
    ]


def _entities(server: Server, ids: Sequence[str], note: Callable[[str], None]) -> dict[str, Json]:
    """Items by the number they were asked for, which a merged one no longer has."""
    try:
        answer = server.ask(
            action="wbgetentities", ids="|".join(ids), props="info|labels|claims", languages="en|mul"
        )
    except TooLarge:
        if len(ids) == 1:
            note(f"{ids[0]}: too large to be read")
            return {}
        half = len(ids) // 2
        return _entities(server, ids[:half], note) | _entities(server, ids[half:], note)
    found: dict[str, Json] = {}
    for key, entity in mapping(answer.get("entities")).items():
        if not isinstance(entity, Mapping) or "missing" in entity:
            note(f"{key[:20]!a}: there is no such item any more")
            continue
        moved_from = text(mapping(entity.get("redirects")).get("from"))
        found |= {name: entity for name in (key, moved_from) if name in ids}
    return found


def _names(server: Server, ids: Sequence[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for start in range(0, len(ids), _TITLES):
        batch = ids[start : start + _TITLES]
        answer = server.ask(action="wbgetentities", ids="|".join(batch), props="labels", languages="en|mul")
        for key, entity in mapping(answer.get("entities")).items():
            moved_from = text(mapping(mapping(entity).get("redirects")).get("from"))
            names |= {name: label(mapping(entity)) for name in (key, moved_from) if name in batch}
    return names


def _server_time(answer: Json, now: datetime) -> str:
    found = _maybe_time(text(answer.get("curtimestamp")))
    return f"{found or now:%Y-%m-%dT%H:%M:%SZ}"


def _time(value: str, now: datetime) -> datetime:
    return _maybe_time(value) or now


def _maybe_time(value: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None
