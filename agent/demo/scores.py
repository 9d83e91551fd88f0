"""How the demo is judged: against its author's list of what is true, by free generation, after everything is published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agent.revise import Revised
from agent.store import progress, queue
from agent.workshop import Workshop


@dataclass(frozen=True, slots=True)
class Scores:
    """Shares are 0 to 1. `live_true`: in the weights; `beside`: true changes in the overlay. `pending_traps`: false claims that a person can see waiting, as a pending proposal or a reasoned skip."""

    live_true: int
    beside: int
    live_false: int
    pending_traps: int
    efficacy: float
    paraphrase: float
    untouched: float
    ppl_ratio: float
    overlay: dict[str, float]
    counts: dict[str, int]
    missed: list[str]


def score(shop: Workshop, expected: dict[str, Any], revised: Revised) -> Scores:
    """Compare the live facts with the author's lists and read the figures from the revision's own report."""
    live = {(p.fact.subject, p.fact.relation, p.fact.object) for p in queue.proposals(shop.store, "live")}
    true, never, pending = (_triples(expected[name]) for name in ("live", "never", "pending"))
    waiting = {
        (p.fact.subject, p.fact.relation, p.fact.object) for p in queue.proposals(shop.store, "pending")
    }
    waiting |= {(s.subject, s.relation, s.object) for s in progress.skips(shop.store)}
    report = revised.report
    after = report.after if report else {}
    before = report.before if report else {}
    counts = report.counts if report else {}
    guards = [(after[k], counts[k]) for k in ("same_subject_unchanged", "others_unchanged") if counts.get(k)]
    beside = {
        (f.subject, f.relation, f.object) for f in (revised.revision.overlay if revised.revision else ())
    }
    return Scores(
        live_true=len((live - beside) & true),
        beside=len(live & beside & true),
        live_false=len(live - true),
        pending_traps=len(pending & waiting - live),
        efficacy=after.get("efficacy", 0.0),
        paraphrase=after.get("paraphrase", 0.0),
        untouched=sum(share * n for share, n in guards) / max(1, sum(n for _, n in guards)),
        ppl_ratio=after.get("perplexity", 0.0) / before["perplexity"] if before.get("perplexity") else 0.0,
        overlay={name: after[name] for name in after if name.startswith("overlay")},
        counts=dict(counts),
        missed=sorted(" | ".join(triple) for triple in true - live | never & live),
    )


def _triples(rows: list[dict[str, str]]) -> set[tuple[str, str, str]]:
    return {(row["subject"], row["relation"], row["object"]) for row in rows}
