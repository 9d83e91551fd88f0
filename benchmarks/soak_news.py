"""The news of a soak: true changes told by several papers, false ones told by whoever tells such, and everyday items between. Pure.

Everything is drawn beforehand from a seed: which item stands in which feed from which hour on, in which wordings, and what is wrong with its date.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from benchmarks.soak_words import FALSE, TRUE, everyday, told

Dated = Literal["right", "missing", "1970", "2099", "years ago"]
Key = tuple[str, str]
PAPERS = ("herald", "tribune", "gazette", "courier", "observer", "chronicle", "examiner", "bulletin")
LIAR = "gusher"
# Hours by which a paper's clock is off.
OFF_H: Mapping[str, float] = {"examiner": 5.0, "bulletin": -20.0}
_PUNCTUAL = tuple(paper for paper in PAPERS if paper not in OFF_H)
_ODD_DATES: tuple[Dated, ...] = ("missing", "1970", "2099")


@dataclass(frozen=True, slots=True)
class Topic:
    """What may change: `subjects` of one relation with what holds of each at first, and `objects`, other names that could hold."""

    relation: str
    subjects: Mapping[str, str]
    objects: Sequence[str]


@dataclass(frozen=True, slots=True)
class Change:
    """From `at_h` on `object` holds; `known_h` is when the second paper has told it."""

    key: Key
    object: str
    at_h: float
    known_h: float


@dataclass(frozen=True, slots=True)
class Story:
    """An item of `feed` from `at_h` on. `wordings`: texts, each from an hour on; what comes later is a correction. `sort`: for the table."""

    feed: str
    guid: str
    at_h: float
    title: str
    wordings: tuple[tuple[float, str], ...]
    sort: str
    dated: Dated = "right"
    doubled: bool = False

    def text(self, at_h: float) -> str:
        """Its wording at an hour."""
        return [text for since_h, text in self.wordings if since_h <= at_h or since_h == self.at_h][-1]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of what. `twice`: changes of facts that changed before; `each`: false stories of each sort; `filler_h`: between two
    everyday items of a feed.
    """

    hours: float = 2000.0
    seed: int = 0
    changes: int = 20
    twice: int = 4
    batches: int = 10
    each: int = 3
    sections: int = 3
    doomed: int = 3
    filler_h: float = 15.0
    spread_h: float = 12.0


@dataclass(frozen=True, slots=True)
class News:
    """`feeds`: name -> paper. `gone_h`: for those that end, when. `stories` by feed, in the order in which they appear."""

    feeds: Mapping[str, str]
    gone_h: Mapping[str, float]
    stories: Mapping[str, tuple[Story, ...]]
    changes: tuple[Change, ...]
    false: tuple[tuple[Key, str], ...] = field(default=())

    def allowed(self, key: Key, at_h: float) -> list[str]:
        """What may be live at that hour, oldest first: every object that two papers have told by then."""
        return [c.object for c in self.changes if c.key == key and c.known_h <= at_h]


def draw(plan: Plan, topics: Sequence[Topic]) -> News:
    """The news of a plan, a function of its arguments."""
    rng = random.Random(plan.seed)
    feeds = {f"{paper}-{n}": paper for paper in PAPERS for n in range(plan.sections)} | {f"{LIAR}-0": LIAR}
    doomed = {f"weekly{n}-0": f"weekly{n}" for n in range(plan.doomed)}
    desk = _Desk(plan, rng, feeds)
    changes = list(_changes(plan, topics, rng, desk))
    _falsehoods(plan, topics, changes, rng, desk)
    for feed in (*feeds, *doomed):
        _fill(plan, feed, rng, desk)
    ends = {name: plan.hours * (n + 1) / (plan.doomed + 1) for n, name in enumerate(doomed)}
    stories: dict[str, list[Story]] = {name: [] for name in (*feeds, *doomed)}
    for story in sorted(desk.stories, key=lambda s: (s.at_h, s.guid)):
        stories[story.feed].append(story)
    told = {feed: tuple(own) for feed, own in stories.items()}
    return News({**feeds, **doomed}, ends, told, tuple(changes), tuple(desk.false))


