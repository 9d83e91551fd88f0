"""The queue under any order of events: what may happen does, what may not changes nothing."""

from __future__ import annotations

import shutil
import tempfile
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agent.errors import StaleState
from agent.store import leases, ledger, queue, revisions
from agent.store.db import open_store
from agent.types import Proposal
from tests.store.samples import NOW, candidate, draft, fact, tree

OBJECTS = ("Ana", "Bo", "Cy")
RELATIONS = {"head_of_government": True, "member_of": False}
PUBLISHERS = ("a.example", "b.example", "c.example")
OPEN = ("pending", "approved", "editing", "verified", "live")
WHO = {"who": "eva"}

some_id = st.integers(1, 12)


class QueueMachine(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.store = open_store(self.folder / "state", NOW, create_missing=True)
        self.store.run("PRAGMA synchronous = OFF")  # the machine may not be unplugged during this test
        self.now = NOW
        self.seen: dict[int, tuple[str, ...]] = {}
        for age, name in enumerate(OBJECTS):
            self.propose(name, "head_of_government", [PUBLISHERS[age]], age % 2)
            self.propose(name, "member_of", [PUBLISHERS[age]], 0)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    def statuses(self) -> dict[int, str]:
        return {item.id: item.status for item in queue.proposals(self.store)}

    def known(self, proposal_id: int) -> int | None:
        """One of the ids there are, so that most steps meet a proposal."""
        ids = sorted(self.statuses())
        return ids[proposal_id % len(ids)] if ids else None

    def step(self, proposal_id: int, allowed: tuple[str, ...], do: object) -> None:
        """`do` works just where the status allows it, and otherwise changes nothing."""
        assert callable(do)
        known = self.known(proposal_id)
        if known is None:
            return
        before = self.statuses()
        try:
            do(known)
        except StaleState:
            assert self.statuses() == before
            assert before[known] not in allowed
        else:
            assert before[known] in allowed

    @rule(
        name=st.sampled_from(OBJECTS),
        relation=st.sampled_from(sorted(RELATIONS)),
        voices=st.sets(st.sampled_from(PUBLISHERS), min_size=1).map(sorted),
        age=st.integers(0, 3),
    )
    def propose(self, name: str, relation: str, voices: list[str], age: int) -> None:
        since = NOW + timedelta(days=age)
        item = fact(name, relation=relation, publishers=tuple(voices), valid_from=since)
        got = queue.propose(self.store, draft(item), now=self.now, single=RELATIONS[relation])
        assert (got.proposal.fact.key, got.proposal.fact.object) == (item.key, name)
        again = queue.propose(self.store, draft(item), now=self.now, single=RELATIONS[relation])
        assert (again.proposal.id, again.is_new) == (got.proposal.id, False)

    @rule(proposal_id=some_id)
    def send_back(self, proposal_id: int) -> None:
        self.step(
            proposal_id,
            ("approved",),
            lambda one: queue.send_back(self.store, one, reason="the page is gone", now=self.now, **WHO),
        )

    @rule(proposal_id=some_id)
    def approve(self, proposal_id: int) -> None:
        self.step(proposal_id, ("pending",), lambda one: queue.approve(self.store, one, now=self.now, **WHO))

    @rule(proposal_id=some_id)
    def reject(self, proposal_id: int) -> None:
        self.step(
            proposal_id,
            ("pending", "approved"),
            lambda one: queue.reject(self.store, one, reason="no", now=self.now, **WHO),
        )

    @rule(proposal_id=some_id, hours=st.integers(0, 9))
    def defer(self, proposal_id: int, hours: int) -> None:
        until = self.now + timedelta(hours=hours)
        self.step(
            proposal_id, ("pending",), lambda one: queue.defer(self.store, one, until, now=self.now, **WHO)
        )

    @rule(proposal_id=some_id)
    def take_back(self, proposal_id: int) -> None:
        self.step(
            proposal_id,
            ("live",),
            lambda one: queue.take_back(self.store, one, reason="no", now=self.now, **WHO),
        )

    @rule(proposal_id=some_id)
    def reopen(self, proposal_id: int) -> None:
        known = self.known(proposal_id)
        if known is None:
            return
        before = {item.id: item for item in queue.proposals(self.store)}
        one = before[known]
        same = (item for item in before.values() if item.fact.key == one.fact.key)
        twin = any(item.fact.object == one.fact.object and item.status in OPEN for item in same)
        allowed = () if twin else ("rejected", "failed", "rolled_back")
        self.step(
            proposal_id, allowed, lambda one: queue.reopen(self.store, one, reason="yes", now=self.now, **WHO)
        )

    @rule(proposal_id=some_id, owner=st.sampled_from(["run-1", "run-2"]))
    def begin(self, proposal_id: int, owner: str) -> None:
        self.step(
            proposal_id,
            ("approved",),
            lambda one: leases.begin_edit(self.store, [one], owner=owner, lease_s=7200, now=self.now),
        )

    @rule(owner=st.sampled_from(["run-1", "run-2"]), fails=st.booleans())
    def finish(self, owner: str, fails: bool) -> None:
        rows = self.store.rows(
            "SELECT id FROM proposal WHERE status = 'editing' AND lease_owner = ? ORDER BY id LIMIT 2",
            (owner,),
        )
        ids = [row["id"] for row in rows]
        if fails:
            leases.mark_failed(self.store, dict.fromkeys(ids, "gate"), owner=owner, now=self.now)
        else:
            leases.mark_verified(self.store, ids, owner=owner, now=self.now)

    @rule(proposal_id=some_id)
    def go_all_the_way(self, proposal_id: int) -> None:
        """Chance alone would seldom make so many right steps in a row."""
        waiting = [one for one, status in self.statuses().items() if status in ("pending", "approved")]
        if not waiting:
            return
        one = waiting[proposal_id % len(waiting)]
        if self.statuses()[one] == "pending":
            queue.approve(self.store, one, now=self.now, **WHO)
        leases.begin_edit(self.store, [one], owner="run-1", lease_s=7200, now=self.now)
        leases.mark_verified(self.store, [one], owner="run-1", now=self.now)
        self.publish()

    @rule(hours=st.integers(0, 3), all_of_them=st.booleans())
    def time_passes(self, hours: int, all_of_them: bool) -> None:
        self.now += timedelta(hours=hours)
        held = [item.id for item in queue.proposals(self.store, "editing", "verified")]
        freed = leases.release_expired(self.store, self.now, sole_worker=all_of_them)
        assert list(freed) == held if all_of_them else set(freed) <= set(held)

    @rule()
    def publish(self) -> None:
        """As a worker would: all that is verified, and what is live and stays; one object for a key."""
        chosen: dict[object, Proposal] = {}
        for item in queue.proposals(self.store, "live", "verified"):
            alone = RELATIONS[item.fact.relation]
            key = item.fact.key if alone else item.id
            older = chosen.get(key)
            if older is not None and older.status == item.status == "verified":
                return
            if older is None or older.status == "live":
                chosen[key] = item
        ids = sorted(item.id for item in chosen.values())
        revision = revisions.publish(self.store, candidate(ids), now=self.now)
        assert revisions.current(self.store) == revision
        assert [item.id for item in revisions.members(self.store, revision.id)] == ids
        assert [item.id for item in queue.proposals(self.store, "live")] == ids
        assert revisions.publish(self.store, candidate(ids), now=self.now) == revision

    @rule(back=st.integers(0, 4))
    def rollback(self, back: int) -> None:
        there = [0, *(item.id for item in revisions.revisions(self.store))]
        target = there[back % len(there)]
        before = self.statuses()
        try:
            revisions.rollback(self.store, target, reason="test", now=self.now, **WHO)
        except StaleState:
            assert self.statuses() == before
            return
        assert revisions.current(self.store).id == target
        live = [item.id for item in queue.proposals(self.store, "live")]
        assert live == [item.id for item in revisions.members(self.store, target)]

    @invariant()
    def history_adds_up(self) -> None:
        legal = {tuple(row) for row in self.store.rows("SELECT from_status, to_status FROM transition")}
        for proposal_id, status in self.statuses().items():
            events = queue.events(self.store, proposal_id)
            assert (events[0].source, events[0].target, events[-1].target) == ("", "pending", status)
            for before, after in pairwise(events):
                assert after.source == before.target
                assert after.source == after.target or (after.source, after.target) in legal
            told = tuple(event.target for event in events)
            assert told[: len(self.seen.get(proposal_id, ()))] == self.seen.get(proposal_id, ())
            self.seen[proposal_id] = told
        assert set(self.seen) == set(self.statuses()), "no proposal ever goes"

    @invariant()
    def a_fact_is_open_once_and_a_single_key_has_one_object(self) -> None:
        items = queue.proposals(self.store)
        opened = [(*item.fact.key, item.fact.object) for item in items if item.status in OPEN]
        assert len(opened) == len(set(opened))
        for status in ("approved", "live"):
            keys = [
                item.fact.key for item in items if item.status == status and RELATIONS[item.fact.relation]
            ]
            assert len(keys) == len(set(keys)), status

    @invariant()
    def what_is_live_is_in_the_current_revision(self) -> None:
        current = revisions.current(self.store)
        members = {item.id for item in revisions.members(self.store, current.id)}
        assert {item.id for item in queue.proposals(self.store, "live")} <= members
        link = tree(self.store.revisions_folder).get("current")
        assert link == (f"-> {current.id}" if current.id else None)
        assert ledger.verify_chain(self.store) is None


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
