"""Our records as JSON values and as lines for a person; shared by the commands."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agent.cli.text import day, minute, safe_text
from agent.store.moves import Event
from agent.store.published import Keeping
from agent.types import Article, Belief, Claim, EditRequest, Fact, Proposal, Report, Revision, Skip

Record = dict[str, Any]


def number(value: float) -> float | None:
    """A float for JSON, which has neither NaN nor infinities."""
    return value if math.isfinite(value) else None


def fact_record(fact: Fact) -> Record:
    return {
        "subject": fact.subject,
        "relation": fact.relation,
        "object": fact.object,
        "valid_from": fact.valid_from,
        "publishers": list(fact.publishers),
        "evidence": list(fact.evidence),
    }


def proposal_record(proposal: Proposal) -> Record:
    return {
        "id": proposal.id,
        "status": proposal.status,
        **fact_record(proposal.fact),
        "target_old": proposal.target_old,
        "reason": proposal.reason,
        "created_at": proposal.created_at,
        "decided_at": proposal.decided_at,
        "not_before_at": proposal.not_before_at,
    }


def skip_record(skip: Skip) -> Record:
    return {
        "subject": skip.subject,
        "relation": skip.relation,
        "object": skip.object,
        "code": skip.code,
        "reason": skip.reason,
        "evidence": list(skip.evidence),
    }


def belief_record(belief: Belief) -> Record:
    return {
        "verdict": belief.verdict,
        "majority": belief.majority,
        "logp": number(belief.logp),
        "answers": [{"prompt": p, "answer": a} for p, a in zip(belief.prompts, belief.answers, strict=True)],
    }


def evidence_records(claims: Iterable[Claim], cited: Mapping[str, Article]) -> list[Record]:
    return [
        {
            "claim": claim.id,
            "kind": claim.kind,
            "object": claim.object,
            "as_of": claim.as_of,
            "score": claim.score,
            "sentence": claim.sentence,
            "article": article_record(cited[claim.article_id]) if claim.article_id in cited else None,
        }
        for claim in claims
    ]


def event_record(event: Event) -> Record:
    return {
        "at": event.at,
        "who": event.who,
        "from": event.source,
        "to": event.target,
        "reason": event.reason,
    }


def request_record(request: EditRequest) -> Record:
    return {
        "subject": request.subject,
        "prompts": list(request.prompts),
        "target_new": request.target_new,
        "target_old": request.target_old,
    }


def article_record(article: Article) -> Record:
    return {
        "id": article.id,
        "source": article.source,
        "publisher": article.publisher,
        "url": article.url,
        "title": article.title,
        "published_at": article.published_at,
    }


def revision_record(revision: Revision, *, current: bool, status: str, kept: Keeping | None = None) -> Record:
    """`kept`: None for the base."""
    report = revision.report
    return {
        "id": revision.id,
        "current": current,
        "status": status,
        "created_at": revision.created_at,
        "base_sha": revision.base_sha,
        "delta_sha": revision.delta_sha,
        "facts": [
            {**fact_record(fact), "place": "overlay" if fact in revision.overlay else "weights"}
            for fact in revision.facts
        ],
        "metrics": None if report is None else {name: number(value) for name, value in report.after.items()},
        "pinned_at": kept.pinned_at if kept else None,
        "pin_reason": kept.pin_reason if kept else "",
        "removed_at": kept.removed_at if kept else None,
    }


def report_record(report: Report) -> Record:
    return {
        "passed": report.passed,
        "reasons": list(report.reasons),
        "before": {name: number(value) for name, value in report.before.items()},
        "after": {name: number(value) for name, value in report.after.items()},
        "counts": dict(report.counts),
        "intervals": {name: [number(low), number(high)] for name, (low, high) in report.intervals.items()},
        "norms": {name: number(value) for name, value in report.norms.items()},
        "failures": [
            {"subject": f.fact_key[0], "relation": f.fact_key[1], "kind": f.kind, "prompt": f.prompt,
             "expected": f.expected, "got": f.got}
            for f in report.failures
        ],
        "examples": [{"prompt": p, "before": b, "after": a} for p, b, a in report.examples],
    }  # fmt: skip


def proposal_lines(proposal: Proposal) -> list[str]:
    fact = proposal.fact
    lines = [
        f"proposal {proposal.id}: {proposal.status}",
        f"  {fact.subject}, {fact.relation}: {proposal.target_old or '(no answer)'} -> {fact.object}",
        f"  since {day(fact.valid_from)}, said by {', '.join(fact.publishers) or 'a person'}",
        f"  {proposal.reason}",
    ]
    if proposal.not_before_at is not None:
        lines.append(f"  deferred until {minute(proposal.not_before_at)} UTC")
    return lines


def evidence_lines(claims: Sequence[Claim], cited: Mapping[str, Article]) -> list[str]:
    if not claims:
        return ["", "evidence: none, a person gave it"]
    lines = ["", "evidence:"]
    for claim in claims:
        article = cited.get(claim.article_id)
        source = (
            f"{article.publisher} (source {article.source}): {article.title}"
            if article
            else "(the article is gone)"
        )
        lines += [f"  {day(claim.as_of)}  {claim.kind}  {safe_text(source)}", f'      "{claim.sentence}"']
        if article and article.url:
            lines.append(f"      {article.url}")
    return lines


def belief_lines(belief: Belief | None) -> list[str]:
    if belief is None:
        return ["", "the model was not asked"]
    sure = f", {belief.logp:.2f} nats a token for the new answer" if math.isfinite(belief.logp) else ""
    lines = ["", f"the model's answer: {belief.majority or 'no majority'} ({belief.verdict}{sure})"]
    return lines + [
        f"  {p}  ->  {a or '(nothing)'}" for p, a in zip(belief.prompts, belief.answers, strict=True)
    ]
