"""The comparison as Markdown. What a process found is a dict of `job.outcome`, or `{"failed": why}`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.edits import CHANGED, KEPT

SIDES = {
    "easyedit": "EasyEdit",
    "same": "factd, same settings",
    "quick": "factd, quick",
    "shipped": "factd, as shipped",
}
TITLES = {"rome": "ROME", "memit": "MEMIT", "alphaedit": "AlphaEdit"}
Found = Mapping[str, Any]
Results = Mapping[str, Mapping[str, Found]]  # by task, by side


def number(value: float | None) -> str:
    """Three figures without an exponent: 0.0123, 1.23, 12.3, 1234. A dash for nothing."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    text = f"{value:.3g}"
    return text if "e" not in text else f"{value:.6f}" if abs(value) < 1 else f"{value:.0f}"


def ratio(theirs: float | None, ours: float | None) -> str:
    """How many times less ours takes: `2.5x`. Below one ours takes more."""
    if not theirs or not ours:
        return "-"
    return f"{number(theirs / ours)}x"


def costs(results: Results, edits: int) -> str:
    """Time and memory, a row for each measure; beside each of our columns how many times less it is than the peer's."""
    rows: list[tuple[str, str, Callable[[Found], float]]] = []
    for task in results:
        if task == "statistics":
            layers = next((len(f["traces"]) for f in results[task].values() if "traces" in f), 0)
            rows.append((task, f"covariance of {layers} layers, s", _seconds))
        elif task == "rome":
            rows.append((task, "ROME, s per edit (median)", _seconds))
        else:
            rows.append((task, f"{TITLES[task]}, {edits} edits at once, s", _seconds))
            rows.append((task, f"{TITLES[task]}, s per edit", lambda found: _seconds(found) / edits))
    rows += [
        (task, f"{TITLES.get(task, 'covariance')}, peak above the model, MiB", _above) for task in results
    ]
    rows += [(task, f"{TITLES.get(task, 'covariance')}, peak in all, MiB", _peak) for task in results]
    sides = [side for side in SIDES if any(side in found for found in results.values())]
    heads = ["", *(h for side in sides for h in _heads(side, "easyedit" in sides))]
    return _markdown(heads, [[title, *_cells(results[task], sides, value)] for task, title, value in rows])


def quality(results: Results) -> str:
    """Scores after all edits, a row for each method and side; empty where nothing was asked."""
    rows = []
    for task, sides in results.items():
        for side, found in sides.items():
            if scores := found.get("quality"):
                rows.append([TITLES[task], SIDES[side], *(f"{scores[k]:.3f}" for k in (*CHANGED, *KEPT))])
            elif "failed" in found and task in TITLES:
                rows.append([TITLES[task], SIDES[side], "failed", *[""] * 4])
    if all(row[2] == "failed" for row in rows):
        return ""
    heads = ["", "", "efficacy", "paraphrase", "questions", "same subject", "other subjects"]
    return _markdown(heads, rows)


def failures(results: Results) -> str:
    """One line for each measurement that came to nothing."""
    return "\n".join(
        f"{TITLES.get(task, task)}, {SIDES[side]}: {found['failed']}"
        for task, sides in results.items()
        for side, found in sides.items()
        if "failed" in found
    )


def tried(rows: Sequence[Found]) -> str:
    """Hyperparameters that were tried, best efficacy and paraphrase first."""
    heads = ["", "changed", "efficacy", "paraphrase", "questions", "same subject", "other subjects"]
    return _markdown(
        heads,
        [
            [
                TITLES[row["method"]],
                " ".join(f"{name}={value}" for name, value in row["changes"].items()),
                *(f"{row['quality'][k]:.3f}" for k in (*CHANGED, *KEPT)),
            ]
            for method in TITLES
            for row in sorted((r for r in rows if r["method"] == method), key=goodness, reverse=True)
        ],
    )


def goodness(row: Found) -> tuple[float, float]:
    """What hyperparameters are chosen by: efficacy and paraphrase, and among equals what stays as it was."""
    found = row["quality"]
    return found["efficacy"] + found["paraphrase"], found["same_subject"] + found["others"]


def _heads(side: str, compared: bool) -> list[str]:
    return [SIDES[side], "less"] if compared and side != "easyedit" else [SIDES[side]]


def _cells(found: Mapping[str, Found], sides: Sequence[str], value: Callable[[Found], float]) -> list[str]:
    values = {side: value(f) if "failed" not in f else None for side, f in found.items()}
    cells = []
    for side in sides:
        cells.append("failed" if side in values and values[side] is None else number(values.get(side)))
        if side != "easyedit" and "easyedit" in sides:
            cells.append(ratio(values.get("easyedit"), values.get(side)))
    return cells


def _seconds(found: Found) -> float:
    return float(median(found["seconds"]))


def _above(found: Found) -> float:
    return float(found["above_mib"])


def _peak(found: Found) -> float:
    return float(found["peak_mib"])


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
