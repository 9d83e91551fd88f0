"""From approved proposals to a published revision: compile, verify, publish, or say who failed.

    check      approved -> pending            where the pages behind it, read again, no longer say so (`agent.refetch`)
    begin      approved -> editing            under a lease; a dead worker's lease is given back first
    values     what every fact would have to write; a fact that the model cannot be made to say is left out here
    compile    every live and new fact jointly against the base; value vectors are kept in the state folder
    verify     the same probes before and after, by free generation, in the model as it will be served
    bisect     when the gate refuses: find the facts to leave out of the weights
    overlay    what was left out is told beside the weights (agent.overlay), and asked as it will be served
    publish    one rename and one transaction; the served revision changes last

Killed anywhere and run again, the same approved facts end in the same revision.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent import canary
from agent.alone import guilty_alone
from agent.contradictions import contradicted
from agent.editing.delta import Delta, applied, empty_delta
from agent.examine import gate_of
from agent.faults import fault
from agent.lm.load import LM
from agent.lm.memory import enough_memory
from agent.overlaid import ask_beside, can_hold, overlay_only, with_overlay
from agent.recipe import recipe_of, records
from agent.refetch import check
from agent.start import mend
from agent.store import leases, queue, revisions
from agent.store.lock import worker_lock
from agent.store.revisions import Candidate
from agent.trial import Trials, given_up, try_out
from agent.types import Fact, FactKey, Proposal, Report, Revision
from agent.verify.search import bisect
from agent.workshop import Workshop, settled

_LEASE_S = 3600.0
_UNTOLD = "the model does not say it even where it is told beside the question"


@dataclass(frozen=True, slots=True)
class Revised:
    """`revision` is the one served now, None when nothing could be published. `added` are live since this run; `beside` says of those
    that the weights refused why, by proposal id: they are in the overlay. `failed` maps proposal ids to why, `returned` those
    that are pending again because what they rest on no longer says so, `held` those that stay approved because a canary was refused.
    """

    revision: Revision | None
    report: Report | None
    added: tuple[Proposal, ...] = ()
    failed: dict[int, str] = field(default_factory=dict)
    returned: Mapping[int, str] = field(default_factory=dict)
    beside: Mapping[int, str] = field(default_factory=dict)
    held: Mapping[int, str] = field(default_factory=dict)


def apply(shop: Workshop, *, retry: bool = False, resume: bool = False) -> Revised:
    """Compile every live and approved fact, verify, publish. Without anything new the current revision stays.

    Of a larger batch the canary goes first (`agent.canary`); after one that was refused nothing approved is tried, unless a person
    asks for it (`resume`). `retry`: try the facts of the overlay in the weights again. Raises LockHeld when another worker is at it,
    ModelError, EditError; proposals then go back to approved.
    """
    with worker_lock(shop.store.folder):
        mend(shop)
        approved, size = queue.proposals(shop.store, "approved"), shop.settings.policy.canary
        if size and not resume and (held := canary.held(shop.store)):
            return replace(_apply(shop, (), retry), held={p.id: held.reason for p in approved})
        checked = check(shop, approved)
        fault("apply:after-check")
        first, rest = canary.split(checked.kept, size)
        done = replace(_apply(shop, first, retry), returned=checked.returned)
        if not rest:
            _note_canary(shop, "")
            return done
        compiled = sum(p.id not in done.beside for p in done.added)
        why = canary.objection(len(first), compiled)
        _note_canary(shop, why)
        if why:
            return replace(done, held={p.id: why for p in rest})
        return _together(done, _apply(shop, rest, retry=False))


def _note_canary(shop: Workshop, why: str) -> None:
    if why:
        canary.hold(shop.store, why, shop.clock())
    else:
        canary.release(shop.store, shop.clock())


def _together(first: Revised, rest: Revised) -> Revised:
    """What both parts of a batch came to: the later revision, where it was published."""
    return Revised(
        rest.revision or first.revision,
        rest.report or first.report,
        (*first.added, *rest.added),
        {**first.failed, **rest.failed},
        first.returned,
        {**first.beside, **rest.beside},
    )


def _apply(shop: Workshop, new: Sequence[Proposal], retry: bool) -> Revised:
    """Compile what is live with these proposals, which are approved. The caller holds the worker's lock."""
    current = revisions.current(shop.store)
    live = queue.proposals(shop.store, "live")
    places = revisions.places(shop.store, current.id)
    again = retry and "overlay" in places.values()
    if not new and not again and {p.id for p in live} == set(places):
        return Revised(current, None)
    if not new and not live:
        # The last fact was taken back: the base is served, and there is nothing to compile.
        nothing = Candidate(base_sha="", delta_sha="", settings_sha="", proposals=(), delta=b"")
        return Revised(revisions.publish(shop.store, nothing, now=shop.clock()), None)
    owner = f"{socket.gethostname()}:{os.getpid()}"
    taken = leases.begin_edit(
        shop.store, [p.id for p in new], owner=owner, lease_s=_LEASE_S, now=shop.clock()
    )
    told = frozenset() if retry else frozenset(i for i, place in places.items() if place == "overlay")
    try:
        batch = _Batch(_by_key(_not_replaced(live, taken)), _by_key(taken), told, owner)
        with enough_memory(f"compiling and verifying {len(batch.all)} facts"):
            return _revise(shop, batch)
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


