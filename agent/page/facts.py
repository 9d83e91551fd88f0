"""The answers of a report sorted by what they are about: the revision's facts, other subjects, relations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agent.page.inputs import Member
from agent.types import Asked, FactKey, Report

_KINDS = (
    "efficacy", "paraphrase", "question", "chat", "overlay", "portability", "inverse", "same_subject",
    "same_relation", "canary",
)  # fmt: skip
# What must stay as it was.
GUARDS = frozenset({"same_subject", "same_relation", "canary"})
# Asked to know, not to judge: no editor of this kind carries a fact on to what follows from it.
REPORTED = frozenset({"inverse", "portability"})
FORWARD = ("efficacy", "paraphrase", "question", "overlay")
_SHOWN_BY = ("question", "overlay", "paraphrase", "chat", "efficacy")


@dataclass(frozen=True, slots=True)
class Cell:
    """Of `n` probes of a kind `good` went as they should: answered right, or for guards kept."""

    kind: str
    good: int
    n: int

    @property
    def level(self) -> str:
        return "none" if self.n == 0 else "all" if self.good == self.n else "some" if self.good else "no"


@dataclass(frozen=True, slots=True)
class FactRow:
    """A fact with what was asked of it. `old` and `new` are the answers before and after to `prompt`; `told` is None where it was
    not asked. `cells` are in the order of the page's kinds, one for each.
    """

    subject: str
    relation: str
    object: str
    old: str
    new: str
    prompt: str
    right: bool | None
    told: bool | None
    place: str
    note: str
    proposal: int
    valid_from: str
    publishers: tuple[str, ...]
    cells: tuple[Cell, ...]
    asked: tuple[Asked, ...]

    @property
    def wrong(self) -> int:
        """How many of its probes did not go as they should, without those that are only reported."""
        return sum(cell.n - cell.good for cell in self.cells if cell.kind not in REPORTED)


@dataclass(frozen=True, slots=True)
class Share:
    """The share of prompts about a relation's facts that were answered right."""

    relation: str
    n: int
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Others:
    """The answers of one kind that belong to no fact of the revision, with lost ones first."""

    kind: str
    cell: Cell
    asked: tuple[Asked, ...]


def kinds_of(asked: Iterable[Asked]) -> tuple[str, ...]:
    """The kinds of probes there are, known ones first."""
    return tuple(sorted({a.kind for a in asked}, key=kind_place))


def kind_place(kind: str) -> tuple[int, str]:
    return (_KINDS.index(kind) if kind in _KINDS else len(_KINDS), kind)


@dataclass(frozen=True, slots=True)
class Judge:
    """How answers are counted. Guards count where the model knew the answer before: where it guessed, another guess is no
    damage. A model that knew none of them is held to all (`guessed`).
    """

    guessed: bool

    @classmethod
    def of(cls, report: Report) -> Judge:
        return cls(not any(a.was_right for a in report.asked if a.kind in GUARDS))

    def cell(self, kind: str, asked: Iterable[Asked]) -> Cell:
        found = [a for a in asked if a.kind == kind and self.counts(a)]
        return Cell(kind, sum(map(self.good, found)), len(found))

    def counts(self, asked: Asked) -> bool:
        return asked.kind not in GUARDS or asked.was_right or self.guessed

    def good(self, asked: Asked) -> bool:
        return asked.kept if asked.kind in GUARDS else asked.right


@dataclass(frozen=True, slots=True)
class _Sorted:
    """Answers by what they belong to: a fact, the surroundings of a subject that has facts, neither."""

    mine: dict[FactKey, list[Asked]]
    near: dict[str, list[Asked]]
    rest: list[Asked]

    @classmethod
    def of(cls, report: Report, members: Sequence[Member]) -> _Sorted:
        found = cls({m.fact.key: [] for m in members}, {m.fact.subject: [] for m in members}, [])
        for asked in report.asked:
            if asked.kind == "same_subject" and asked.fact_key[0] in found.near:
                found.near[asked.fact_key[0]].append(asked)
            elif asked.kind not in GUARDS and asked.fact_key in found.mine:
                found.mine[asked.fact_key].append(asked)
            else:
                found.rest.append(asked)
        return found


def fact_rows(report: Report, members: Sequence[Member]) -> tuple[FactRow, ...]:
    """The revision's facts by subject and relation."""
    answers = _Sorted.of(report, members)
    kinds = kinds_of(a for found in (*answers.mine.values(), *answers.near.values()) for a in found)
    untold = {failure.fact_key for failure in report.failures if failure.kind == "fact"}
    judge = Judge.of(report)
    rows = []
    for member in sorted(members, key=lambda m: (*m.fact.key, m.fact.object, m.proposal)):
        asked_here = sorted(
            (*answers.mine[member.fact.key], *answers.near[member.fact.subject]),
            key=lambda a: kind_place(a.kind),
        )
        cells = tuple(judge.cell(kind, asked_here) for kind in kinds)
        rows.append(_row(member, asked_here, cells, untold))
    return tuple(rows)


def others(report: Report, members: Sequence[Member]) -> tuple[Others, ...]:
    """What was asked besides: about subjects without a fact, and what the weights must still say."""
    rest, judge = _Sorted.of(report, members).rest, Judge.of(report)
    return tuple(
        Others(
            kind,
            judge.cell(kind, rest),
            tuple(sorted((a for a in rest if a.kind == kind), key=lambda a: (a.kept, a.fact_key))),
        )
        for kind in kinds_of(rest)
    )


def by_relation(report: Report, members: Sequence[Member]) -> tuple[Share, ...]:
    """Of the revision's own facts, asked forward, by relation; those of the overlay as they are served."""
    keys = {m.fact.key for m in members}
    found: dict[str, list[Asked]] = {}
    for asked in report.asked:
        if asked.fact_key in keys and asked.kind in FORWARD:
            found.setdefault(asked.fact_key[1], []).append(asked)
    return tuple(
        Share(
            name,
            len(all_),
            sum(a.was_right for a in all_) / len(all_),
            sum(a.right for a in all_) / len(all_),
        )
        for name, all_ in sorted(found.items())
    )


def _row(member: Member, asked: Sequence[Asked], cells: tuple[Cell, ...], untold: set[FactKey]) -> FactRow:
    fact = member.fact
    by_kind = {kind: [a for a in asked if a.kind == kind and a.fact_key == fact.key] for kind in _SHOWN_BY}
    shown = next((_question(by_kind[kind]) for kind in _SHOWN_BY if by_kind[kind]), None)
    return FactRow(
        subject=fact.subject,
        relation=fact.relation,
        object=fact.object,
        old=shown.before if shown else member.said,
        new=shown.after if shown else fact.object,
        prompt=shown.prompt if shown else "",
        right=shown.right if shown else None,
        told=None if not by_kind["efficacy"] else fact.key not in untold,
        place=member.place,
        note=member.note,
        proposal=member.proposal,
        valid_from=f"{fact.valid_from:%Y-%m-%d}",
        publishers=fact.publishers,
        cells=cells,
        asked=tuple(asked),
    )


def _question(asked: Sequence[Asked]) -> Asked:
    """The first question, else the first of all."""
    return next((a for a in asked if a.prompt.endswith("?")), asked[0])
