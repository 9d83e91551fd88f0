"""A clock that was ahead and is set right: numbers, leases and polls do not hang on it."""

from __future__ import annotations

from datetime import timedelta

from agent.sources.base import is_due
from agent.store import audit, leases, ledger, queue, revisions
from agent.store.db import Store
from agent.types import FeedState, SourceSpec
from tests.store.samples import NOW, OWNER, approved, candidate, day, fact, live, status, verified

AHEAD = day(4000)
SPEC = SourceSpec("herald", "https://herald.example/feed", "herald.example")


def state(polled: int, due: int, gone: bool = False) -> FeedState:
    return FeedState(
        "herald", SPEC.url, polled_at=day(polled), next_poll_at=day(due), gone=gone, origin=SPEC.url
    )


def test_a_feed_that_was_polled_in_the_future_is_due() -> None:
    assert not is_due(SPEC, state(-1, 1), NOW)
    assert is_due(SPEC, state(-2, -1), NOW)
    assert is_due(SPEC, state(4000, 4001), NOW), "else it would be polled in eleven years"
    assert not is_due(SPEC, state(4000, 4001, gone=True), NOW)


def test_a_lease_taken_in_the_future_ends_with_its_worker(store: Store) -> None:
    ids = approved(store, fact())
    leases.begin_edit(store, ids, owner=OWNER, lease_s=600, now=AHEAD)
    assert leases.release_expired(store, NOW) == ()
    assert leases.release_expired(store, NOW, sole_worker=True) == ids
    assert status(store, ids[0]) == "approved"


def test_numbers_rise_and_the_ledger_holds_whatever_the_time(store: Store) -> None:
    first = live(store, fact())
    ids = verified(store, approved(store, fact("Bo Lind", valid_from=day(1))))
    second = revisions.publish(store, candidate(ids), now=NOW - timedelta(days=900))
    third = revisions.rollback(store, first.id, reason="x", who="eva", now=NOW - timedelta(days=1800))
    assert (second.id, third.id, revisions.current(store).id) == (2, 1, 1)
    assert [entry.seq for entry in ledger.entries(store)] == [1, 2, 3]
    assert audit.audit(store) == ()
    assert [event.target for event in queue.events(store, ids[0])][-1] == "rolled_back"
