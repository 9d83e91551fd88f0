from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from agent.errors import StaleState, StoreError, UnknownId, UsageError
from agent.store import leases, queue, revisions
from agent.store.db import Store, open_store
from agent.types import EditRequest, Fact
from tests.store.samples import (
    NOW,
    OWNER,
    approved,
    belief,
    candidate,
    day,
    draft,
    fact,
    live,
    propose,
    status,
    verified,
)


def test_a_proposal_keeps_all_that_was_known(store: Store) -> None:
    request = EditRequest(
        "Borduria", ("The head of Borduria is",), "Ana Lopes", "Old Name", ("Borduria's capital is",)
    )
    made = queue.propose(store, draft(not_before_at=day(1)), now=NOW, belief=belief(), request=request)
    assert made.is_new
    proposal = made.proposal
    assert (proposal.fact, proposal.status, proposal.target_old) == (fact(), "pending", "Old Name")
    assert (proposal.created_at, proposal.decided_at, proposal.not_before_at) == (NOW, None, day(1))
    assert queue.get(store, proposal.id) == proposal
    assert queue.belief(store, proposal.id) == belief()
    assert queue.request(store, proposal.id) == request
    (event,) = queue.events(store, proposal.id)
    assert (event.who, event.at, event.source, event.target) == ("factd", NOW, "", "pending")


@pytest.mark.parametrize("stop", ["pending", "approved", "editing", "verified", "live"])
def test_an_open_fact_is_not_queued_again(store: Store, stop: str) -> None:
    (only,) = (propose(store).id,)
    if stop != "pending":
        queue.approve(store, only, who="eva", now=NOW)
    if stop in ("editing", "verified", "live"):
        leases.begin_edit(store, [only], owner=OWNER, lease_s=60, now=NOW)
    if stop in ("verified", "live"):
        leases.mark_verified(store, [only], owner=OWNER, now=NOW)
    if stop == "live":
        from agent.store.revisions import publish

        publish(store, candidate([only]), now=NOW)
    again = queue.propose(store, draft(), now=day(1))
    assert (again.proposal.id, again.proposal.status, again.is_new) == (only, stop, False)
    assert len(queue.proposals(store)) == 1


def test_proposing_the_same_again_writes_nothing(store: Store) -> None:
    propose(store)
    before = store.conn.total_changes
    propose(store, now=day(3))
    assert store.conn.total_changes == before


def test_a_pending_one_takes_up_further_evidence(store: Store) -> None:
    first = propose(store)
    more = fact(publishers=("b.example", "c.example"), evidence=("c1", "c2"))
    again = queue.propose(store, draft(more), now=day(1), belief=belief())
    assert again.proposal.fact.publishers == ("a.example", "b.example", "c.example")
    assert again.proposal.fact.evidence == ("c1", "c2")
    assert queue.belief(store, first.id) == belief()
    assert queue.events(store, first.id)[-1].reason == "newer: belief, evidence, publishers"


def test_a_rejected_fact_stays_rejected_until_further_publishers_say_so(store: Store) -> None:
    only = propose(store).id
    with pytest.raises(UsageError, match="say why"):
        queue.reject(store, only, reason=" ", who="eva", now=NOW)
    queue.reject(store, only, reason="a namesake", who="eva", now=NOW)
    for again in (fact(), fact(publishers=("a.example",), evidence=("c7",))):
        placed = queue.propose(store, draft(again), now=day(1))
        assert (placed.proposal.id, placed.proposal.status, placed.is_new) == (only, "rejected", False)
    further = queue.propose(store, draft(fact(publishers=("c.example",))), now=day(2))
    assert (further.proposal.id, further.proposal.status, further.is_new) == (only, "pending", True)
    assert queue.events(store, only)[-1].reason == "further publishers: c.example"
    queue.reject(store, only, reason="still a namesake", who="eva", now=day(3))
    assert propose(store, fact(publishers=("c.example",))).status == "rejected"


def test_a_newer_object_supersedes_the_pending_one(store: Store) -> None:
    old = propose(store, fact("Ana Lopes", valid_from=day(0)))
    new = propose(store, fact("Bo Lind", valid_from=day(2)))
    assert (status(store, old.id), status(store, new.id)) == ("superseded", "pending")
    assert propose(store, fact("Ana Lopes", valid_from=day(1))).id == old.id, "it stays so"
    returned = propose(store, fact("Ana Lopes", valid_from=day(5)))
    assert (returned.status, status(store, new.id)) == ("pending", "superseded")


def test_it_does_not_matter_in_which_order_they_come(store: Store) -> None:
    new = propose(store, fact("Bo Lind", valid_from=day(2)))
    late = propose(store, fact("Ana Lopes", valid_from=day(0)))
    assert (late.status, status(store, new.id)) == ("superseded", "pending")