@dataclass(slots=True)
class _Desk:
    """Where stories are handed in."""

    plan: Plan
    rng: random.Random
    feeds: Mapping[str, str]
    stories: list[Story] = field(default_factory=list)
    false: list[tuple[Key, str]] = field(default_factory=list)
    true: list[tuple[Key, str, float]] = field(default_factory=list)

    def lately(self, key: Key, at_h: float) -> set[str]:
        """The papers that told a change of `key` in the ten days before."""
        return {paper for of, paper, hour in self.true if of == key and 0 <= at_h - hour < _LATELY_H}

    def add(self, paper: str, at_h: float, text: str, sort: str, *, feed: str = "", dated: Dated = "right",
            later: tuple[float, str] | None = None, doubled: bool = False) -> None:  # fmt: skip
        """One item in one of the paper's feeds; `later` is its correction."""
        feed = feed or self.rng.choice([name for name, who in self.feeds.items() if who == paper])
        wordings = ((at_h, text), later) if later else ((at_h, text),)
        title = " ".join(everyday(self.rng).split()[:6])
        self.stories.append(
            Story(feed, f"{feed}:{len(self.stories)}", at_h, title, wordings, sort, dated, doubled)
        )


_LATELY_H = 240.0
_Teller = Callable[[_Desk, Key, str, float], None]


def _changes(plan: Plan, topics: Sequence[Topic], rng: random.Random, desk: _Desk) -> Iterator[Change]:
    """True changes in batches, each told by three papers in words of their own, two of which date their items rightly."""
    keys = _mixed(topics)[: plan.changes - plan.twice]
    order = [*keys, *keys[: plan.twice]]
    objects = {topic.relation: list(topic.objects) for topic in topics}
    for pool in objects.values():
        rng.shuffle(pool)
    for n, key in enumerate(order):
        batch = n * plan.batches // len(order)
        at_h = plan.hours * (0.02 + 0.78 * batch / max(1, plan.batches - 1))
        start = next(topic.subjects[key[0]] for topic in topics if topic.relation == key[1])
        pool = objects[key[1]]
        chosen = next(name for name in pool if name not in (start, key[0]))
        pool.remove(chosen)
        first, second = rng.sample(_PUNCTUAL, 2)
        third = rng.choice([paper for paper in PAPERS if paper not in (first, second)])
        phrases = rng.sample(TRUE[key[1]], 3)
        hours = [at_h + rng.uniform(0, plan.spread_h) for _ in range(3)]
        for paper, phrase, hour in zip((first, second, third), phrases, hours, strict=True):
            desk.add(paper, hour, told(phrase, key[0], chosen, rng), "true")
            desk.true.append((key, paper, hour))
        yield Change(key, chosen, at_h, sorted(hours)[1])


def _mixed(topics: Sequence[Topic]) -> list[Key]:
    """Keys of all topics, by turns."""
    rows = [[(subject, topic.relation) for subject in topic.subjects] for topic in topics]
    longest = max(map(len, rows))
    return [row[n] for n in range(longest) for row in rows if n < len(row)]


