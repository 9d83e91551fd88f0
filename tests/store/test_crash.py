"""Killed with SIGKILL at any point of the store and started again, a run ends where it would have."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.faults import FAULT_VARIABLE, STORE_FAULTS
from agent.store import articles, keeping, leases, ledger, queue, revisions
from agent.store.db import Store, open_store, read_store
from agent.store.lock import worker_lock
from tests.store.samples import NOW, OWNER, article, candidate, claim, day, draft, fact, tree

ROOT = Path(__file__).parents[2]


def work(folder: Path) -> None:
    """One `factd run --once` in small: what is due comes from the database, each step may have been done."""
    with open_store(folder, NOW, create_missing=True) as store, worker_lock(folder):
        revisions.repair(store)
        leases.release_expired(store, NOW, sole_worker=True)
        articles.add(store, [article(1), article(2)])
        for item in articles.unread(store, "v1"):
            articles.record_readings(store, [(item.id, [claim(f"c{item.id}", item.id)])], "v1", NOW)
        _correct(store, "Ana Lopes", 1)
        _correct(store, "Bo Lind", 2)
        if not any(entry.payload.get("reason") == "the test" for entry in ledger.entries(store)):
            revisions.rollback(store, 1, reason="the test", who="eva", now=NOW)
        _clean_up(store)


def _clean_up(store: Store) -> None:
    """Remove the weights of revision 2, put them back, and remove them for good."""
    while (times := [entry.kind for entry in ledger.entries(store)]).count("removed") < 2:
        if times.count("removed") > times.count("restored"):
            keeping.restore(store, 2, candidate([2]).delta, who="eva", now=NOW)
        else:
            keeping.remove(store, [2], who="eva", now=NOW)


def _correct(store: Store, name: str, age: int) -> None:
    if len(revisions.revisions(store)) >= age:
        return
    proposal = queue.propose(store, draft(fact(name, valid_from=day(age))), now=NOW).proposal
    if proposal.status == "pending":
        queue.approve(store, proposal.id, who="eva", now=NOW)
    ids = [item.id for item in queue.proposals(store, "approved")]
    leases.begin_edit(store, ids, owner=OWNER, lease_s=600, now=NOW)
    leases.mark_verified(store, ids, owner=OWNER, now=NOW)
    revisions.publish(store, candidate(ids), now=NOW)


def outcome(folder: Path) -> dict[str, object]:
    """All that must come out the same; how often a lease was given back need not."""
    with read_store(folder) as store:
        return {
            "files": tree(folder / "revisions"),
            "current": revisions.current(store),
            "revisions": revisions.revisions(store),
            "proposals": queue.proposals(store),
            "claims": articles.claims(store),
            "ledger": ledger.entries(store),
            "sound": ledger.verify_chain(store),
        }


def run(folder: Path, point: str) -> int:
    environment = {**os.environ, FAULT_VARIABLE: point, "PYTHONPATH": str(ROOT)}
    code = "import pathlib, sys; from tests.store.test_crash import work; work(pathlib.Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, str(folder)], env=environment, cwd=ROOT, check=False)
    return done.returncode


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("whole") / "state"
    work(folder)
    return outcome(folder)


def test_the_undisturbed_run_comes_to_its_end(undisturbed: dict[str, object]) -> None:
    facts = [item.status for item in undisturbed["proposals"]]  # type: ignore[attr-defined]
    assert facts == ["live", "rolled_back"]
    assert undisturbed["sound"] is None


@pytest.mark.parametrize("point", STORE_FAULTS)
def test_killed_and_started_again_it_ends_the_same(
    folder: Path, undisturbed: dict[str, object], point: str
) -> None:
    assert run(folder, point) == -signal.SIGKILL
    work(folder)
    assert outcome(folder) == undisturbed
    names = {path.name for path in (folder / "revisions").iterdir()}
    assert names == {"1", "2", "current"}, "nothing of the killed run is left"


def test_every_point_in_the_store_is_listed() -> None:
    called = set()
    for path in (ROOT / "agent" / "store").glob("*.py"):
        called |= set(re.findall(r'\bfault\("([^"]+)"\)', path.read_text()))
    assert called == set(STORE_FAULTS)