def test_one_voice_does_not_push_a_corroborated_change_out(store: Store) -> None:
    true = propose(store, fact("Ana Lopes", valid_from=day(0)))
    false = propose(store, fact("Hoax", valid_from=day(2), publishers=("spam.example",)))
    assert (status(store, true.id), false.status) == ("pending", "pending")
    queue.approve(store, true.id, who="eva", now=NOW)
    assert status(store, false.id) == "pending", "it is newer, a person decides"
    queue.reject(store, false.id, reason="hoax", who="eva", now=NOW)
    assert status(store, true.id) == "approved"


def test_a_superseded_fact_comes_back_when_what_took_its_place_fell(store: Store) -> None:
    old = propose(store, fact("Ana Lopes", valid_from=day(0)))
    new = propose(store, fact("Bo Lind", valid_from=day(2)))
    queue.reject(store, new.id, reason="wrong", who="eva", now=NOW)
    back = propose(store, fact("Ana Lopes", valid_from=day(0)))
    assert back.status == "pending"
    assert back.id != old.id


def test_many_valued_relations_keep_all(store: Store) -> None:
    ids = [propose(store, fact(name, relation="member_of"), single=False).id for name in ("A", "B", "C")]
    assert [status(store, one) for one in ids] == ["pending"] * 3
    for one in ids:
        queue.approve(store, one, who="eva", now=NOW)
    assert [status(store, one) for one in ids] == ["approved"] * 3


def test_approving_settles_the_key(store: Store) -> None:
    older = propose(store, fact("Ana Lopes", valid_from=day(0)))
    weaker = propose(store, fact("Bo Lind", valid_from=day(1), publishers=("a.example",)))
    queue.approve(store, older.id, who="eva", now=NOW)
    queue.approve(store, weaker.id, who="eva", now=NOW)
    assert [status(store, one.id) for one in (older, weaker)] == ["superseded", "approved"]


def test_deferred_is_pending_and_not_due(store: Store) -> None:
    one, other = propose(store), propose(store, fact("Klow", relation="capital"))
    queue.defer(store, one.id, day(3), who="eva", now=NOW, reason="wait for the vote")
    assert [item.id for item in queue.due(store, day(2))] == [other.id]
    assert [item.id for item in queue.due(store, day(3))] == [one.id, other.id]
    assert "wait for the vote" in queue.events(store, one.id)[-1].reason
    queue.approve(store, one.id, who="eva", now=NOW)
    with pytest.raises(StaleState, match="is approved, not pending"):
        queue.defer(store, one.id, day(5), who="eva", now=NOW)


def test_who_comes_second_is_told(store: Store) -> None:
    (only,) = approved(store, fact())
    with pytest.raises(StaleState, match=r"is approved, not pending.*factd queue show 1"):
        queue.approve(store, only, who="max", now=NOW)
    queue.reject(store, only, reason="thought again", who="eva", now=NOW)
    with pytest.raises(StaleState, match="is rejected"):
        leases.begin_edit(store, [only], owner=OWNER, lease_s=1, now=NOW)
    for unknown in (queue.get, queue.events, queue.belief):
        with pytest.raises(UnknownId, match="proposal 77"):
            unknown(store, 77)


def test_leases_are_taken_together_or_not_at_all(store: Store) -> None:
    ids = approved(store, fact(), fact("Klow", relation="capital"))
    pending = propose(store, fact("EUR", relation="currency")).id
    with pytest.raises(StaleState):
        leases.begin_edit(store, (*ids, pending), owner=OWNER, lease_s=60, now=NOW)
    assert [status(store, one) for one in ids] == ["approved", "approved"]
    taken = leases.begin_edit(store, ids, owner=OWNER, lease_s=60, now=NOW)
    assert [(item.id, item.status) for item in taken] == [(one, "editing") for one in ids]


def test_a_dead_workers_lease_runs_out(store: Store) -> None:
    first, second = approved(store, fact(), fact("Klow", relation="capital"))
    leases.begin_edit(store, [first, second], owner=OWNER, lease_s=60, now=NOW)
    leases.mark_verified(store, [second], owner=OWNER, now=NOW)
    assert leases.release_expired(store, NOW) == ()
    leases.renew(store, [first], owner=OWNER, lease_s=10**6, now=NOW)
    assert leases.release_expired(store, day(1)) == (second,)
    assert leases.release_expired(store, day(1), sole_worker=True) == (first,)
    assert [status(store, one) for one in (first, second)] == ["approved", "approved"]
    assert queue.events(store, first)[-1].reason == f"the lease of {OWNER} ended"
    leases.begin_edit(store, [first], owner="run-2", lease_s=60, now=day(2))
    with pytest.raises(StaleState, match="held by run-2, not by run-1"):
        leases.mark_verified(store, [first], owner=OWNER, now=day(2))