def _falsehoods(
    plan: Plan, topics: Sequence[Topic], changes: Sequence[Change], rng: random.Random, desk: _Desk
) -> None:
    """`each` stories of every sort: of subjects that never change and of those that do."""
    keys = [*_mixed(topics)[plan.changes - plan.twice :], *{change.key for change in changes[: plan.each]}]
    true = {(change.key, change.object) for change in changes}
    sorts = [sort for sort in SORTS for _ in range(plan.each)]
    for n, sort in enumerate(sorts):
        at_h = plan.hours * (0.05 + 0.8 * rng.random())
        if sort == "undated, of a former one":
            change = changes[n % max(1, len(changes) // 2)]
            topic = next(topic for topic in topics if topic.relation == change.key[1])
            at_h = max(change.at_h + 0.1 * plan.hours, at_h)
            SORTS[sort](desk, change.key, topic.subjects[change.key[0]], at_h)
            desk.false.append((change.key, topic.subjects[change.key[0]]))
            continue
        key = sorted(keys)[n % len(keys)]
        topic = next(topic for topic in topics if topic.relation == key[1])
        pool = [
            o for o in topic.objects if (key, o) not in true and o not in (key[0], topic.subjects[key[0]])
        ]
        # Two false stories with one object would be two voices for it.
        pool = [o for o in pool if (key, o) not in desk.false]
        object_ = rng.choice(sorted(pool))
        SORTS[sort](desk, key, object_, at_h)
        desk.false.append((key, object_))


def _hoax(desk: _Desk, key: Key, object_: str, at_h: float) -> None:
    for n, phrase in enumerate(desk.rng.sample(TRUE[key[1]], 2)):
        desk.add(LIAR, at_h + n, told(phrase, key[0], object_, desk.rng), "hoax of one paper")


def _flood(desk: _Desk, key: Key, object_: str, at_h: float) -> None:
    for n in range(30):
        phrase = desk.rng.choice(TRUE[key[1]])
        desk.add(LIAR, at_h + n / 20, told(phrase, key[0], object_, desk.rng), "flood of one paper")


def _wire(desk: _Desk, key: Key, object_: str, at_h: float) -> None:
    """Not by a paper that has just told a true change in words of its own: a publisher stands by its last word, and whoever takes a change
    back does not tell it.
    """
    text = told(desk.rng.choice(TRUE[key[1]]), key[0], object_, desk.rng)
    chosen = desk.rng.sample(PAPERS, 6)
    chosen += [paper for paper in PAPERS if paper not in chosen]
    lately = desk.lately(key, at_h)
    for n, paper in enumerate([paper for paper in chosen if paper not in lately][:6]):
        desk.add(paper, at_h + n, f"LONDON ({paper[:2].upper()}) - {text}", "wire story, copied")


def _said(sort: str, table: str, dated: Dated = "right") -> _Teller:
    """Two papers say so in words of `table`."""

    def tell(desk: _Desk, key: Key, object_: str, at_h: float) -> None:
        phrases = desk.rng.sample(FALSE[table][key[1]] if table in FALSE else TRUE[key[1]], 2)
        for n, (paper, phrase) in enumerate(zip(desk.rng.sample(_PUNCTUAL, 2), phrases, strict=True)):
            desk.add(paper, at_h + 2 * n, told(phrase, key[0], object_, desk.rng), sort, dated=dated)

    return tell


def _circle(desk: _Desk, key: Key, object_: str, at_h: float) -> None:
    one, other = desk.rng.sample(_PUNCTUAL, 2)
    phrases = desk.rng.sample(FALSE["bare"][key[1]], 2)
    for n, (paper, credit, phrase) in enumerate(zip((one, other), (other, one), phrases, strict=True)):
        text = told(f"{phrase}, the {credit.title()} reports.", key[0], object_, desk.rng)
        desk.add(paper, at_h + 3 * n, text, "each credits the other")


def _corrected(desk: _Desk, key: Key, object_: str, at_h: float) -> None:
    """One paper errs and corrects itself within the hour; days later another errs in the same way."""
    plan = desk.plan
    for n, paper in enumerate(desk.rng.sample(_PUNCTUAL, 2)):
        hour = at_h + n * plan.hours / 20
        text = told(desk.rng.choice(TRUE[key[1]]), key[0], object_, desk.rng)
        better = (hour + 0.08 * plan.spread_h, everyday(desk.rng))
        desk.add(paper, hour, text, "wrong, then corrected", later=better)


SORTS: Mapping[str, _Teller] = {
    "hoax of one paper": _hoax,
    "flood of one paper": _flood,
    "wire story, copied": _wire,
    "rumour": _said("rumour", "rumour"),
    "announced only": _said("announced only", "announced"),
    "each credits the other": _circle,
    "wrong, then corrected": _corrected,
    "dated years ago": _said("dated years ago", "true", "years ago"),
    "undated, of a former one": _said("undated, of a former one", "true", "missing"),
}


def _fill(plan: Plan, feed: str, rng: random.Random, desk: _Desk) -> None:
    """Everyday items, at times without a date, with a wrong one, twice, or corrected later."""
    at_h = -3 * plan.filler_h
    while (at_h := at_h + rng.expovariate(1 / plan.filler_h)) < plan.hours:
        luck = rng.random()
        dated: Dated = rng.choice(_ODD_DATES) if luck < 0.12 else "right"
        better = (at_h + rng.uniform(1, 9), everyday(rng)) if 0.12 <= luck < 0.17 else None
        desk.add(feed.partition("-")[0], at_h, everyday(rng), "everyday", feed=feed, dated=dated,
                 later=better, doubled=0.17 <= luck < 0.22)  # fmt: skip
