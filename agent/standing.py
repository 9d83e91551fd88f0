"""How things stand, read from the state folder: for `factd status`, and for the pages of `factd run`. Without the model."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from agent.canary import held
from agent.health import Disk, Gone, Hold, Served, Source, Standing, problems
from agent.redact import plain
from agent.settings import Settings
from agent.store import feeds, published, rounds, tallies
from agent.store.db import Store
from agent.store.lock import daemon_pid
from agent.types import FeedState, SourceSpec

_PARTS = ("revisions", "cache")


def standing(
    settings: Settings,
    store: Store,
    now: datetime,
    redact: Callable[[str], str],
    *,
    rounds_shown: int = 5,
) -> Standing:
    """Everything at one moment of the database, without secrets. Raises StoreError."""
    with store.reading():
        newest = rounds.last(store, max(1, rounds_shown))
        good = rounds.last_good(store)
        known = {state.source: state for state in feeds.states(store)}
        found = Standing(
            at=now,
            every_s=60 * settings.daemon.poll_minutes,
            served=_served(store),
            rounds=tuple(Gone(**{name: getattr(r, name) for name in Gone.__slots__}) for r in newest),
            last_good_at=None if good is None else good.ended_at,
            round_count=newest[0].id if newest else 0,
            queue=tallies.by_status(store),
            deferred=tallies.deferred(store, now),
            sources=tuple(_source(spec, known.get(spec.name)) for spec in settings.sources),
            articles=tallies.articles(store),
            claims=tallies.claims(store),
            disk=_disk(store.folder),
            daemon_pid=daemon_pid(store.folder),
            hold=hold(settings, store),
        )
    found = _without_secrets(found, lambda text: redact(plain(text)))
    return replace(found, problems=problems(found))


def _without_secrets(found: Standing, clean: Callable[[str], str]) -> Standing:
    """Every text that a feed, a server or an error message had a part in, cleaned."""
    sources = tuple(
        replace(s, name=clean(s.name), url=clean(s.url), last_error=clean(s.last_error))
        for s in found.sources
    )
    return replace(
        found,
        sources=sources,
        rounds=tuple(replace(r, message=clean(r.message)) for r in found.rounds),
        hold=replace(found.hold, reason=clean(found.hold.reason)) if found.hold else None,
    )


def hold(settings: Settings, store: Store) -> Hold | None:
    """The canary that was refused and holds approved proposals back, if there are both."""
    found = held(store) if settings.policy.canary else None
    return (
        None
        if found is None or not tallies.by_status(store).get("approved")
        else Hold(found.since_at, found.reason)
    )


def _served(store: Store) -> Served:
    """Whether its files are there is looked at, not whether they are whole: `factd audit verify` does that."""
    current = published.current(store)
    missing = ""
    if current.id:
        kept = published.keeping(store, current.id)
        if kept.removed_at is not None:
            missing = "its weights were removed"
        else:
            place = published.place_of(store, current.id)
            gone = [name for name in kept.files if not (place / name).is_file()]
            missing = f"{', '.join(gone)} is not there" if gone else ""
    return Served(current.id, current.created_at, len(current.facts), len(current.overlay), missing)


def _source(spec: SourceSpec, state: FeedState | None) -> Source:
    if state is None or state.polled_at is None or (state.origin or state.url) != spec.url:
        return Source(spec.name, spec.url, "new", None, None, 0, "")
    word = "gone" if state.gone else "failing" if state.errors else "moved" if state.url != spec.url else "ok"
    return Source(
        spec.name, state.url, word, state.polled_at, state.next_poll_at, state.errors, state.last_error
    )


def _disk(folder: Path) -> Disk:
    used = {part: _bytes([folder / part]) for part in _PARTS}
    used["database"] = _bytes(folder.glob("factd.db*"))
    return Disk(used, shutil.disk_usage(folder).free)


def _bytes(paths: Iterable[Path]) -> int:
    """What files take, folders with all that is in them; what vanishes meanwhile counts for nothing."""
    total, folders = 0, list[str]()
    for path in paths:
        if path.is_dir():
            folders.append(str(path))
        elif path.is_file():
            total += path.stat().st_size
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
    return total
