"""When the gate refuses a batch: which facts to leave out so that the rest passes. Pure: whoever calls it compiles and verifies.

What a report names is left out first: the worst of the facts that are not told, and those that harm what else is known of their
subject (`gate.harmful_facts`). Where it names nobody the group is halved. But a report that names many, or nobody, is no evidence
against each of them, for one edit can spoil all others that are solved with it:

- the first such group is asked fact by fact, which is cheap (`alone`), and those that do harm even by themselves are left out;
- whoever such a report named gets another chance beside what was kept in the end, by halves, whatever reports say.

What is kept has always passed *together*. One culprit among n facts takes about 2 log2(n) trials where nobody is named, k of
them k times as many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from agent.types import Fact, FactKey, Report
from agent.verify.gate import GateSettings, failed_facts, harmful_facts

TryFacts = Callable[[Sequence[Fact]], Report]
# Of the facts given, those that do harm even by themselves.
TryAlone = Callable[[Sequence[Fact]], Collection[FactKey]]
# How many untold facts are left out at once, at least.
_FEW = 4
# The share of what was added from which on a report's names are no evidence.
_MANY = 0.25


@dataclass(frozen=True, slots=True)
class Bisection:
    """What a search ended with. `kept` passed together, and `report` says so (None if nothing was kept);
    `culprits` made it fail; `undecided` were not reached within the bound on trials.
    """

    kept: tuple[Fact, ...]
    culprits: tuple[Fact, ...]
    undecided: tuple[Fact, ...] = ()
    report: Report | None = None
    trials: int = 0


def bisect(
    facts: Sequence[Fact],
    try_: TryFacts,
    *,
    alone: TryAlone | None = None,
    max_trials: int = 32,
    settings: GateSettings | None = None,
) -> Bisection:
    """Find facts to leave out so that the rest passes, in `max_trials` trials at most. `try_(subset)` compiles and judges a subset, in the
    order of `facts`, by `settings`.

    Groups are added to what is kept already. A kept fact that a report names gives way to a group that outnumbers it.
    """
    search = _Search(facts, try_, alone, max_trials, settings)
    search.run([_Try(list(range(len(facts))))] if facts else [])
    search.run(search.second_chances())

    def chosen(indices: Collection[int]) -> tuple[Fact, ...]:
        return tuple(facts[i] for i in sorted(indices))

    culprits = set(search.culprits).difference(search.kept, search.undecided)
    return Bisection(
        chosen(search.kept), chosen(culprits), chosen(search.undecided), search.report, search.trials
    )


@dataclass(frozen=True, slots=True)
class _Try:
    """To be tried: `group` beside all that is kept, but for `without`. `blind`: whatever a report names, only halves count."""

    group: list[int]
    without: frozenset[int] = frozenset()
    blind: bool = False


@dataclass(slots=True)
class _Search:
    facts: Sequence[Fact]
    try_: TryFacts
    alone: TryAlone | None
    max_trials: int
    settings: GateSettings | None
    kept: list[int] = field(default_factory=list)
    culprits: list[int] = field(default_factory=list)
    suspects: list[int] = field(default_factory=list)
    undecided: list[int] = field(default_factory=list)
    report: Report | None = None
    trials: int = 0

    def run(self, todo: list[_Try]) -> None:
        while todo:
            task = todo.pop()
            if self.trials >= self.max_trials:
                self.undecided += task.group
                continue
            self.trials += 1
            base = [i for i in self.kept if i not in task.without]
            found = self.try_(tuple(self.facts[i] for i in sorted(base + task.group)))
            if found.passed:
                self.culprits += [i for i in self.kept if i in task.without]
                self.kept, self.report = base + task.group, found
            elif task.blind:
                todo += self._divided(task)
            else:
                todo += self._after(task, base, found)

    def second_chances(self) -> list[_Try]:
        """Those that were left out on the word of a report that named many."""
        group = sorted(set(self.suspects).difference(self.kept))
        if not group or self.trials >= self.max_trials:
            return []
        self.culprits = [i for i in self.culprits if i not in group]
        return _halves(group, blind=True)

    def _after(self, task: _Try, base: Sequence[int], report: Report) -> list[_Try]:
        """What to try after a refusal."""
        spoilt = self._is_spoilt(report, task.group)
        if spoilt and self.alone is not None:
            by_itself, self.alone = self.alone([self.facts[i] for i in task.group]), None
            if guilty := [i for i in task.group if self.facts[i].key in by_itself]:
                self.culprits += guilty
                left = [i for i in task.group if i not in guilty]
                return [_Try(left, task.without)] if left else []
        keys = {i: self.facts[i].key for i in sorted((*base, *task.group))}
        named = _named(report, keys, self.settings)
        if not named:
            return self._divided(task)
        dropped = [i for i in task.group if i in named]
        self.culprits += dropped
        self.suspects += dropped if spoilt else []
        left = [i for i in task.group if i not in named]
        without = task.without | {i for i in base if i in named}
        if len(left) <= len(without.intersection(self.kept)):
            self.culprits += left
            return []
        return [_Try(left, without)]

    def _divided(self, task: _Try) -> list[_Try]:
        """A group that was refused, in halves; who was alone is a culprit."""
        if len(task.group) == 1:
            self.culprits += task.group
            return []
        return _halves(task.group, blind=task.blind)

    def _is_spoilt(self, report: Report, group: Sequence[int]) -> bool:
        """Whether the failures are no evidence against those they name: too many are named, or none."""
        keys = [self.facts[i].key for i in group]
        bad = failed_facts(report).union(harmful_facts(report, keys, self.settings)).intersection(keys)
        return len(keys) > 1 and (not bad or len(bad) > _MANY * len(keys))


def _halves(group: list[int], *, blind: bool) -> list[_Try]:
    """The last is tried first: it has the first half."""
    middle = len(group) // 2
    return [_Try(half, blind=blind) for half in (group[middle:], group[:middle]) if half]


def _named(report: Report, keys: Mapping[int, FactKey], settings: GateSettings | None) -> list[int]:
    """The facts that a failing report names: the harmful ones, and of many untold ones only the half with most failures.

    A fact that cannot be written spoils others that are solved with it and take without it: those get another chance.
    """
    failed, counts = failed_facts(report), Counter(f.fact_key for f in report.failures)
    untold = sorted((i for i in keys if keys[i] in failed), key=lambda i: (-counts[keys[i]], i))
    harmful = harmful_facts(report, tuple(keys.values()), settings)
    worst = untold[: max(_FEW, (len(untold) + 1) // 2)]
    return worst + [i for i in keys if keys[i] in harmful and i not in worst]
