"""What `factd bench` measured, for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agent.cli.text import out, out_lines, plural, table

if TYPE_CHECKING:
    from agent.bench import BenchResult

_METRICS = {
    "efficacy": "edit prompts answered with the new fact",
    "paraphrase": "other phrasings answered with it",
    "locality": "answers that must not change, unchanged",
    "locality_truth": "answers that must not change, as the file has them",
    "portability": "what follows from the new fact",
}


def as_json(results: Sequence[BenchResult]) -> dict[str, Any]:
    """One run as it is; several as a list of such."""
    if len(results) == 1:
        return results[0].to_json()
    return {"version": 1, "runs": [result.to_json() for result in results]}


def show(results: Sequence[BenchResult]) -> None:
    """One run in full, several side by side."""
    if len(results) == 1:
        _show_one(results[0])
    else:
        _show_several(results)


def _show_one(result: BenchResult) -> None:
    chosen = result.settings
    how = f"{chosen['algorithm']}, {_how(result)}"
    layers = ", ".join(map(str, chosen["layers"]))
    out(f"{plural(result.edits, 'edit')} on {result.model} ({how}, layers {layers})")
    out()
    rows = [
        (name.replace("_", " "), _percent(result.before, name), _percent(result.metrics, name),
         result.counts.get("locality" if name == "locality_truth" else name, 0), what)
        for name, what in _METRICS.items()
        if name in result.metrics
    ]  # fmt: skip
    out_lines(table(("", "before", "after", "n", ""), rows))
    out()
    seconds, memory = result.seconds, result.memory_mib
    compiling = f"{seconds['compile']:.1f} s to compile, {seconds['per_edit']:.2f} s an edit"
    out(f"{compiling}, {seconds['total']:.1f} s in all")
    out(", ".join(f"{name.replace('_', ' ')} {value:.0f} MiB" for name, value in memory.items()))


def _show_several(results: Sequence[BenchResult]) -> None:
    """A row for each run. The base's shares are the same for all."""
    first = results[0]
    out(f"{plural(first.edits, 'edit')} on {first.model}; scored after all of them, by free generation")
    out()
    names = [name for name in _METRICS if name in first.metrics]
    rows = [("unedited", "", *(_percent(first.before, name) for name in names), "", "")]
    for result in results:
        shares = (_percent(result.metrics, name) for name in names)
        seconds = f"{result.seconds['compile']:.1f}", f"{result.seconds['per_edit']:.2f}"
        rows.append((result.settings["algorithm"], _how(result), *shares, *seconds))
    titles = (name.replace("_", " ") for name in names)
    out_lines(table(("", "mode", *titles, "s", "s an edit"), rows))


def _how(result: BenchResult) -> str:
    chosen = result.settings
    return str(chosen["mode"]) + (f" by {chosen['batch']}" if chosen["mode"] == "sequential" else "")


def _percent(shares: Any, name: str) -> str:
    return f"{shares[name]:.1%}" if name in shares else "-"
