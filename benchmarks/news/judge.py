"""Claims against labels: what is right, what is wrong and what is missed.

A claim is right when relation, kind, subject and object agree with an explicit fact. A labelled fact that the text
alone does not give (`explicit: false`) counts neither for nor against a claim. Claims of relations that are not in
`core` are not judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from agent.ner.linking import Linker
from agent.types import Article, Claim
from benchmarks.measures import measures
from benchmarks.news.labels import Labelled, agrees

CORE = (
    "head_of_state",
    "head_of_government",
    "foreign_minister",
    "finance_minister",
    "defense_minister",
    "central_bank_governor",
    "ceo",
    "chairperson",
    "cfo",
    "head_of_organisation",
    "subnational_head",
    "head_coach",
    "headquarters",
)
KINDS = ("state", "change", "future", "end", "acting", "hedged")
Errors = list[dict[str, str]]
Counts = Counter[tuple[str, str, str]]


def judge(
    articles: Iterable[Article],
    found: Iterable[Iterable[Claim]],
    labels: Mapping[str, list[Labelled]],
    linker: Linker,
    core: tuple[str, ...] = CORE,
) -> tuple[Counts, Errors]:
    """Counts by (relation, kind, tp|fp|fn), and every error. `found` holds the claims of each article."""
    counts: Counts = Counter()
    errors: Errors = []
    for article, claims in zip(articles, found, strict=True):
        facts = labels.get(article.id, [])
        _judge_item(article, [c for c in claims if c.relation in core], facts, linker, core, counts, errors)
    return counts, errors


def wrong_states(errors: Errors) -> int:
    """How many claims of another kind were reported as a state."""
    return sum(e["error"] == "fp" and e["kind"] == "state" and e["labelled"] in KINDS[1:] for e in errors)


def _judge_item(
    article: Article,
    claims: list[Claim],
    facts: list[Labelled],
    linker: Linker,
    core: tuple[str, ...],
    counts: Counts,
    errors: Errors,
) -> None:
    hit: set[int] = set()
    for claim in claims:
        matches = [n for n, f in enumerate(facts) if agrees(claim, f, linker)]
        right = [n for n in matches if facts[n].kind == claim.kind]
        if not right:
            counts[claim.relation, claim.kind, "fp"] += 1
            labelled = ", ".join(sorted({facts[n].kind for n in matches})) or "no such fact"
            errors.append(
                _error(
                    "fp",
                    article,
                    claim.relation,
                    claim.subject,
                    claim.object,
                    claim.kind,
                    labelled,
                    claim.sentence,
                )
            )
        new = [n for n in right if facts[n].explicit and n not in hit]
        if new:
            counts[claim.relation, claim.kind, "tp"] += 1
            hit.add(new[0])
    for number, fact in enumerate(facts):
        if fact.explicit and number not in hit and fact.relation in core:
            counts[fact.relation, fact.kind, "fn"] += 1
            errors.append(
                _error("fn", article, fact.relation, fact.subject, fact.object, fact.kind, "missed", "")
            )


def _error(what: str, article: Article, *parts: str) -> dict[str, str]:
    names = ("relation", "subject", "object", "kind", "labelled", "sentence")
    return {"error": what, "id": article.id, "title": article.title, **dict(zip(names, parts, strict=True))}


def summary(
    counts: Counts,
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, dict[str, float]]]]:
    """Totals by kind, and the same by relation and kind."""
    relations = sorted({r for r, _, _ in counts})
    by_relation = {
        r: {
            k: measures(*(counts[r, k, w] for w in ("tp", "fp", "fn")))
            for k in KINDS
            if any(counts[r, k, w] for w in ("tp", "fp", "fn"))
        }
        for r in relations
    }
    totals = {
        k: measures(*(sum(counts[r, k, w] for r in relations) for w in ("tp", "fp", "fn"))) for k in KINDS
    }
    return totals, by_relation
