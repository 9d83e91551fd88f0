"""From approved proposals to a published revision: compile, verify, publish, or say who failed.

    begin      approved -> editing            under a lease; a dead worker's lease is given back first
    compile    every live and new fact jointly against the base; value vectors are kept in the state folder
    verify     the same probes before and after, by free generation, in the model as it will be served
    bisect     when the gate refuses: find the facts to leave out, publish the rest
    publish    one rename and one transaction; the served revision changes last

Killed anywhere and run again, the same approved facts end in the same revision.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from agent.catalogue import Catalogue
from agent.config import VerifySettings
from agent.editing.cache import load_values, save_values
from agent.editing.compile import Compiled, Material, compile_delta, default_layers, value_key
from agent.editing.covariance import own_samples
from agent.editing.delta import applied
from agent.errors import EditError
from agent.faults import fault
from agent.lm.load import LM
from agent.lm.score import perplexity
from agent.material import edit_request, preserve_texts
from agent.store import leases, queue, revisions
from agent.store.lock import worker_lock
from agent.store.revisions import Candidate
from agent.types import EditRequest, Fact, FactKey, Probe, Proposal, Report, Revision
from agent.verify.gate import Bisection, GateSettings, bisect, judged
from agent.verify.metrics import Snapshot, compare, snapshot
from agent.verify.probes import ProbeSizes, probe_set
from agent.workshop import Workshop

_LEASE_S = 3600.0
# Enough for every probe of some dozens of facts: the search for culprits ranks facts by their failures.
_FAILURES = 800


@dataclass(frozen=True, slots=True)
class Revised:
    """`revision` is the one served now, None when the gate let nothing pass; `failed` maps proposal ids to why."""

    revision: Revision | None
    report: Report | None
    added: tuple[Proposal, ...] = ()
    failed: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Trials:
    """The base's answers, asked once, the texts for perplexity, and the compilations by set of proposals."""

    texts: list[str] = field(default_factory=list)
    base_answers: dict[str, str] = field(default_factory=dict)
    done: dict[tuple[int, ...], tuple[Compiled, Report]] = field(default_factory=dict)


def apply(shop: Workshop) -> Revised:
    """Compile every live and approved fact, verify, publish. Without anything new the current revision stays.

    Raises LockHeld when another worker is at it, ModelError, EditError; proposals then go back to approved.
    """
    with worker_lock(shop.store.folder):
        revisions.repair(shop.store)
        leases.release_expired(shop.store, shop.clock(), sole_worker=True)
        current = revisions.current(shop.store)
        new = queue.proposals(shop.store, "approved")
        live = queue.proposals(shop.store, "live")
        if not new and {p.id for p in live} == _member_ids(shop, current.id):
            return Revised(current, None)
        owner = f"{socket.gethostname()}:{os.getpid()}"
        taken = leases.begin_edit(
            shop.store, [p.id for p in new], owner=owner, lease_s=_LEASE_S, now=shop.clock()
        )
        try:
            return _revise(shop, live, taken, owner)
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
    lm, trials = shop.base(), _Trials()
    kept_live = _not_replaced(live, new)
    by_key = {p.fact.key: p for p in [*kept_live, *new]}

    def attempt(facts: Sequence[Fact]) -> Report:
        chosen = [by_key[f.key] for f in facts]
        compiled, report = _compile_and_verify(shop, lm, chosen, trials)
        trials.done[_ids(chosen)] = (compiled, report)
        return report

    search = bisect([p.fact for p in by_key.values()], attempt, max_trials=shop.settings.verify.max_trials)
    kept = [by_key[f.key] for f in search.kept]
    left_out = {by_key[f.key].id: _why(search, f.key, trials) for f in (*search.culprits, *search.undecided)}
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


def _why(search: Bisection, key: FactKey, trials: _Trials) -> str:
    """What the last report said about this fact, else that the gate refused every set that held it."""
    for _, report in reversed(list(trials.done.values())):
        for failure in report.failures:
            if failure.fact_key == key and failure.kind in ("fact", "efficacy"):
                return f"asked {failure.prompt!r} the edited model said {failure.got!r} instead of {failure.expected!r}"
    reasons = [reason for _, report in trials.done.values() for reason in report.reasons]
    return f"the gate refused every set that held it: {reasons[-1] if reasons else 'no reason recorded'}"


def _last_report(trials: _Trials) -> Report | None:
    return list(trials.done.values())[-1][1] if trials.done else None


