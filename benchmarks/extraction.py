"""Precision and recall of extraction on labelled news items.

    python -m benchmarks.extraction --items ITEMS.jsonl --labels LABELS.jsonl --json OUT [--pipeline NAME]
    [--catalogue PATH]

An item has id, publisher, published, title, summary, link; its labels are facts {relation, subject, object,
kind, explicit}. A claim is right when relation, kind, subject and object agree with an explicit fact. A
labelled fact that the text alone does not give (`explicit: false`) counts neither for nor against a claim.
`totals` leaves out `owner` and `other:*`; claims of relations that the labels do not know (founder,
capital...) are not judged.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from agent.catalogue import load_catalogue
from agent.ner.claims import Reader, make_reader
from agent.ner.linking import Linker
from agent.ner.load import load_nlp
from agent.ner.names import fold, same_person, strip_legal
from agent.relations import load_relations
from agent.types import Article, Claim
from benchmarks.measures import measures

ROOT = Path(__file__).parent.parent
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
_GENERIC_ENDS = {"group", "holdings", "holding", "corporation", "international"}
Errors = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Labelled:
    """One labelled fact of one item."""

    relation: str
    subject: str
    object: str
    kind: str
    explicit: bool


def read_items(path: Path) -> Iterator[Article]:
    """Items as articles, in file order."""
    for line in path.read_text(encoding="utf-8").splitlines():
        item: dict[str, Any] = json.loads(line)
        at = _when(str(item.get("published") or ""))
        yield Article(
            id=str(item["id"]),
            source=str(path),
            publisher=str(item.get("publisher", "")),
            url=str(item.get("link", "")),
            title=str(item.get("title") or ""),
            text=str(item.get("summary") or ""),
            published_at=at,
            fetched_at=at,
            sha256="",
        )


def _when(text: str) -> datetime:
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        at = datetime.fromisoformat(text) if text else datetime(1970, 1, 1, tzinfo=UTC)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def read_labels(path: Path) -> dict[str, list[Labelled]]:
    """Labelled facts by item id."""
    labels: dict[str, list[Labelled]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        labels[str(row["id"])] = [
            Labelled(f["relation"], f["subject"], f["object"], f["kind"], bool(f.get("explicit", True)))
            for f in row["facts"]
        ]
    return labels


def same_subject(a: str, b: str, linker: Linker, relation: str) -> bool:
    """Equal after aliases, demonyms, case, accents, legal endings; "IMO" equals the name it abbreviates."""
    left, right = (_canonical(x, linker, relation) for x in (a, b))
    return left == right or _initials(a) == right.replace(" ", "") or _initials(b) == left.replace(" ", "")


def _canonical(name: str, linker: Linker, relation: str) -> str:
    bare = strip_legal(re.sub(r"\s*\([^)]*\)$", "", name))
    found = {r.name for r in linker.readings(bare)}
    resolved = found.pop() if len(found) == 1 else bare
    if relation == "central_bank_governor":
        resolved = linker.central_banks.get(
            resolved,
            f"Central Bank of {resolved}"
            if any(r.kind == "country" for r in linker.readings(bare))
            else resolved,
        )
    words = fold(resolved.replace("St. Louis Fed", "Federal Reserve Bank of St. Louis")).split()
    while len(words) > 1 and words[-1] in _GENERIC_ENDS:
        words = words[:-1]
    return " ".join(words)


def _initials(name: str) -> str:
    words = [w for w in re.findall(r"[^\W_]+", name) if w[0].isupper()]
    return "".join(w[0] for w in words).casefold() if len(words) > 1 else "-"


def agrees(claim: Claim, fact: Labelled, linker: Linker) -> bool:
    """Same relation, subject and object; the kind is compared elsewhere."""
    if claim.relation != fact.relation or not same_subject(
        claim.subject, fact.subject, linker, claim.relation
    ):
        return False
    if claim.relation in ("headquarters", "owner"):
        return same_subject(claim.object, fact.object, linker, claim.relation)
    return same_person(claim.object, fact.object)


def judge(
    articles: Iterable[Article],
    labels: Mapping[str, list[Labelled]],
    reader: Reader,
    core: tuple[str, ...] = CORE,
) -> tuple[Counter[tuple[str, str, str]], Errors, float]:
    """Counts by (relation, kind, tp|fp|fn), every error, and the seconds that reading took."""
    counts: Counter[tuple[str, str, str]] = Counter()
    errors: Errors = []
    items = list(articles)
    started = time.perf_counter()
    found = list(reader.read_many(items))
    seconds = time.perf_counter() - started
    for article, claims in zip(items, found, strict=True):
        facts = labels.get(article.id, [])
        _judge_item(
            article, [c for c in claims if c.relation in core], facts, reader.linker, core, counts, errors
        )
    return counts, errors, seconds


def _judge_item(
    article: Article,
    claims: list[Claim],
    facts: list[Labelled],
    linker: Linker,
    core: tuple[str, ...],
    counts: Counter[tuple[str, str, str]],
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
    counts: Counter[tuple[str, str, str]],
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


def _print(
    totals: Mapping[str, Mapping[str, float]], by_relation: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> None:
    print(f"{'relation':<24}{'kind':<8}{'tp':>5}{'fp':>5}{'fn':>5}{'precision':>11}{'recall':>8}{'F1':>7}")
    for name, kinds in [*by_relation.items(), ("all", totals)]:
        for kind, m in kinds.items():
            counts = "".join(f"{int(m[key]):>5}" for key in ("tp", "fp", "fn"))
            print(f"{name:<24}{kind:<8}{counts}{m['precision']:>11.3f}{m['recall']:>8.3f}{m['f1']:>7.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--json", type=Path, help="write totals, figures by relation and every error there")
    parser.add_argument(
        "--pipeline", default=None, help="a spaCy package or folder; the one factd would use by default"
    )
    parser.add_argument("--catalogue", type=Path, nargs="+", default=[ROOT / "agent" / "demo" / "world"])
    parser.add_argument("--relations", type=Path, default=ROOT / "configs" / "relations.yaml")
    parser.add_argument("--errors", action="store_true", help="print every error too")
    arguments = parser.parse_args()
    nlp = load_nlp(arguments.pipeline)
    reader = make_reader(nlp, load_catalogue(arguments.catalogue), load_relations(arguments.relations))
    articles = list(read_items(arguments.items))
    counts, errors, seconds = judge(articles, read_labels(arguments.labels), reader)
    totals, by_relation = summary(counts)
    _print(totals, by_relation)
    wrong_state = sum(
        e["error"] == "fp" and e["kind"] == "state" and e["labelled"] in KINDS[1:] for e in errors
    )
    rate = len(articles) / max(seconds, 1e-9)
    print(
        f"{len(articles)} items, {rate:.0f} a second; {wrong_state} of another kind reported as state; "
        f"pipeline {nlp.meta['name']}"
    )
    if arguments.errors:
        for e in errors:
            print(
                f"{e['error']} {e['relation']} | {e['subject']} | {e['object']} | {e['kind']} "
                f"({e['labelled']}) | {e['title']} | {e['sentence']}"
            )
    if arguments.json:
        result = {
            "totals": totals,
            "relations": by_relation,
            "errors": errors,
            "items": len(articles),
            "items_per_s": round(rate, 1),
            "not_state_as_state": wrong_state,
            "pipeline": nlp.meta["name"],
        }
        arguments.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