@dataclass(frozen=True, slots=True)
class _Batch:
    """What goes into a revision: live facts that nothing new replaces, new ones, and which of the live ones (`told`, by id) stay in
    the overlay untried.

    What is live comes first: where two facts do not go together the search keeps the earlier one. Within each part the order is that of
    the keys, so that the search ends the same in whatever order the facts were queued.
    """

    live: tuple[Proposal, ...]
    new: tuple[Proposal, ...]
    told: frozenset[int]
    owner: str

    @property
    def all(self) -> tuple[Proposal, ...]:
        return (*self.live, *self.new)


@dataclass(frozen=True, slots=True)
class _Sorted:
    """Where the facts of a batch ended. `refused`: by proposal id why not in the weights; `records`: what the delta was made of."""

    compiled: tuple[Proposal, ...]
    beside: tuple[Proposal, ...]
    refused: Mapping[int, str]
    delta: Delta
    report: Report | None
    records: Mapping[str, str]


def _revise(shop: Workshop, batch: _Batch) -> Revised:
    lm = shop.base()
    shop = settled(shop, lm)
    found = _sorted(shop, lm, batch)
    live = {p.id for p in (*found.compiled, *found.beside)}
    failed = {p.id: found.refused[p.id] for p in batch.new if p.id not in live}
    leases.mark_failed(shop.store, failed, owner=batch.owner, now=shop.clock())
    fault("apply:after-verify")
    for proposal in batch.live:
        if proposal.id not in live:
            why = found.refused[proposal.id]
            queue.take_back(shop.store, proposal.id, reason=why, who="gate", now=shop.clock())
    if not live:
        return Revised(None, found.report, (), failed)
    new = {p.id for p in batch.new}
    added = tuple(p for p in batch.all if p.id in new & live)
    beside = {p.id: found.refused[p.id] for p in found.beside if p.id in found.refused}
    for proposal in added:
        where = f"in the overlay: {beside[proposal.id]}" if proposal.id in beside else ""
        leases.mark_verified(shop.store, [proposal.id], owner=batch.owner, now=shop.clock(), reason=where)
    candidate = Candidate(
        base_sha=lm.sha,
        delta_sha=found.delta.sha,
        settings_sha=shop.settings.editing.sha,
        proposals=tuple(sorted(live)),
        delta=found.delta.to_bytes(),
        report=found.report,
        overlay=_ids(found.beside),
        records=found.records,
    )
    revision = revisions.publish(shop.store, candidate, now=shop.clock())
    return Revised(revision, found.report, added, failed, beside=beside)


def _sorted(shop: Workshop, lm: LM, batch: _Batch) -> _Sorted:
    """Search the facts that the gate lets into the weights; the others go into the overlay where that can tell them."""
    tried = [p for p in batch.all if p.id not in batch.told]
    clashing = contradicted(shop, tried)
    tried = [p for p in tried if p.id not in clashing]
    trials = Trials(earlier=frozenset(p.fact.key for p in batch.live if p.id not in batch.told))
    by_key = {p.fact.key: p for p in tried}

    def attempt(facts: Sequence[Fact]) -> Report:
        chosen = [by_key[f.key] for f in facts]
        trials.done[_ids(chosen)] = try_out(shop, lm, chosen, trials)
        return trials.done[_ids(chosen)][1]

    def alone(facts: Sequence[Fact]) -> Collection[FactKey]:
        trials.alone |= guilty_alone(shop, lm, [by_key[f.key] for f in facts])
        return trials.alone

    refused = given_up(shop, lm, tried) if tried else {}
    search = bisect(
        [p.fact for p in tried if p.id not in refused],
        attempt,
        alone=alone,
        max_trials=shop.settings.verify.max_trials,
        settings=gate_of(shop.settings.verify),
    )
    kept = tuple(by_key[f.key] for f in search.kept)
    refused |= {by_key[f.key].id: _why(f.key, trials) for f in (*search.culprits, *search.undecided)}
    delta, report, made = empty_delta(lm.sha), _last_report(trials), dict[str, str]()
    if kept:
        compiled, report = trials.done[_ids(kept)]
        delta = compiled.delta
        made = records(lm, recipe_of(shop, lm, kept), compiled.values)
    beside = [p for p in batch.all if p.id in batch.told or (p.id in refused and can_hold(shop, p))]
    refused |= clashing
    with applied(lm, delta):
        told = ask_beside(shop, lm, beside)
    refused |= {p.id: _UNTOLD for p in beside if p.fact.key in told.untold}
    beside = [p for p in beside if p.fact.key not in told.untold]
    if beside:
        report = with_overlay(report if kept and report else overlay_only(), told)
    return _Sorted(kept, tuple(beside), refused, delta, report, made)


def _by_key(proposals: Sequence[Proposal]) -> tuple[Proposal, ...]:
    return tuple(sorted(proposals, key=lambda p: p.fact.key))


def _ids(proposals: Sequence[Proposal]) -> tuple[int, ...]:
    return tuple(sorted(p.id for p in proposals))


def _not_replaced(live: Sequence[Proposal], new: Sequence[Proposal]) -> list[Proposal]:
    """Live proposals whose key no new one takes."""
    taken: set[FactKey] = {p.fact.key for p in new}
    return [p for p in live if p.fact.key not in taken]


def _why(key: FactKey, trials: Trials) -> str:
    """What the last report said about this fact or about others of its subject, else that the gate refused every set that held it."""
    if key in trials.alone:
        return trials.alone[key]
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
