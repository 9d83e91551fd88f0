"""The stages of the store, each as a process that starts, mends, and does its work, whether some of it was done before or not.

`run(name, folder)` is such a process; `prepare(name, folder)` brings a new state to where the stage begins. Without a model: what compiles
is two lines of bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from agent import canary
from agent.store import (
    articles,
    decisions,
    feeds,
    keeping,
    leases,
    ledger,
    moves,
    progress,
    queue,
    revisions,
    rounds,
    signatures,
)
from agent.store.db import Store, open_store
from agent.store.lock import worker_lock
from agent.types import FeedState, Skip
from tests.store.samples import NOW, OWNER, article, candidate, claim, day, draft, fact

WHO = {"who": "eva", "now": NOW}
FIRST, SECOND = fact("Ana Lopes"), fact("Bo Lind", valid_from=day(2))


@dataclass(frozen=True)
class Stage:
    """`begins`: the stages that come before it; `does`: its work, which looks first what is done already."""

    begins: tuple[str, ...]
    does: Callable[[Store], object]


def run(name: str, folder: str) -> None:
    """One process: open, lock, mend (each line told goes to stderr), work."""
    with open_store(Path(folder), NOW, create_missing=True) as store, worker_lock(Path(folder)):
        for line in revisions.repair(store):
            print(line, file=sys.stderr)
        if freed := leases.release_expired(store, NOW, sole_worker=True):
            print(f"repaired: given back: {freed}", file=sys.stderr)
        STAGES[name].does(store)


def prepare(name: str, folder: Path) -> None:
    for before in STAGES[name].begins:
        run(before, str(folder))


def _status(store: Store, number: int = 1) -> str:
    return queue.get(store, number).status


def _told(store: Store, kind: str) -> int:
    return sum(entry.kind == kind for entry in ledger.entries(store))


def _poll(store: Store) -> None:
    states = [FeedState(f"feed-{n}", f"https://{n}.example/feed", etag="e", polled_at=NOW) for n in (1, 2)]
    known = {state.source for state in feeds.states(store)}
    feeds.save_polled(
        store, [([article(n)], s) for n, s in enumerate(states, 1) if s.source not in known]
    ) if len(known) < 2 else None
    articles.add(store, [article(3)])
    feeds.save(store, replace(states[0], etag="f"))


def _read(store: Store) -> None:
    for item in articles.unread(store, "v1"):
        articles.record_readings(store, [(item.id, [claim(f"c{item.id}", item.id)])], "v1", NOW)


def _propose(store: Store) -> None:
    queue.propose(store, draft(FIRST), now=NOW)
    progress.log_skips(store, [Skip.of(SECOND, "young", "known for an hour")], NOW)
    progress.stage_done(store, "propose", NOW)


def _approve(store: Store) -> None:
    for item in queue.proposals(store, "pending"):
        queue.approve(store, item.id, **WHO)


def _reject(store: Store) -> None:
    if _status(store) == "pending":
        queue.reject(store, 1, reason="no", **WHO)


def _defer(store: Store) -> None:
    if queue.get(store, 1).not_before_at is None:
        queue.defer(store, 1, day(1), **WHO)


def _reopen(store: Store) -> None:
    if _status(store) == "rejected":
        queue.reopen(store, 1, reason="yes", **WHO)


def _send_back(store: Store) -> None:
    if _status(store) == "approved":
        queue.send_back(store, 1, reason="the page is gone", **WHO)
    articles.retire(store, ["cfeed:1"], NOW)


def _move(store: Store) -> None:
    if _status(store) == "approved":
        moves.take(store, 1, moves.Step("approved", "pending", {"decided_at": None}), moves.Note("eva", NOW))
    if len(queue.proposals(store)) == 1:
        moves.insert(
            store, draft(SECOND), {"belief": None, "request": None, "single": 1}, moves.Note("eva", NOW)
        )


def _apply(store: Store) -> None:
    """As agent.revise does: lease, verify, publish with what is live and not replaced."""
    taken = leases.begin_edit(
        store, [p.id for p in queue.proposals(store, "approved")], owner=OWNER, lease_s=9, now=NOW
    )
    ids = [p.id for p in taken]
    leases.renew(store, ids, owner=OWNER, lease_s=99, now=NOW)
    leases.mark_verified(store, ids, owner=OWNER, now=NOW)
    if ids:
        revisions.publish(store, candidate(ids), now=NOW)


def _fail(store: Store) -> None:
    ids = [p.id for p in queue.proposals(store, "approved")]
    leases.begin_edit(store, ids, owner=OWNER, lease_s=9, now=NOW)
    leases.mark_failed(store, dict.fromkeys(ids, "gate"), owner=OWNER, now=NOW)


def _give_up(store: Store) -> None:
    """Taken and given back twice: by its owner, and because the lease ran out."""
    for give_back in (
        lambda ids: leases.release(store, ids, owner=OWNER, now=NOW, reason="stopped"),
        lambda ids: leases.release_expired(store, day(1)),
    ):
        ids = [p.id for p in queue.proposals(store, "approved")]
        leases.begin_edit(store, ids, owner=OWNER, lease_s=9, now=NOW)
        give_back(ids)


def _correct(store: Store) -> None:
    """A second object for the key: the first one is superseded."""
    queue.propose(store, draft(SECOND), now=NOW)
    _approve(store)
    _apply(store)


def _take_back(store: Store) -> None:
    if _status(store, 2) == "live":
        queue.take_back(store, 2, reason="no", **WHO)
    revisions.publish(store, candidate([]), now=NOW)


def _rollback(store: Store) -> None:
    if not any(entry.payload.get("reason") == "the test" for entry in ledger.entries(store)):
        revisions.rollback(store, 1, reason="the test", **WHO)


def _republish(store: Store) -> None:
    """What was published before, compiled again after the way back to it was left."""
    revisions.publish(store, candidate([2]), now=NOW)


def _to_base(store: Store) -> None:
    if revisions.pointer(store):
        revisions.rollback(store, 0, reason="to the base", **WHO)


def _forward(store: Store) -> None:
    if not _told(store, "noted"):
        ledger.append(store, "noted", {"why": "the test"}, NOW)


def _sign(store: Store) -> None:
    if not _told(store, "signed"):
        signatures.add(store, "eva", NOW, lambda seq, seal, at: ("key", f"signature of {seq}"))


def _desk(store: Store) -> None:
    """What a reviewer decides, and takes back."""
    if not _told(store, "decided"):
        decisions.decide(store, 1, decisions.Decision("approve", "two papers"), seen=None, **WHO)
    if _told(store, "decided") == 1:
        decisions.undo(store, 1, decisions.last_event(store, 1), **WHO)


def _round(store: Store) -> None:
    """As the daemon notes one: a round that was killed is lost, and the next is a new one."""
    if rounds.last_good(store) is None:
        rounds.end(store, rounds.begin(store, NOW), rounds.End("ok", 1.0, next_at=day(1)), NOW)


def _canary(store: Store) -> None:
    canary.hold(store, "of the first 4 facts 1 got into the weights", NOW)
    canary.release(store, NOW)


def _pin(store: Store) -> None:
    if keeping.keeping(store, 1).pinned_at is None and not _told(store, "pinned"):
        keeping.pin(store, 1, reason="good", **WHO)
    if not _told(store, "unpinned"):
        keeping.unpin(store, 1, **WHO)


def _gc(store: Store) -> None:
    if not _told(store, "removed"):
        keeping.remove(store, [1], **WHO)


def _rebuild(store: Store) -> None:
    if not _told(store, "restored"):
        keeping.restore(store, 1, candidate([1]).delta, **WHO)


def _litter(store: Store) -> None:
    """What two killed publications leave: one before its rename, one after."""
    for name in (".building-x", "7"):
        (store.revisions_folder / name).mkdir(exist_ok=True)
        (store.revisions_folder / name / ".unconfirmed").touch()


def _over(store: Store) -> None:
    """Publish where a publication was killed after this start had mended."""
    if revisions.pointer(store) == 1:
        (store.revisions_folder / "2").mkdir(exist_ok=True)
        (store.revisions_folder / "2" / ".unconfirmed").touch()
    _correct(store)


_NEWS = ("init", "poll", "read", "propose")
_LIVE = (*_NEWS, "approve", "apply")
_TWO = (*_LIVE, "correct")
STAGES: dict[str, Stage] = {
    "init": Stage((), lambda store: None),
    "poll": Stage(("init",), _poll),
    "read": Stage(("init", "poll"), _read),
    "propose": Stage(("init", "poll", "read"), _propose),
    "approve": Stage(_NEWS, _approve),
    "reject": Stage(_NEWS, _reject),
    "defer": Stage(_NEWS, _defer),
    "reopen": Stage((*_NEWS, "reject"), _reopen),
    "send back": Stage((*_NEWS, "approve"), _send_back),
    "move": Stage((*_NEWS, "approve"), _move),
    "apply": Stage((*_NEWS, "approve"), _apply),
    "fail": Stage((*_NEWS, "approve"), _fail),
    "give up": Stage((*_NEWS, "approve"), _give_up),
    "correct": Stage(_LIVE, _correct),
    "take back": Stage(_TWO, _take_back),
    "rollback": Stage(_TWO, _rollback),
    "base": Stage(_TWO, _to_base),
    "republish": Stage((*_TWO, "take back", "rollback 2"), _republish),
    "rollback 2": Stage(_TWO, lambda store: revisions.rollback(store, 2, reason="again", **WHO)),
    "litter": Stage(_LIVE, _litter),
    "mend": Stage((*_LIVE, "litter"), lambda store: None),
    "publish over": Stage(_LIVE, _over),
    "note": Stage(_LIVE, _forward),
    "sign": Stage(_LIVE, _sign),
    "desk": Stage(_NEWS, _desk),
    "round": Stage(("init",), _round),
    "canary": Stage((*_NEWS, "approve"), _canary),
    "pin": Stage(_TWO, _pin),
    "gc": Stage(_TWO, _gc),
    "rebuild": Stage((*_TWO, "gc"), _rebuild),
}
