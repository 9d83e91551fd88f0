"""The served revision asked again with the probes it was published on, and held against that report."""

from __future__ import annotations

import math
from dataclasses import dataclass

from agent.editing.delta import applied
from agent.overlaid import ask_beside, overlay_only, with_overlay
from agent.store import revisions
from agent.trial import Trials, checked, questions
from agent.types import FactKey, Report, Revision
from agent.workshop import Workshop, delta_of

# The same weights asked the same questions on the same machine give the same answers; on another machine, or
# with another number of
# threads, sums are rounded otherwise and an answer that was a tie may turn.
_TOLERANCE = 0.005


@dataclass(frozen=True, slots=True)
class Recheck:
    """`moved` maps a metric to (then, now) where the two differ by more than rounding does. `report` is None
    for the base.
    """

    revision: Revision
    report: Report | None
    moved: dict[str, tuple[float, float]]

    @property
    def passed(self) -> bool:
        return self.report is None or self.report.passed


def recheck(shop: Workshop) -> Recheck:
    """Ask base and served revision every probe again and judge. Raises ModelError, StoreError when the files
    are not as published.
    """
    revision = revisions.current(shop.store)
    if not revision.facts:
        return Recheck(revision, None, {})
    lm = shop.base()
    compiled = revisions.members(shop.store, revision.id, "weights")
    beside = revisions.members(shop.store, revision.id, "overlay")
    trials = Trials(earlier=frozenset(_facts_before(shop, revision)))
    delta = delta_of(shop.store, revision.id, lm)
    report = overlay_only()
    if compiled:
        report = checked(shop, lm, delta, questions(shop, lm, compiled, trials))
    with applied(lm, delta):
        report = with_overlay(report, ask_beside(shop, lm, beside))
    return Recheck(revision, report, _moved(revision.report, report))


def _facts_before(shop: Workshop, revision: Revision) -> set[FactKey]:
    """The facts that the revision before it held already."""
    earlier = [r for r in revisions.revisions(shop.store) if r.id < revision.id]
    held = {(fact.key, fact.object) for fact in (earlier[-1].compiled if earlier else ())}
    return {fact.key for fact in revision.compiled if (fact.key, fact.object) in held}


def _moved(then: Report | None, now: Report) -> dict[str, tuple[float, float]]:
    if then is None:
        return {}
    pairs = {name: (then.after[name], value) for name, value in now.after.items() if name in then.after}
    return {
        name: pair
        for name, pair in pairs.items()
        if not math.isclose(*pair, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    }
