"""The served revision asked again with the probes it was published on, and held against that report."""

from __future__ import annotations

import math
from dataclasses import dataclass

from agent.examine import all_texts, gate_of, neutral_texts, probes_of
from agent.store import revisions
from agent.types import Report, Revision
from agent.verify.gate import judged
from agent.verify.metrics import compare, snapshot
from agent.workshop import Workshop

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
    members = revisions.members(shop.store, revision.id)
    probes = probes_of(shop, [p.fact for p in members], members)
    lm = shop.base()
    texts = neutral_texts(shop.catalogue, all_texts(shop, lm), members)
    before = snapshot(lm, probes, texts, progress=lambda d, t: shop.progress("before", d, t))
    with shop.served() as served:
        after = snapshot(served, probes, texts, progress=lambda d, t: shop.progress("verify", d, t))
    report = judged(compare(before, after, probes), gate_of(shop.settings.verify))
    return Recheck(revision, report, _moved(revision.report, report))


def _moved(then: Report | None, now: Report) -> dict[str, tuple[float, float]]:
    if then is None:
        return {}
    pairs = {name: (then.after[name], value) for name, value in now.after.items() if name in then.after}
    return {
        name: pair
        for name, pair in pairs.items()
        if not math.isclose(*pair, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    }