def test_a_lease_that_ends_after_another_was_approved(store: Store) -> None:
    (old,) = approved(store, fact("Ana Lopes"))
    leases.begin_edit(store, [old], owner=OWNER, lease_s=60, now=NOW)
    (new,) = approved(store, fact("Bo Lind", valid_from=day(1)))
    leases.release(store, [old], owner=OWNER, now=NOW, reason="interrupted")
    assert [status(store, one) for one in (old, new)] == ["superseded", "approved"]


def test_failed_ones_say_why_and_can_be_reopened(store: Store) -> None:
    (only,) = verified(store, approved(store, fact()))
    leases.mark_failed(store, {only: "locality 0.71 < 0.98"}, owner=OWNER, now=NOW)
    assert queue.events(store, only)[-1].reason == "locality 0.71 < 0.98"
    assert propose(store, fact(publishers=("z.example",))).status == "failed"
    assert queue.reopen(store, only, reason="other settings", who="eva", now=NOW).status == "pending"


def test_taking_back_and_reopening(store: Store) -> None:
    live(store, fact())
    with pytest.raises(UsageError, match="say why"):
        queue.take_back(store, 1, reason="", who="eva", now=NOW)
    queue.take_back(store, 1, reason="it was a hoax", who="eva", now=NOW)
    assert queue.live_facts(store) == ()
    assert propose(store).status == "rolled_back"
    again = queue.reopen(store, 1, reason="it was none", who="eva", now=NOW)
    assert (again.id, again.status, again.fact, status(store, 1)) == (2, "pending", fact(), "rolled_back")
    with pytest.raises(StaleState, match="the same fact is pending as proposal 2"):
        queue.reopen(store, 1, reason="once more", who="eva", now=NOW)


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("UPDATE proposal SET status = 'live'", "not in the table of transitions|only through a revision"),
        ("UPDATE proposal SET status = 'verified', lease_owner = 'x', lease_until = 'y'", "not in the table"),
        ("UPDATE proposal SET status = 'done'", "transitions|CHECK"),
        ("UPDATE proposal SET lease_owner = 'x'", "CHECK"),
        ("DELETE FROM proposal", "never deleted"),
        ("DELETE FROM proposal_event", "never deleted"),
        ("UPDATE proposal_event SET who = 'nobody'", "never changed"),
        (
            "INSERT INTO proposal_event VALUES (9, 1, 'now', 'x', 'pending', 'approved', '')",
            "status that its proposal",
        ),
    ],
)
def test_sql_cannot_get_around_the_rules(store: Store, sql: str, why: str) -> None:
    propose(store)
    with pytest.raises(StoreError, match=why):
        store.run(sql)


def _approve(folder: Path, who: str, barrier: Any, outcomes: Any) -> None:
    with open_store(folder, NOW) as store:
        barrier.wait()
        try:
            queue.approve(store, 1, who=who, now=NOW)
            outcomes.put("won")
        except StaleState:
            outcomes.put("stale")


def test_of_many_processes_that_move_one_row_one_wins(store: Store, folder: Path) -> None:
    propose(store)
    context = multiprocessing.get_context("fork")
    barrier, outcomes = context.Barrier(4), context.Queue()
    workers = [context.Process(target=_approve, args=(folder, f"p{n}", barrier, outcomes)) for n in range(4)]
    for worker in workers:
        worker.start()
    got = sorted(outcomes.get(timeout=30) for _ in workers)
    for worker in workers:
        worker.join()
    assert got == ["stale", "stale", "stale", "won"]
    assert [event.target for event in queue.events(store, 1)] == ["pending", "approved"]


def _propose(folder: Path, item: Fact, barrier: Any) -> None:
    with open_store(folder, NOW) as store:
        barrier.wait()
        queue.propose(store, draft(item), now=NOW)


def test_the_same_fact_from_two_processes_is_queued_once(store: Store, folder: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    workers = [context.Process(target=_propose, args=(folder, fact(), barrier)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len(queue.proposals(store)) == 1


def test_what_somebody_refused_is_remembered_and_a_rollback_refuses_nothing(store: Store) -> None:
    live(store, fact("Ana"), fact("Bo", subject="Syldavia"))
    (ana, bo) = queue.proposals(store, "live")
    revisions.rollback(store, 0, reason="a try", who="eva", now=day(1))
    assert queue.refused(store) == frozenset()
    revisions.rollback(store, 1, reason="and back", who="eva", now=day(2))
    queue.take_back(store, ana.id, reason="a hoax", who="eva", now=day(3))
    other = propose(store, fact("Cy", subject="Klow"))
    queue.reject(store, other.id, reason="no", who="eva", now=day(4))
    queue.reopen(store, other.id, reason="look again", who="eva", now=day(5))
    assert queue.refused(store) == {(*ana.fact.key, "Ana"), (*other.fact.key, "Cy")}
    assert bo.status == "live"
