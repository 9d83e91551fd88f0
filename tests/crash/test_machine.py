"""Queue and ledger under any order of acts of two workers and a person, some of them killed on the way, and starts in between.

The program is its own oracle: each act is done once undisturbed on a copy. A killed act must have left the database as it was before, or as
the copy is: nothing in between. A start must then bring files and database together.
"""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agent.store import audit, published, queue, revisions
from agent.store.db import DATABASE, open_store, read_store
from agent.types import Status
from tests.crash.acts import REFUSED, RELATIONS
from tests.crash.check import acknowledged, debris
from tests.crash.conftest import MEMORY
from tests.crash.hooks import Hook
from tests.forks import Forks
from tests.store.samples import NOW

ACT = "tests.crash.acts:act"
ACTS = (
    *("propose", "propose", "approve", "approve", "reject", "defer", "reopen", "take back"),
    *("begin", "begin", "finish", "finish", "fail", "publish", "publish", "publish"),
    *("rollback", "pin", "remove", "restore"),
)
OPEN: tuple[Status, ...] = ("pending", "approved", "editing", "verified", "live")


def in_two(name: str, folder: Path) -> bool:
    """Publishing again what was published before puts removed weights back in a transaction of their own, and then points at them."""
    with read_store(folder) as store:
        return name == "publish" and any(k.removed_at for k in published.keepings(store).values())


def dump(folder: Path) -> list[str]:
    """Every row of the database."""
    with closing(sqlite3.connect(folder / DATABASE)) as conn:
        return list(conn.iterdump())


class CrashMachine(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.place = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.folder = self.place / "state"
        open_store(self.folder, NOW, create_missing=True).close()
        self.forks = Forks(self.place, None)
        self.hours = 0
        self.seen: set[tuple[object, ...]] = set()
        for number in range(2):
            self.act("propose", number, "Ana", "run-1", 0)

    def teardown(self) -> None:
        self.forks.close()
        shutil.rmtree(self.place)

    def call(self, folder: Path, wanted: dict[str, object], hook: Hook | None = None) -> int:
        return self.forks.run(folder, json.dumps(wanted), call=ACT, hook=hook).code

    @rule(
        name=st.sampled_from(ACTS),
        number=st.integers(0, 5),
        text=st.sampled_from(["Ana", "Bo", "Cy"]),
        owner=st.sampled_from(["run-1", "run-2"]),
        killed_at=st.one_of(st.just(0), st.integers(1, 24)),
    )
    def act(self, name: str, number: int, text: str, owner: str, killed_at: int) -> None:
        wanted: dict[str, object] = {
            "name": name, "number": number, "hours": self.hours, "text": text, "owner": owner,
        }  # fmt: skip
        before, copy = dump(self.folder), self.place / "copy"
        shutil.copytree(self.folder, copy, symlinks=True)
        try:
            whole = self.call(copy, wanted)
            after = dump(copy)
        finally:
            shutil.rmtree(copy)
        assert whole in (0, REFUSED), name
        assert whole == 0 or after == before, f"{name} was refused and did something"
        done = self.call(self.folder, wanted, Hook(nth=killed_at, action="kill") if killed_at else None)
        now = dump(self.folder)
        if done == -signal.SIGKILL:
            assert now in (before, after) or in_two(name, self.folder), f"{name} was half done"
            self.start()
        else:
            assert (done, now) == (whole, after), name

    @rule(
        name=st.sampled_from(["publish", "publish", "finish", "begin"]),
        text=st.sampled_from(["Ana", "Bo", "Cy"]),
        number=st.integers(0, 1),
        killed_at=st.sampled_from(range(1, 41)),  # numbers drawn from a span tend to be small
    )
    def all_the_way(self, name: str, text: str, number: int, killed_at: int) -> None:
        """Chance alone would seldom make so many right steps in a row; one of them is killed."""
        self.act("propose", number, text, "run-2", 0)
        with read_store(self.folder) as store:
            waiting = [item.id for item in queue.proposals(store, "pending")]
        for one in waiting[:1]:
            self.act("approve", one, "", "", 0)
        for step in ("begin", "finish", "publish"):
            self.act(step, 1, "", "run-1", killed_at if step == name else 0)

    @rule(hours=st.integers(-2, 3))
    def time_passes(self, hours: int) -> None:
        """Also backwards: a clock that is set right."""
        self.hours = max(0, self.hours + hours)

    @rule()
    def start(self) -> None:
        wanted = {"name": "restart", "number": 0, "hours": self.hours, "text": "", "owner": ""}
        assert self.call(self.folder, wanted) == 0
        assert debris(self.folder) == []
        with read_store(self.folder) as store:
            assert audit.audit(store) == ()
            numbers = [item.id for item in revisions.revisions(store)]
            assert numbers == list(range(1, len(numbers) + 1)), "no number is left out and none is used twice"

    @invariant()
    def nothing_acknowledged_is_lost(self) -> None:
        now = acknowledged(self.folder)
        assert self.seen <= now
        self.seen = now

    @invariant()
    def nothing_is_applied_twice(self) -> None:
        with read_store(self.folder) as store:
            items = queue.proposals(store)
            opened = [(*item.fact.key, item.fact.object) for item in items if item.status in OPEN]
            assert len(opened) == len(set(opened))
            keys = [i.fact.key for i in items if i.status == "live" and RELATIONS[i.fact.relation]]
            assert len(keys) == len(set(keys))
            held = {item.id for item in revisions.members(store, revisions.pointer(store))}
            assert {item.id for item in items if item.status == "live"} <= held


SETTINGS = settings(
    max_examples=8,
    stateful_step_count=8,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestCrashMachine = CrashMachine.TestCase
TestCrashMachine.settings = SETTINGS
