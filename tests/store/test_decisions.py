"""A reviewer's decision holds for what they saw, is sealed at once, and can be undone until somebody goes on from it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agent.errors import StaleState, UnknownId, UsageError
from agent.store import decisions, desk, ledger, queue
from agent.store.db import Store
from agent.store.decisions import Decision, decide, last_event, undo
from tests.store.samples import NOW, approved, day, draft, fact, live, propose, status, verified


def made(store: Store, proposal_id: int, decision: Decision, now: object = NOW) -> decisions.Made:
    return decide(store, proposal_id, decision, seen=last_event(store, proposal_id), who="eva", now=NOW)


@pytest.mark.parametrize(
    ("decision", "after"),
    [
        (Decision("approve"), "approved"),
        (Decision("reject", "a hoax"), "rejected"),
        (Decision("defer", "", day(3)), "pending"),
    ],
)
def test_a_decision_is_in_history_and_ledger_with_who_and_why(
    store: Store, decision: Decision, after: str
) -> None:
    proposal = propose(store)
    found = made(store, proposal.id, decision)
    assert (found.before, found.proposal.status, found.event) == (
        "pending",
        after,
        last_event(store, proposal.id),
    )
    event, entry = queue.events(store, proposal.id)[-1], ledger.entries(store)[-1]
    assert event.who == "eva" and decision.reason in event.reason
    assert entry.kind == "decided"
    assert entry.payload["proposal"] == proposal.id
    assert (entry.payload["action"], entry.payload["after"]) == (decision.action, after)
    assert (entry.payload["who"], entry.payload["reason"]) == ("eva", decision.reason)
    assert ledger.verify_chain(store) is None


def test_what_was_touched_meanwhile_is_not_decided(store: Store) -> None:
    proposal = propose(store)
    seen = last_event(store, proposal.id)
    further = fact(publishers=("a.example", "b.example", "c.example"))
    queue.propose(store, draft(further), now=day(1))
    with pytest.raises(StaleState, match=r"changed by factd.*publishers.*while you looked"):
        decide(store, proposal.id, Decision("approve"), seen=seen, who="eva", now=day(1))
    queue.reject(store, proposal.id, reason="a hoax", who="jan", now=day(1))
    with pytest.raises(StaleState, match=r"rejected by jan \(a hoax\) while you looked"):
        decide(store, proposal.id, Decision("approve"), seen=seen, who="eva", now=day(1))
    assert status(store, proposal.id) == "rejected"
    assert ledger.entries(store) == (), "nothing was decided, nothing is told"


def test_a_reason_where_one_is_needed_and_a_time_to_come(store: Store) -> None:
    proposal = propose(store)
    for wrong in (
        Decision("reject", "  "),
        Decision("defer"),
        Decision("defer", "", NOW - timedelta(hours=1)),
    ):
        with pytest.raises(UsageError):
            made(store, proposal.id, wrong)
    with pytest.raises(UnknownId):
        made(store, 99, Decision("approve"))
    assert ledger.entries(store) == ()


@pytest.mark.parametrize(
    "decision", [Decision("approve"), Decision("reject", "a hoax"), Decision("defer", "later", day(3))]
)
def test_undo_brings_it_back_before_the_reviewer(store: Store, decision: Decision) -> None:
    proposal = propose(store)
    done = made(store, proposal.id, decision)
    undone = undo(store, proposal.id, done.event, who="eva", now=day(1))
    assert undone.proposal.status == "pending" and undone.proposal.not_before_at is None
    assert desk.waiting(store, NOW) == (proposal.id,)
    assert [e.payload["action"] for e in ledger.entries(store)] == [decision.action, "undo"]
    with pytest.raises(StaleState):
        undo(store, proposal.id, done.event, who="eva", now=day(1))
    with pytest.raises(UsageError, match="no decision that could be undone"):
        undo(store, proposal.id, undone.event, who="eva", now=day(1))


def test_undoing_an_approval_brings_back_what_it_put_aside(store: Store) -> None:
    weak = propose(store, fact("Ana Lopes"))
    rival = propose(store, fact("Ivo Marr", publishers=("c.example",), valid_from=day(1)))
    done = made(store, rival.id, Decision("approve"))
    assert done.others == (weak.id,) and status(store, weak.id) == "superseded"
    undone = undo(store, rival.id, done.event, who="eva", now=day(1))
    assert len(undone.others) == 1
    again = queue.get(store, undone.others[0])
    assert (again.status, again.fact) == ("pending", weak.fact)
    assert set(desk.waiting(store, NOW)) == {rival.id, again.id}


def test_what_the_worker_took_is_not_undone(store: Store) -> None:
    proposal = propose(store)
    done = made(store, proposal.id, Decision("approve"))
    verified(store, [proposal.id])
    with pytest.raises(StaleState, match="verified by"):
        undo(store, proposal.id, done.event, who="eva", now=day(1))
    assert status(store, proposal.id) == "verified"


def test_every_action_that_is_offered_can_be_done(store: Store) -> None:
    live(store, fact("Nova", subject="Tallisk", relation="capital"))
    rejected, back = propose(store, fact(subject="A")), approved(store, fact(subject="B"))[0]
    queue.reject(store, rejected.id, reason="no", who="eva", now=NOW)
    later = propose(store, fact(subject="C"))
    queue.defer(store, later.id, day(9), who="eva", now=NOW)
    fresh = propose(store, fact(subject="D"))
    wanted = {1: "live", rejected.id: "rejected", back: "approved", later.id: "pending", fresh.id: "pending"}
    for number, was in wanted.items():
        assert status(store, number) == was
        offered = desk.case(store, number).actions(NOW)
        assert ("due" in offered) is (number == later.id)
        for action in offered:
            store.run("SAVEPOINT before")
            made(store, number, Decision(action, "for the test", day(3)))
            assert ledger.entries(store)[-1].payload["action"] == action
            store.run("ROLLBACK TO before")
            store.run("RELEASE before")
