"""Wikidata as a source: what it says of the items in the catalogue becomes articles, one voice that never suffices alone.

    wikidata:recent                               what has changed since the last poll, through the MediaWiki API
    wikidata:sparql                               everything that is followed, through the query service
    wikidata:recent?contact=me@example.org        for the User-Agent, as Wikimedia's policy asks
    wikidata:sparql?endpoint=https://my.wiki/sparql&relations=ceo,head_coach

One request after the other, some dozens a poll; the place is kept in the state's `etag`, so that a pass over
everything may take several polls and a kill costs a poll at most.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal, cast
from urllib.parse import parse_qsl, urlsplit

from agent.errors import ServerRefused, SourceError
from agent.sources import wikidata_api, wikidata_query
from agent.sources.base import Fetched, SourceSpec, new_state
from agent.sources.http import Client
from agent.sources.items import Context
from agent.sources.pace import DEFAULT_PACING, Pacing, retry_at
from agent.sources.web import failed
from agent.sources.wikidata_api import Place, Server
from agent.sources.wikidata_read import Followed, Found, Wanted, to_articles
from agent.types import Article, FeedState
from agent.wikibase import is_source

__all__ = ["Followed", "Wanted", "WikidataSource"]

Mode = Literal["recent", "sparql"]
_FORM = re.compile(r"wikidata:(recent|sparql)(?:\?(.*))?", re.IGNORECASE | re.DOTALL)
_ENDPOINTS: Mapping[str, str] = {
    "recent": "https://www.wikidata.org/w/api.php",
    "sparql": "https://query.wikidata.org/sparql",
}
_KEYS = ("endpoint", "contact", "relations")
_ACCEPT: Mapping[str, str] = {"recent": "application/json", "sparql": wikidata_query.ACCEPT}
_VERSION = "0.1"
_SOON = timedelta(seconds=60)
_MAX_NOTES = 100


@dataclass(frozen=True, slots=True)
class Ask:
    """What the source's url says. `relations`: only these, empty for all that are followed."""

    mode: Mode
    endpoint: str
    contact: str = ""
    relations: tuple[str, ...] = ()

    @property
    def user_agent(self) -> str:
        """`factd/0.1 (contact) httpx`, the form of Wikimedia's User-Agent policy."""
        return f"factd/{_VERSION} ({self.contact or 'no contact given'}) httpx"


def parse(url: str) -> Ask:
    """Raises SourceError for a url of another form, naming what it should be."""
    match = _FORM.fullmatch(url.strip())
    if match is None:
        raise SourceError(
            f"{url[:100]!a}: write wikidata:recent or wikidata:sparql, and ?key=value&... behind it"
        )
    mode = cast(Mode, match[1].lower())
    given = dict(parse_qsl(match[2] or "", keep_blank_values=True))
    for key in given:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(_KEYS)}"
            raise SourceError(f"{url[:100]!a}: unknown key {key[:40]!a}{hint}")
    contact = given.get("contact", "")
    if not contact.isascii() or not contact.isprintable() or len(contact) > 200:
        raise SourceError(f"{url[:100]!a}: contact must be an e-mail address or a url")
    relations = tuple(filter(None, (r.strip() for r in given.get("relations", "").split(","))))
    return Ask(mode, given.get("endpoint") or _ENDPOINTS[mode], contact, relations)


