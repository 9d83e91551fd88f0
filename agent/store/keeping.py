"""Which revisions keep their weights: pins, cleaning up, and putting weights back.

    remove     the mark in the database first, then the file: a process killed in between leaves a file too many, which `sweep` takes
               away at the next start. The other way round it would leave a revision that looks damaged.
    restore    the file first, then the mark goes: killed in between, the file is swept away and it is done again.

Rows are never deleted, and small files stay: what was published can always be shown, and compiled again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from agent.errors import StaleState, StoreError, UsageError
from agent.store import artefacts, ledger
from agent.store.codec import storable, to_text
from agent.store.db import Store
from agent.store.moves import Note
from agent.store.published import Keeping, keeping, keepings, place_of, pointer, removed


def pin(store: Store, revision_id: int, *, reason: str, who: str, now: datetime) -> None:
    """Keep the weights of a revision whatever `remove` is asked to do. Pinned again, it has the new reason.

    Raises UsageError without a reason, UnknownId, StoreError when the weights were removed already.
    """
    if not reason.strip():
        raise UsageError(f"revision {revision_id}: say why it is kept (--reason), it stays in the ledger")
    with store.writing("pin"):
        need_weights(store, revision_id)
        store.run(
            "UPDATE revision SET pinned_at = ?, pin_reason = ? WHERE id = ?",
            (to_text(now), storable(reason), revision_id),
        )
        told = {"revision": revision_id, "who": storable(who), "reason": storable(reason)}
        ledger.append(store, "pinned", told, now)


def unpin(store: Store, revision_id: int, *, who: str, now: datetime) -> None:
    """Raises UnknownId, StaleState when it is not pinned."""
    with store.writing("unpin"):
        if keeping(store, revision_id).pinned_at is None:
            raise StaleState(f"revision {revision_id} is not pinned; `factd revisions` shows which are")
        store.run("UPDATE revision SET pinned_at = NULL, pin_reason = '' WHERE id = ?", (revision_id,))
        ledger.append(store, "unpinned", {"revision": revision_id, "who": storable(who)}, now)


def need_weights(store: Store, revision_id: int) -> Keeping:
    """Raises UnknownId, StoreError when its weights were removed."""
    found = keeping(store, revision_id)
    if found.removed_at is not None:
        raise removed(revision_id, found.removed_at)
    return found


def removable(
    store: Store, *, newest: int, now: datetime, older_than_days: float = 0.0
) -> tuple[Keeping, ...]:
    """The revisions with weights that are neither served nor pinned nor among the `newest`, and are old enough; by id."""
    with store.reading():
        served = pointer(store)
        there = [found for found in keepings(store).values() if found.removed_at is None]
    before = now - timedelta(days=older_than_days)
    old = there[: max(0, len(there) - newest)]
    return tuple(
        found
        for found in old
        if found.id != served and found.pinned_at is None and found.created_at <= before
    )


def weights_bytes(store: Store, revision_id: int) -> int:
    """How much removing the weights of a revision would free."""
    return artefacts.size(place_of(store, revision_id), artefacts.DELTA) or 0


def remove(store: Store, ids: Iterable[int], *, who: str, now: datetime) -> int:
    """Remove the weights of these revisions; how many bytes that freed. Only for who holds the worker's lock.

    Raises UnknownId, and StaleState for one that is served, pinned or removed; then none is removed. StoreError when a file cannot
    be removed: it is marked, and the next start tries again.
    """
    chosen = tuple(dict.fromkeys(ids))
    with store.writing("gc"):
        for revision_id in chosen:
            _check_removable(store, revision_id)
            store.run("UPDATE revision SET removed_at = ? WHERE id = ?", (to_text(now), revision_id))
            told = {"revision": revision_id, "who": storable(who), "bytes": weights_bytes(store, revision_id)}
            ledger.append(store, "removed", told, now)
    freed = 0
    for revision_id in chosen:
        freed += artefacts.discard(place_of(store, revision_id), artefacts.DELTA)
    return freed


def _check_removable(store: Store, revision_id: int) -> None:
    found = need_weights(store, revision_id)
    if pointer(store) == revision_id:
        raise StaleState(f"revision {revision_id} is served; serve another one first (`factd rollback`)")
    if found.pinned_at is not None:
        raise StaleState(
            f"revision {revision_id} is pinned ({found.pin_reason}); `factd revisions unpin {revision_id}`"
        )


def restore(
    store: Store, revision_id: int, delta: bytes | Callable[[Path], object], *, who: str, now: datetime
) -> None:
    """Put the weights of a revision back, which were removed or damaged. Only for who holds the worker's lock.

    Raises UnknownId, StoreError when `delta` is not what was published.
    """
    wanted = keeping(store, revision_id).files[artefacts.DELTA]
    if isinstance(delta, bytes) and hashlib.sha256(delta).hexdigest() != wanted:
        raise StoreError(f"revision {revision_id}: these weights are not those that were published")
    artefacts.put(place_of(store, revision_id), artefacts.DELTA, delta, wanted)
    with store.writing("restore"):
        store.run("UPDATE revision SET removed_at = NULL WHERE id = ?", (revision_id,))
        ledger.append(store, "restored", {"revision": revision_id, "who": storable(who)}, now)


def restore_if_removed(
    store: Store, revision_id: int, delta: bytes | Callable[[Path], object], note: Note
) -> None:
    """What was compiled again anyway is there again."""
    if revision_id and keeping(store, revision_id).removed_at is not None:
        restore(store, revision_id, delta, who=note.who, now=note.at)


def sweep(store: Store) -> tuple[int, ...]:
    """Remove what a killed `remove` left; of which revisions. Only for who holds the worker's lock; a file that may not be removed is in
    nobody's way.
    """
    done = []
    for row in store.rows("SELECT id FROM revision WHERE removed_at IS NOT NULL ORDER BY id"):
        with suppress(StoreError):
            if artefacts.discard(place_of(store, row["id"]), artefacts.DELTA):
                done.append(int(row["id"]))
    return tuple(done)
