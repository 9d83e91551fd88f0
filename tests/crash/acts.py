"""What anybody may do to queue and ledger, one act a process: for the machine that kills some of them."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from agent.errors import StoreError
from agent.store import keeping, leases, queue, revisions
from agent.store.db import Store, open_store
from agent.types import Proposal
from tests.store.samples import NOW, candidate, draft, fact

REFUSED = 9
RELATIONS = {"head_of_government": True, "member_of": False}


def act(folder: str, given: str) -> int:
    """One act in a process of its own: 0, or REFUSED where the state does not allow it."""
    wanted = json.loads(given)
    with open_store(Path(folder), NOW) as store:
        store.run(
            "PRAGMA synchronous = OFF"
        )  # nobody pulls the plug here: what a killed process wrote, the kernel has
        try:
            _do(store, **wanted)
        except StoreError:
            return REFUSED
    return 0


def _do(store: Store, name: str, number: int, hours: int, text: str, owner: str) -> None:
    now = NOW + timedelta(hours=hours)
    who = {"who": "eva", "now": now}
    match name:
        case "propose":
            relation = sorted(RELATIONS)[number % 2]
            item = fact(text, relation=relation, publishers=(f"{owner}.example",), valid_from=now)
            queue.propose(store, draft(item), now=now, single=RELATIONS[relation])
        case "approve":
            queue.approve(store, number, **who)
        case "reject":
            queue.reject(store, number, reason="no", **who)
        case "defer":
            queue.defer(store, number, now, **who)
        case "reopen":
            queue.reopen(store, number, reason="yes", **who)
        case "take back":
            queue.take_back(store, number, reason="no", **who)
        case "begin":
            approved = [p.id for p in queue.proposals(store, "approved")]
            leases.begin_edit(store, approved[: 1 + number % 2], owner=owner, lease_s=7200, now=now)
        case "finish":
            leases.mark_verified(store, _held(store, owner), owner=owner, now=now)
        case "fail":
            leases.mark_failed(store, dict.fromkeys(_held(store, owner)[:1], "gate"), owner=owner, now=now)
        case "publish":
            revisions.publish(store, candidate(_chosen(store)), now=now)
        case "rollback":
            revisions.rollback(store, number, reason="test", **who)
        case "pin":
            keeping.pin(store, number, reason="good", **who)
        case "remove":
            keeping.remove(store, [number], **who)
        case "restore":
            ids = [p.id for p in revisions.members(store, number)]
            keeping.restore(store, number, candidate(ids).delta, **who)
        case "restart":
            revisions.repair(store)
            leases.release_expired(store, now, sole_worker=True)
        case _:
            raise AssertionError(name)


def _held(store: Store, owner: str) -> list[int]:
    rows = store.rows(
        "SELECT id FROM proposal WHERE status = 'editing' AND lease_owner = ? ORDER BY id", (owner,)
    )
    return [row["id"] for row in rows]


def _chosen(store: Store) -> list[int]:
    """As a worker would: all that is verified, and what is live and stays; one object for a key."""
    chosen: dict[object, Proposal] = {}
    for item in queue.proposals(store, "live", "verified"):
        key = item.fact.key if RELATIONS[item.fact.relation] else item.id
        older = chosen.get(key)
        if older is None or older.status == "live":
            chosen[key] = item
    return sorted(item.id for item in chosen.values())
