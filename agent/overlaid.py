"""The overlay of a revision, measured as it is served: which of its facts are told, and whether it meddles with other answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from agent.answering import answers
from agent.examine import tokens_for
from agent.lm.generate import generate
from agent.lm.load import LM
from agent.overlay import Overlay
from agent.store import revisions
from agent.types import Asked, Fact, FactKey, Probe, Proposal, Report
from agent.verify.intervals import share_interval
from agent.verify.metrics import asked_of, facts_by_share
from agent.verify.probes import ProbeSizes, overlay_probes, probe_set
from agent.workshop import Workshop

_SUBJECTS_ALONE = ProbeSizes(same_relation=0, canary=0)


@dataclass(frozen=True, slots=True)
class Told:
    """What asking with the overlay came to. `held_out`: (fact, right) of the same prompts where their own wording is not in the
    catalogue; `meddled`: other answers about the same subjects; `untold`: the facts that not even half of their prompts bring out.
    """

    asked: tuple[Asked, ...] = ()
    held_out: tuple[tuple[FactKey, bool], ...] = ()
    others: tuple[tuple[FactKey, bool], ...] = ()
    untold: frozenset[FactKey] = frozenset()


def overlay_of(shop: Workshop, facts: Sequence[Fact]) -> Overlay:
    return Overlay(facts, shop.relations, shop.catalogue)


def overlay_in(shop: Workshop, revision_id: int) -> Overlay:
    """The overlay of a published revision. Raises UnknownId."""
    return overlay_of(shop, revisions.get(shop.revisions_from or shop.store, revision_id).overlay)


def can_hold(shop: Workshop, proposal: Proposal) -> bool:
    """Whether a fact can be in the overlay at all: its relation's prompts say what asks for it."""
    return shop.settings.serve.overlay != "off" and proposal.fact.relation in shop.relations


def ask_beside(shop: Workshop, lm: LM, proposals: Sequence[Proposal]) -> Told:
    """Ask every prompt of the facts with the overlay beside the model, which holds its delta already; and what else is known about
    their subjects.
    """
    facts = [proposal.fact for proposal in proposals]
    probes = overlay_probes(facts, shop.relations, shop.catalogue)
    if not probes:
        return Told()
    overlay, tokens = overlay_of(shop, facts), tokens_for(lm, probes)
    say = partial(
        answers,
        lm,
        overlay,
        max_new_tokens=tokens,
        mode=shop.settings.serve.overlay,
        progress=partial(shop.progress, "overlay"),
    )
    prompts = [probe.prompt for probe in probes]
    plain = dict(zip(prompts, generate(lm, prompts, max_new_tokens=tokens), strict=True))
    served = dict(zip(prompts, say(prompts), strict=True))
    unread = dict(zip(prompts, say(prompts, held_out=True), strict=True))
    asked = tuple(asked_of(plain, served, probe) for probe in probes)
    told = facts_by_share(served, probes)
    return Told(
        asked,
        tuple((p.fact_key, asked_of(plain, unread, p).right) for p in probes),
        _others(shop, lm, overlay, facts),
        frozenset(key for key, share in told.items() if share < 0.5),
    )


def _others(
    shop: Workshop, lm: LM, overlay: Overlay, facts: Sequence[Fact]
) -> tuple[tuple[FactKey, bool], ...]:
    """(fact, unchanged) of the other prompts about the overlay's subjects. What is in no scope is answered as without an overlay,
    and is not asked.
    """
    asked = probe_set(facts, shop.relations, shop.catalogue, sizes=_SUBJECTS_ALONE)
    probes = [p for p in asked if p.kind == "same_subject"]
    hit: list[Probe] = [p for p in probes if overlay.match(p.prompt) is not None]
    prompts = [p.prompt for p in hit]
    tokens = tokens_for(lm, hit)
    plain = dict(zip(prompts, generate(lm, prompts, max_new_tokens=tokens), strict=True))
    mode = shop.settings.serve.overlay
    served = dict(zip(prompts, answers(lm, overlay, prompts, max_new_tokens=tokens, mode=mode), strict=True))
    changed = {p.prompt for p in hit if not asked_of(plain, served, p).kept}
    return tuple((p.fact_key, p.prompt not in changed) for p in probes)


def overlay_only() -> Report:
    """The report of a revision whose weights are the base's: there is nothing to judge in them."""
    return Report({}, {}, {}, passed=True)


def with_overlay(report: Report, told: Told) -> Report:
    """The report with the overlay's metrics: `overlay` (as served), `overlay_held_out` and `overlay_unchanged`."""
    if not told.asked:
        return report
    served = [(asked.fact_key, asked.right) for asked in told.asked]
    tallies = {
        "overlay": served,
        "overlay_held_out": list(told.held_out),
        "overlay_unchanged": list(told.others),
    }
    tallies = {name: tally for name, tally in tallies.items() if tally}
    plain = sum(asked.was_right for asked in told.asked) / len(told.asked)
    before = {"overlay": plain, "overlay_held_out": plain, "overlay_unchanged": 1.0}
    return replace(
        report,
        before=report.before | {name: before[name] for name in tallies},
        after=report.after | {n: sum(ok for _, ok in tally) / len(tally) for n, tally in tallies.items()},
        counts=report.counts | {name: len(tally) for name, tally in tallies.items()},
        intervals=report.intervals | {name: share_interval(tally) for name, tally in tallies.items()},
        asked=(*report.asked, *told.asked),
    )
