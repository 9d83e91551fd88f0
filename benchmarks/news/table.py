"""Tables of the extraction benchmark: by relation and kind for one extractor, side by side for several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

KINDS_COMPARED = ("state", "change", "future", "end")


def print_by_relation(totals: Mapping[str, Any], by_relation: Mapping[str, Mapping[str, Any]]) -> None:
    print(f"{'relation':<24}{'kind':<8}{'tp':>5}{'fp':>5}{'fn':>5}{'precision':>11}{'recall':>8}{'F1':>7}")
    for name, kinds in [*by_relation.items(), ("all", totals)]:
        for kind, m in kinds.items():
            counts = "".join(f"{int(m[key]):>5}" for key in ("tp", "fp", "fn"))
            print(f"{name:<24}{kind:<8}{counts}{m['precision']:>11.3f}{m['recall']:>8.3f}{m['f1']:>7.3f}")


def print_side_by_side(results: Sequence[Mapping[str, Any]]) -> None:
    """One line per extractor: tp/fp/fn, precision and recall of each kind, then found/of on KnowledgeNet."""
    rows = side_by_side(results)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def side_by_side(results: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The table as cells, the header first."""
    rows = [["extractor"], *([result["extractor"]] for result in results)]
    if all("totals" in result for result in results):
        rows[0] += [*KINDS_COMPARED, "items/s"]
        for row, result in zip(rows[1:], results, strict=True):
            row += [*(_cell(result["totals"][kind]) for kind in KINDS_COMPARED), f"{result['items_per_s']:g}"]
    for relation in dict.fromkeys(r for result in results for r in result.get("knowledgenet", {})):
        rows[0].append(relation)
        for row, result in zip(rows[1:], results, strict=True):
            found, of = result["knowledgenet"][relation]
            row.append(f"{found}/{of} {found / of:.3f}" if of else "0/0")
    return rows


def _cell(m: Mapping[str, float]) -> str:
    counts = "/".join(str(int(m[key])) for key in ("tp", "fp", "fn"))
    return f"{counts} P {m['precision']:.3f} R {m['recall']:.3f}"