def _compile_and_verify(
    shop: Workshop, lm: LM, proposals: Sequence[Proposal], trials: _Trials
) -> tuple[Compiled, Report]:
    compiled = compile_facts(shop, lm, proposals)
    fault("apply:after-compile")
    facts = [p.fact for p in proposals]
    probes = probes_of(shop, facts, proposals)
    trials.texts = trials.texts or all_texts(shop, lm)
    texts = neutral_texts(shop.catalogue, trials.texts, proposals)
    before = _base_snapshot(shop, lm, probes, texts, trials)
    with applied(lm, compiled.delta):
        after = snapshot(lm, probes, texts, progress=lambda d, t: shop.progress("verify", d, t))
    return compiled, judged(
        compare(before, after, probes, max_failures=_FAILURES), gate_of(shop.settings.verify)
    )


def compile_facts(shop: Workshop, lm: LM, proposals: Sequence[Proposal]) -> Compiled:
    """The joint delta of these proposals' facts. New value vectors are kept before anything else is done with them."""
    settings = shop.settings.editing
    if not settings.layers:
        settings = replace(settings, layers=default_layers(lm))
    requests = [request_of(shop, p) for p in proposals]
    folder = shop.cache / "values"
    keys = [value_key(lm, request, settings.layers, settings) for request in requests]
    material = Material(
        preserve=preserve_texts(
            shop.catalogue,
            shop.relations,
            {r.subject for r in requests},
            limit=shop.settings.preserve_limit,
            seed=settings.seed,
        ),
        cache=shop.cache,
        known_values=load_values(folder, keys),
    )
    compiled = compile_delta(lm, requests, settings, material, shop.progress)
    save_values(folder, compiled.values)
    return compiled


def request_of(shop: Workshop, proposal: Proposal) -> EditRequest:
    """As a person gave it, else made from the relation's templates. Raises EditError when there is neither."""
    given = queue.request(shop.store, proposal.id)
    if given is not None:
        return given
    if proposal.fact.relation not in shop.relations:
        raise EditError(
            f"proposal {proposal.id}: relation {proposal.fact.relation!r} is not in the relations file"
        )
    return edit_request(proposal.fact, shop.relations, shop.catalogue, target_old=proposal.target_old)


def probes_of(shop: Workshop, facts: Sequence[Fact], proposals: Sequence[Proposal]) -> tuple[Probe, ...]:
    """Probes of every kind for facts of known relations; an edit that a person gave with its own prompts is asked by those."""
    known = [f for f in facts if f.relation in shop.relations]
    verify = shop.settings.verify
    probes = probe_set(
        known,
        shop.relations,
        shop.catalogue,
        live=known,
        sizes=ProbeSizes(verify.same_subject_prompts, verify.same_relation, verify.canary),
        seed=verify.seed,
    )
    given = [
        (p.fact, queue.request(shop.store, p.id)) for p in proposals if p.fact.relation not in shop.relations
    ]
    own = [
        Probe("efficacy", prompt, (request.target_new,), (), fact.key)
        for fact, request in given
        if request is not None
        for prompt in request.prompts
    ]
    return (*probes, *own)


def gate_of(verify: VerifySettings) -> GateSettings:
    """The gate's part of the settings."""
    return GateSettings(
        efficacy=verify.efficacy,
        paraphrase=verify.paraphrase,
        same_subject=verify.same_subject,
        others=verify.others,
        ppl_ratio=verify.ppl_ratio,
        every_fact=verify.every_fact,
    )


def all_texts(shop: Workshop, lm: LM) -> list[str]:
    """Texts for perplexity: one document a line of `verify.texts`, else what the base itself writes with another seed."""
    path = shop.settings.verify.texts
    if path is None:
        return own_samples(lm, 64, 48, shop.settings.editing.seed + 1)
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise EditError(f"{path}: verify.texts cannot be read ({error.strerror})") from error


def neutral_texts(catalogue: Catalogue, texts: Sequence[str], proposals: Sequence[Proposal]) -> list[str]:
    """The texts that say nothing of what the proposals overwrite (a subject, by any of its names, and its old object): those ought
    to become unlikely.
    """
    overwritten = [(_names_of(catalogue, p.fact.subject), p.target_old) for p in proposals if p.target_old]
    return [
        text
        for text in texts
        if not any(old in text and any(name in text for name in names) for names, old in overwritten)
    ]


def _names_of(catalogue: Catalogue, subject: str) -> tuple[str, ...]:
    entity = catalogue.entity(subject)
    return (entity.name, *entity.aliases, *entity.demonyms)


def _base_snapshot(
    shop: Workshop, lm: LM, probes: Sequence[Probe], texts: Sequence[str], trials: _Trials
) -> Snapshot:
    """The base's answers; what it has answered in an earlier trial is not asked again. Which texts are neutral is another matter in
    every trial.
    """
    missing = [p for p in probes if p.prompt not in trials.base_answers]
    if missing:
        asked = snapshot(lm, missing, progress=lambda d, t: shop.progress("before", d, t))
        trials.base_answers.update(asked.answers)
    return Snapshot(dict(trials.base_answers), perplexity(lm, texts) if texts else math.nan, len(texts))
