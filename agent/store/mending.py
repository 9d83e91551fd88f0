"""What the next start does about what a killed process left, and what it finds where the database was put back to an older copy.

Every line that is returned says one thing that was done (`repaired:`) or found (`found:`), for a person. Only for who holds the worker's lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agent.store import artefacts, keeping
from agent.store.db import Store
from agent.store.published import keepings, place_of, pointer, strangers


def mended(store: Store) -> tuple[str, ...]:
    """Sweep up, end what was begun, look whether the database and the folders are of one time. Raises StoreError.

    Nothing is removed of which the database does not know that it may go.
    """
    return tuple(_lines(store))


def _lines(store: Store) -> Iterator[str]:
    if count := artefacts.sweep(store.revisions_folder):
        yield f"repaired: removed {_many(count, 'unfinished file or folder', 'unfinished files and folders')} of a killed run from {store.revisions_folder}"
    yield from _unconfirmed(store)
    newer = strangers(store)
    if not newer:
        for number in keeping.sweep(store):
            yield f"repaired: revision {number}: its weights are gone now; a run that was to remove them had been killed"
    else:
        yield (
            f"found: {_names(newer)} on the disk and not in the database: it is older than they are, perhaps put back from a copy. They are left"
            f" alone, {_served(store)}, and the next revision is number {max(*newer, *keepings(store), 0) + 1}"
        )
    for number in _missing(store):
        yield (
            f"found: revision {number}: its weights are missing though nobody removed them; `factd revisions rebuild {number}` compiles them again"
        )


def _unconfirmed(store: Store) -> Iterator[str]:
    """Folders of publications that were killed: with a row they are published, without one they never were."""
    known = keepings(store)
    for number in artefacts.numbers(store.revisions_folder):
        if not artefacts.is_unconfirmed(store.revisions_folder / str(number)):
            continue
        if number in known:
            artefacts.confirm(store.revisions_folder, number)
            yield f"repaired: revision {number}: its publication, which had been killed at its end, is complete"
        else:
            artefacts.remove_unconfirmed(store.revisions_folder, number)
            yield f"repaired: removed {store.revisions_folder / str(number)}: its publication had been killed before it counted"


def _missing(store: Store) -> Iterator[int]:
    """Revisions whose weights should be there and are not."""
    for found in keepings(store).values():
        if found.removed_at is None and artefacts.size(place_of(store, found.id), artefacts.DELTA) is None:
            yield found.id


def _served(store: Store) -> str:
    served = pointer(store)
    return f"revision {served} is served" if served else "the base model is served"


def _names(numbers: Iterable[int]) -> str:
    listed = [str(number) for number in numbers]
    return f"revision {listed[0]} is" if len(listed) == 1 else f"revisions {', '.join(listed)} are"


def _many(count: int, one: str, several: str) -> str:
    return f"1 {one}" if count == 1 else f"{count} {several}"
