"""From approved proposals to a published revision: compile, verify, publish, or say who failed.

    check      approved -> pending            where the pages behind it, read again, no longer say so (`agent.refetch`)
    begin      approved -> editing            under a lease; a dead worker's lease is given back first
    values     what every fact would have to write; a fact that the model cannot be made to say is left out here
    compile    every live and new fact jointly against the base; value vectors are kept in the state folder
    verify     the same probes before and after, by free generation, in the model as it will be served
    bisect     when the gate refuses: find the facts to leave out, publish the rest
    publish    one rename and one transaction; the served revision changes last

Killed anywhere and run again, the same approved facts end in the same revision.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent.examine import gate_of
from agent.faults import fault
from agent.refetch import check
from agent.store import leases, queue, revisions
from agent.store.lock import worker_lock
from agent.store.revisions import Candidate
from agent.trial import Trials, given_up, try_out
from agent.types import Fact, FactKey, Proposal, Report, Revision
from agent.verify.gate import bisect
from agent.workshop import Workshop, settled

_LEASE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Revised:
    """`revision` is the one served now, None when the gate let nothing pass; `failed` maps proposal ids to why, `returned` those
    that are pending again because what they rest on no longer says so.
    """

    revision: Revision | None
    report: Report | None
    added: tuple[Proposal, ...] = ()
    failed: dict[int, str] = field(default_factory=dict)
    returned: Mapping[int, str] = field(default_factory=dict)


def apply(shop: Workshop) -> Revised:
    """Compile every live and approved fact, verify, publish. Without anything new the current revision stays.

    Raises LockHeld when another worker is at it, ModelError, EditError; proposals then go back to approved.
    """
    with worker_lock(shop.store.folder):
        revisions.repair(shop.store)
        leases.release_expired(shop.store, shop.clock(), sole_worker=True)
        current = revisions.current(shop.store)
        checked = check(shop, queue.proposals(shop.store, "approved"))
        fault("apply:after-check")
        new, live = checked.kept, queue.proposals(shop.store, "live")
        if not new and {p.id for p in live} == _member_ids(shop, current.id):
            return Revised(current, None, returned=checked.returned)
        owner = f"{socket.gethostname()}:{os.getpid()}"
        taken = leases.begin_edit(
            shop.store, [p.id for p in new], owner=owner, lease_s=_LEASE_S, now=shop.clock()
        )
        try:
            return replace(_revise(shop, live, taken, owner), returned=checked.returned)
        except BaseException:
            held = [p.id for p in queue.proposals(shop.store, "editing", "verified")]
            leases.release(
                shop.store,
                held,
                owner=owner,
                now=shop.clock(),
                reason="the run ended before it was published",
            )
            raise


def _member_ids(shop: Workshop, revision_id: int) -> set[int]:
    return {p.id for p in revisions.members(shop.store, revision_id)}


def _revise(shop: Workshop, live: Sequence[Proposal], new: Sequence[Proposal], owner: str) -> Revised:
    lm, trials = shop.base(), Trials()
    shop = settled(shop, lm)
    kept_live = _not_replaced(live, new)
    by_key = {p.fact.key: p for p in [*kept_live, *new]}

    def attempt(facts: Sequence[Fact]) -> Report:
        chosen = [by_key[f.key] for f in facts]
        compiled, report = try_out(shop, lm, chosen, trials)
        trials.done[_ids(chosen)] = (compiled, report)
        return report

    left_out = given_up(shop, lm, list(by_key.values()))
    search = bisect(
        [p.fact for p in by_key.values() if p.id not in left_out],
        attempt,
        max_trials=shop.settings.verify.max_trials,
        settings=gate_of(shop.settings.verify),
    )
    kept = [by_key[f.key] for f in search.kept]
    left_out |= {by_key[f.key].id: _why(f.key, trials) for f in (*search.culprits, *search.undecided)}
    failed = {i: why for i, why in left_out.items() if i in {p.id for p in new}}
    leases.mark_failed(shop.store, failed, owner=owner, now=shop.clock())
    fault("apply:after-verify")
    for proposal in kept_live:
        if proposal.id in left_out:
            queue.take_back(
                shop.store, proposal.id, reason=left_out[proposal.id], who="gate", now=shop.clock()
            )
    added = [p for p in kept if p.id in {n.id for n in new}]
    if not kept:
        return Revised(None, search.report or _last_report(trials), (), failed)
    compiled, report = trials.done[_ids(kept)]
    leases.mark_verified(shop.store, [p.id for p in added], owner=owner, now=shop.clock())
    candidate = Candidate(
        base_sha=lm.sha,
        delta_sha=compiled.delta.sha,
        settings_sha=shop.settings.editing.sha,
        proposals=_ids(kept),
        delta=compiled.delta.to_bytes(),
        report=report,
    )
    return Revised(revisions.publish(shop.store, candidate, now=shop.clock()), report, tuple(added), failed)


def _ids(proposals: Sequence[Proposal]) -> tuple[int, ...]:
    return tuple(sorted(p.id for p in proposals))


def _not_replaced(live: Sequence[Proposal], new: Sequence[Proposal]) -> list[Proposal]:
    """Live proposals whose key no new one takes."""
    taken: set[FactKey] = {p.fact.key for p in new}
    return [p for p in live if p.fact.key not in taken]


def _why(key: FactKey, trials: Trials) -> str:
    """What the last report said about this fact or about others of its subject, else that the gate refused every set that held it."""
    failures = [f for _, report in reversed(trials.done.values()) for f in report.failures]
    for failure in failures:
        if failure.fact_key == key and failure.kind in ("fact", "efficacy"):
            return f"asked {failure.prompt!r} the edited model said {failure.got!r} instead of {failure.expected!r}"
    for failure in failures:
        if failure.fact_key[0] == key[0] and failure.kind == "same_subject":
            return f"it harms what else is known: {failure.prompt!r} became {failure.got!r} instead of {failure.expected!r}"
    reasons = [reason for _, report in trials.done.values() for reason in report.reasons]
    return f"the gate refused every set that held it: {reasons[-1] if reasons else 'no reason recorded'}"


def _last_report(trials: Trials) -> Report | None:
    return list(trials.done.values())[-1][1] if trials.done else None