@dataclass(frozen=True, slots=True)
class WikidataSource:
    """`wikidata:` sources. A poll ends after `max_steps` pages or `max_s` seconds; a page is one request and those for
    what is on it.
    """

    followed: Followed = field(default_factory=lambda: Followed({}))
    pacing: Pacing = DEFAULT_PACING
    max_steps: int = 20
    max_s: float = 60.0

    def accepts(self, spec: SourceSpec) -> bool:
        return is_source(spec.url)

    def fetch(self, spec: SourceSpec, state: FeedState, client: Client, now: datetime) -> Fetched:
        """Read on from where the last poll ended. Raises SourceError for a url that is off, or nothing to follow."""
        ask = parse(spec.url)
        followed = _narrowed(self.followed, ask)
        if spec.body:
            raise SourceError("a statement has no page behind it; take `body` off this source")
        if state.url != spec.url:
            state = new_state(spec)
        place, context, complete = _place(state.etag, followed), Context(spec, now), False
        articles: list[Article] = []
        notes: list[str] = []
        until_s = client.monotonic() + self.max_s
        try:
            with closing(_pages(_server(ask, spec, client), ask, place, followed, now, notes)) as pages:
                for number, (after, found) in enumerate(pages, 1):
                    more, told = to_articles(found, context)
                    articles += more
                    notes += told
                    place = after
                    complete = not (after.at or after.go)
                    if number >= self.max_steps or client.monotonic() > until_s:
                        break
        except SourceError as problem:
            return self._interrupted(spec, state, place, articles, notes, problem, now)
        return self._done(ask, state, place, articles, notes, complete, now)

    def _done(
        self, ask: Ask, state: FeedState, place: Place, articles: list[Article], notes: list[str],
        complete: bool, now: datetime,
    ) -> Fetched:  # fmt: skip
        wait_s = self.pacing.slowest_s if ask.mode == "sparql" else self.pacing.usual_s
        after = replace(
            state,
            etag=json.dumps(asdict(place)),
            errors=0,
            last_error="",
            polled_at=now,
            next_poll_at=now + (timedelta(seconds=wait_s) if complete else _SOON),
        )
        count = len(articles)
        told = f"{count} statement{'s' * (count != 1)}" if count else "nothing new that may be believed"
        message = told + ("" if complete else "; the pass goes on in the next poll")
        status: Literal["ok", "not_modified"] = (
            "ok" if articles or notes or state.polled_at is None else "not_modified"
        )
        return Fetched(state.source, status, tuple(articles), after, message, _shortened(notes))

    def _interrupted(
        self, spec: SourceSpec, state: FeedState, place: Place, articles: list[Article], notes: list[str],
        problem: SourceError, now: datetime,
    ) -> Fetched:  # fmt: skip
        """An error, with what had been read before it, and the place where that ended."""
        result = failed(replace(state, etag=json.dumps(asdict(place))), now, str(problem), spec=spec)
        if isinstance(problem, ServerRefused):
            due_at = retry_at(now, result.state.errors, problem.headers, self.pacing)
            result = replace(result, state=replace(result.state, next_poll_at=due_at))
        return replace(result, articles=tuple(articles), notes=_shortened(notes))


def _pages(
    server: Server, ask: Ask, place: Place, followed: Followed, now: datetime, notes: list[str]
) -> Generator[tuple[Place, list[Found]], None, None]:
    items = sorted(followed.items)
    if ask.mode == "sparql":
        yield from wikidata_query.steps(server, place, items, followed)
        return
    for after, changed in wikidata_api.steps(server, place, items, now):
        yield after, wikidata_api.read_items(server, changed, followed, notes.append)


def _narrowed(followed: Followed, ask: Ask) -> Followed:
    """Only the relations that the url names. Raises SourceError where nothing is left to follow."""
    known = sorted({w.relation for wanted in followed.items.values() for w in wanted})
    if not known:
        raise SourceError(
            "nothing of Wikidata is followed: give entries of the catalogue a `wikidata: Q...`, "
            "or make some with `factd catalogue import`"
        )
    if strange := [r for r in ask.relations if r not in known]:
        raise SourceError(
            f"relations: {strange[0][:40]!a} is not followed on Wikidata; there are {', '.join(known)}"
        )
    kept = {
        item: tuple(w for w in wanted if not ask.relations or w.relation in ask.relations)
        for item, wanted in followed.items.items()
    }
    return Followed({item: wanted for item, wanted in kept.items() if wanted})


def _server(ask: Ask, spec: SourceSpec, client: Client) -> Server:
    try:
        host = urlsplit(ask.endpoint).hostname or ""
    except ValueError:
        host = ""
    headers = {"User-Agent": ask.user_agent, "Accept": _ACCEPT[ask.mode]}
    return Server(client, ask.endpoint, headers, host if spec.allow_private else "")


def _place(etag: str, followed: Followed) -> Place:
    """The place that the last poll left; the beginning where there is none, or where other things are followed now."""
    asked = "\n".join(f"{item} {w.property_id}" for item, ws in sorted(followed.items.items()) for w in ws)
    items = hashlib.sha256(asked.encode()).hexdigest()[:12]
    try:
        kept = Place(**json.loads(etag))
    except (ValueError, TypeError, RecursionError):
        return Place(items)
    right = all(isinstance(v, str) for v in (kept.since, kept.began, kept.go)) and isinstance(kept.at, int)
    return kept if kept.items == items and right else Place(items)


def _shortened(notes: list[str]) -> tuple[str, ...]:
    over = len(notes) - _MAX_NOTES
    return (*notes[:_MAX_NOTES], f"and {over} more notes") if over > 0 else tuple(notes)
