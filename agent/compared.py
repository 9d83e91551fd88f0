"""What is different between two revisions. Pure: revisions and answers in, differences out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent.types import Asked, Fact, FactKey, Place, Revision


@dataclass(frozen=True, slots=True)
class Comparison:
    """`replaced`: (old, new) of one key. `moved`: (fact, from, to). `metrics`: before and after by name, NaN where one side lacks it;
    `norms` likewise, 0 where a side leaves that weight alone. `answers`: (prompt, first, second), of `asked` prompts that both were asked.
    """

    added: tuple[Fact, ...] = ()
    removed: tuple[Fact, ...] = ()
    replaced: tuple[tuple[Fact, Fact], ...] = ()
    moved: tuple[tuple[Fact, Place, Place], ...] = ()
    metrics: dict[str, tuple[float, float]] = field(default_factory=dict)
    norms: dict[str, tuple[float, float]] = field(default_factory=dict)
    answers: tuple[tuple[str, str, str], ...] = ()
    asked: int = 0


def compared(
    first: Revision, second: Revision, first_asked: Sequence[Asked] = (), second_asked: Sequence[Asked] = ()
) -> Comparison:
    """`..._asked`: the answers of either one's verification. The base (0) has none: it is asked before the other one."""
    said, later = _said(first, first_asked, second_asked), _said(second, second_asked, first_asked)
    common = [prompt for prompt in said if prompt in later]
    added, removed, replaced = _facts(first, second)
    return Comparison(
        added,
        removed,
        replaced,
        _moved(first, second),
        _sides(_metrics(first, second), _metrics(second, first), math.nan),
        _sides(_norms(first), _norms(second), 0.0),
        tuple((p, said[p], later[p]) for p in common if said[p] != later[p]),
        len(common),
    )


def _said(mine: Revision, asked: Sequence[Asked], other: Sequence[Asked]) -> dict[str, str]:
    """What a revision answered, by prompt."""
    if mine.id == 0:
        return {one.prompt: one.before for one in other}
    return {one.prompt: one.after for one in asked}


def _facts(
    first: Revision, second: Revision
) -> tuple[tuple[Fact, ...], tuple[Fact, ...], tuple[tuple[Fact, Fact], ...]]:
    """(added, removed, replaced): a key that has one object before and another one after was replaced."""
    was, now = _by_key(first), _by_key(second)
    added, removed, replaced = [], [], []
    for key in {**was, **now}:
        gone = [f for o, f in was.get(key, {}).items() if o not in now.get(key, {})]
        new = [f for o, f in now.get(key, {}).items() if o not in was.get(key, {})]
        if len(gone) == len(new) == 1:
            replaced.append((gone[0], new[0]))
        else:
            removed += gone
            added += new
    return tuple(added), tuple(removed), tuple(replaced)


def _by_key(revision: Revision) -> dict[FactKey, dict[str, Fact]]:
    found: dict[FactKey, dict[str, Fact]] = {}
    for fact in revision.facts:
        found.setdefault(fact.key, {})[fact.object] = fact
    return found


def _moved(first: Revision, second: Revision) -> tuple[tuple[Fact, Place, Place], ...]:
    was, now = _places(first), _places(second)
    return tuple(
        (fact, was[told], now[told])
        for fact in second.facts
        if (told := (*fact.key, fact.object)) in was and was[told] != now[told]
    )


def _places(revision: Revision) -> dict[tuple[str, str, str], Place]:
    return {
        (*fact.key, fact.object): "overlay" if fact in revision.overlay else "weights"
        for fact in revision.facts
    }


def _metrics(mine: Revision, other: Revision) -> dict[str, float]:
    """Those of the base are what the other one's verification found before."""
    if mine.id == 0:
        return {} if other.report is None else dict(other.report.before)
    return {} if mine.report is None else dict(mine.report.after)


def _norms(revision: Revision) -> dict[str, float]:
    return {} if revision.report is None else dict(revision.report.norms)


def _sides(
    first: Mapping[str, float], second: Mapping[str, float], absent: float
) -> dict[str, tuple[float, float]]:
    return {name: (first.get(name, absent), second.get(name, absent)) for name in {**first, **second}}
