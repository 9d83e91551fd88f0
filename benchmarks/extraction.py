"""Precision and recall of extraction on labelled news items, of one extractor or of several side by side.

    python -m benchmarks.extraction --items ITEMS.jsonl --labels LABELS.jsonl --json OUT [--pipeline NAME]
        [--extractor rules llm both --endpoint URL --model NAME] [--catalogue PATH...]
    python -m benchmarks.extraction --items ... --labels ... --compare embedded en_core_web_sm FOLDER
    python -m benchmarks.extraction --knowledgenet DIR [--compare ...]

What counts as right: `benchmarks.news.judge`; recall on other prose: `benchmarks.news.knowledgenet`. `--extractor`
llm and both ask a language model behind an OpenAI-compatible endpoint, one request for each item.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agent.catalogue import load_catalogue
from agent.errors import FactdError
from agent.paths import MORE, WORLD
from agent.relations import load_relations
from agent.settings import ExtractorSettings
from benchmarks.news.extractors import Extraction, Extractor, extract, make_extractor
from benchmarks.news.judge import judge, summary, wrong_states
from benchmarks.news.knowledgenet import read_knowledgenet, recall
from benchmarks.news.labels import read_items, read_labels
from benchmarks.news.table import print_by_relation, print_side_by_side

ROOT = Path(__file__).parent.parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where the settings, the data or a pipeline cannot be used."""
    given = _arguments(arguments)
    try:
        results = [_measure(extractor, given) for extractor in _extractors(given)]
    except FactdError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    _show(results, given)
    if given.json:
        document = results if len(results) > 1 else results[0]
        given.json.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def _extractors(given: argparse.Namespace) -> Iterator[Extractor]:
    """Every pipeline with every kind of extractor; the model alone needs no pipeline, so it comes once. Raises
    FactdError."""
    catalogue, relations = load_catalogue(given.catalogue), load_relations(given.relations)
    pipelines = given.compare or [given.pipeline]
    for kind in given.extractor:
        settings = ExtractorSettings(
            kind=kind, url=given.endpoint, model=given.model, key_variable=given.key_variable,
            timeout_s=given.timeout_s,
        )  # fmt: skip
        for name in pipelines[:1] if kind == "llm" else pipelines:
            yield make_extractor(name, settings, catalogue, relations)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--knowledgenet", type=Path, metavar="DIR", help="recall on KnowledgeNet's passages")
    parser.add_argument("--json", type=Path, help="write totals, figures by relation and every error there")
    parser.add_argument(
        "--pipeline", help='a spaCy package or folder, or "embedded"; else the one factd would use'
    )
    parser.add_argument("--compare", nargs="+", metavar="NAME", help="several pipelines, in one table")
    parser.add_argument(
        "--extractor", nargs="+", choices=("rules", "llm", "both"), default=["rules"], help="one or several"
    )
    parser.add_argument(
        "--endpoint", default=ExtractorSettings().url, help="the part before /chat/completions"
    )
    parser.add_argument("--model", default="", help="the model's name at that endpoint")
    parser.add_argument(
        "--key-variable", default="", help="environment variable that holds the endpoint's key"
    )
    parser.add_argument("--timeout-s", type=float, default=ExtractorSettings().timeout_s)
    parser.add_argument(
        "--catalogue",
        type=Path,
        nargs="+",
        default=[WORLD, MORE],
        help="catalogue files, in place of the shipped",
    )
    parser.add_argument("--relations", type=Path, default=ROOT / "configs" / "relations.yaml")
    parser.add_argument("--errors", action="store_true", help="print every error too")
    given = parser.parse_args(arguments)
    if bool(given.items) != bool(given.labels) or not (given.items or given.knowledgenet):
        parser.error("give --items with --labels, or --knowledgenet, or all three")
    return given


def _measure(extractor: Extractor, given: argparse.Namespace) -> dict[str, Any]:
    """All figures of one extractor."""
    result: dict[str, Any] = {"extractor": extractor.name}
    if given.items:
        articles = list(read_items(given.items))
        found = extract(extractor, articles)
        counts, errors = judge(articles, found.claims, read_labels(given.labels), extractor.linker)
        totals, by_relation = summary(counts)
        result |= {
            "totals": totals,
            "relations": by_relation,
            "errors": errors,
            "items": len(articles),
            "items_per_s": round(len(articles) / max(found.seconds, 1e-9), 1),
            "not_state_as_state": wrong_states(errors),
            **_of_the_model(found),
        }
    if given.knowledgenet:
        passages, facts = read_knowledgenet(given.knowledgenet)
        claims = extract(extractor, passages).claims
        by_passage = {p.id: c for p, c in zip(passages, claims, strict=True)}
        result["knowledgenet"] = recall(by_passage, facts, extractor.linker)
    return result


def _of_the_model(found: Extraction) -> dict[str, Any]:
    return {"failed": list(found.failed), "dropped": dict(found.dropped or {})}


def _show(results: Sequence[dict[str, Any]], given: argparse.Namespace) -> None:
    if given.items and len(results) == 1:
        print_by_relation(results[0]["totals"], results[0]["relations"])
    if given.knowledgenet or len(results) > 1:
        print_side_by_side(results)
    for result in results if given.items else []:
        print(
            f"{result['extractor']}: {result['items']} items, {result['items_per_s']:.0f} a second; "
            f"{result['not_state_as_state']} of another kind reported as state"
        )
        if result["failed"] or result["dropped"]:
            print(f"  no answer to {len(result['failed'])} items; dropped: {result['dropped']}")
        for e in result["errors"] if given.errors else []:
            print(
                f"{e['error']} {e['relation']} | {e['subject']} | {e['object']} | {e['kind']} "
                f"({e['labelled']}) | {e['title']} | {e['sentence']}"
            )


if __name__ == "__main__":
    sys.exit(main())
