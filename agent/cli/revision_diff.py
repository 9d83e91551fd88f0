"""`factd revisions diff`: two revisions side by side, without the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from agent.cli.revision_show import figure
from agent.cli.session import session
from agent.cli.text import emit, out_lines, plural, table
from agent.cli.views import fact_record, number
from agent.compared import Comparison, compared
from agent.store import published
from agent.types import Fact
from agent.verify.answers import clause

_SHOWN = 40


def diff(
    ctx: typer.Context,
    first: Annotated[int, typer.Argument(metavar="A", help="A revision; 0 is the base model.")],
    second: Annotated[int, typer.Argument(metavar="B", help="Another one.")],
    json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Compare two revisions: facts, metrics, edited weights, and answers that differ.

    Answers and metrics are those of either one's verification; those of the base are what was asked before.
    """
    with session(ctx).reading() as store, store.reading():
        both = published.get(store, first), published.get(store, second)
        asked = published.answers(store, first), published.answers(store, second)
    found = compared(*both, *asked)
    if json:
        emit({"first": first, "second": second, **_record(found)})
        return
    lines = list(_fact_lines(found))
    out_lines(lines or ["the same facts in the same places"])
    if found.metrics:
        rows = [
            (name.replace("_", " "), figure(a), figure(b), _change(a, b))
            for name, (a, b) in found.metrics.items()
        ]
        out_lines(["", *table(("metric", f"in {first}", f"in {second}", "change"), rows)])
    if found.norms:
        weights = [(name, f"{a:.4g}", f"{b:.4g}") for name, (a, b) in found.norms.items()]
        out_lines(["", *table(("update / weight", f"in {first}", f"in {second}"), weights)])
    out_lines(_answer_lines(found, first, second))


def _told(fact: Fact) -> str:
    return f"{fact.subject}, {fact.relation}: "


def _fact_lines(found: Comparison) -> Iterator[str]:
    yield from (f"+ {_told(fact)}{fact.object}" for fact in found.added)
    yield from (f"- {_told(fact)}{fact.object}" for fact in found.removed)
    yield from (f"~ {_told(old)}{old.object} -> {new.object}" for old, new in found.replaced)
    yield from (f"> {_told(fact)}{fact.object}, {was} -> {now}" for fact, was, now in found.moved)


def _change(first: float, second: float) -> str:
    change = second - first
    return "" if change != change else f"{change:+.3f}"


def _answer_lines(found: Comparison, first: int, second: int) -> Iterator[str]:
    yield ""
    if not found.asked:
        yield "no answers to compare: no question was kept that both were asked"
        return
    clauses = [(prompt, clause(a), clause(b)) for prompt, a, b in found.answers]
    differing = [row for row in clauses if row[1] != row[2]]
    later = len(clauses) - len(differing)
    yield f"{len(differing)} of {plural(found.asked, 'answer')} differ" + (
        f", and {later} only behind the first clause" if later else ""
    )
    rows = [(prompt, a or "(nothing)", b or "(nothing)") for prompt, a, b in differing[:_SHOWN]]
    if rows:
        yield from table(("asked", f"revision {first}", f"revision {second}"), rows)
    if len(differing) > _SHOWN:
        yield f"and {len(differing) - _SHOWN} more; --json has all of them, in full"


def _record(found: Comparison) -> dict[str, Any]:
    return {
        "added": [fact_record(fact) for fact in found.added],
        "removed": [fact_record(fact) for fact in found.removed],
        "replaced": [{"old": fact_record(old), "new": fact_record(new)} for old, new in found.replaced],
        "moved": [{**fact_record(fact), "from": was, "to": now} for fact, was, now in found.moved],
        "metrics": {name: [number(a), number(b)] for name, (a, b) in found.metrics.items()},
        "norms": {name: [number(a), number(b)] for name, (a, b) in found.norms.items()},
        "asked": found.asked,
        "answers": [{"prompt": p, "first": a, "second": b} for p, a, b in found.answers],
    }
