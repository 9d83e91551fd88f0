"""Whether all is well, judged from how things stand. Pure: what is looked at is in `agent.standing`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent.rhythm import span

# How many failures in a row a source is allowed before it counts as a problem.
_FAILURES = 3
_LEAST_FREE = 500 * 2**20
_CLOCK_SLACK = timedelta(minutes=5)
# A round is late when none came to its end for so many intervals, and for no less than an hour.
_INTERVALS, _LEAST_LATE_S = 4, 3600.0


@dataclass(frozen=True, slots=True)
class Gone:
    """One round that began: how it ended (`outcome` as in the database), and what it found."""

    id: int
    started_at: datetime
    ended_at: datetime | None
    outcome: str
    took_s: float
    errors: int
    next_at: datetime | None
    message: str
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Source:
    """One configured source and how its last poll went. `state`: new, ok, moved, failing or gone."""

    name: str
    url: str
    state: str
    polled_at: datetime | None
    next_poll_at: datetime | None
    errors: int
    last_error: str


@dataclass(frozen=True, slots=True)
class Served:
    """The revision that is served; 0 is the base. `facts` in all, `beside` the weights; `missing`: what of its files is not there."""

    id: int
    since_at: datetime
    facts: int
    beside: int
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes by part of the state folder, and what is free on its disk."""

    used: Mapping[str, int]
    free: int

    @property
    def total(self) -> int:
        return sum(self.used.values())


@dataclass(frozen=True, slots=True)
class Hold:
    """A canary that was refused: since when the rest waits, and why."""

    since_at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand. `rounds`: the newest first. `last_good_at`: when a round last came to its end without an error. `queue`: proposals
    by status; `deferred`: pending ones that wait for a date. `daemon_pid`: of `factd run`, None where it does not run.
    """

    at: datetime
    every_s: float
    served: Served
    rounds: tuple[Gone, ...]
    last_good_at: datetime | None
    round_count: int
    queue: Mapping[str, int]
    deferred: int
    sources: tuple[Source, ...]
    articles: int
    claims: int
    disk: Disk
    daemon_pid: int | None
    hold: Hold | None = None
    problems: tuple[Problem, ...] = field(default=())

    @property
    def failing(self) -> tuple[Source, ...]:
        return tuple(s for s in self.sources if s.state in ("failing", "gone"))

    @property
    def is_ready(self) -> bool:
        """Whether the model that is served is whole, and the news it rests on is read."""
        return not any(problem.blocks for problem in self.problems)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a person should look at. `blocks`: with it the daemon is not ready."""

    code: str
    message: str
    blocks: bool = False


def problems(now: Standing) -> tuple[Problem, ...]:
    """Everything that is wrong, the worst first."""
    found = [*_of_rounds(now), *_of_sources(now)]
    if now.served.missing:
        advice = "`factd audit verify` looks closer, `factd revisions rebuild` makes weights again"
        found.insert(
            0, Problem("revision", f"revision {now.served.id}: {now.served.missing}; {advice}", True)
        )
    if now.hold is not None:
        waiting = now.queue.get("approved", 0)
        why = (
            f"{now.hold.reason}; {waiting} approved wait: look at the report, then `factd apply` tries again"
        )
        found.append(Problem("canary", why))
    if now.disk.free < _LEAST_FREE:
        found.append(
            Problem("disk", f"only {now.disk.free // 2**20} MB are free on the disk of the state folder")
        )
    return tuple(found)


def _of_rounds(now: Standing) -> list[Problem]:
    found = []
    ended = next((r for r in now.rounds if r.outcome != "running"), None)
    if ended is not None and ended.errors:
        many = f"the last {ended.errors} rounds failed" if ended.errors > 1 else "the last round failed"
        said = ended.message or "its process ended before it did"
        again = (
            f"; the next is due at {ended.next_at:%H:%M} UTC"
            if ended.next_at and now.daemon_pid is not None
            else ""
        )
        found.append(Problem("round", f"{many}: {said}{again}"))
    if now.last_good_at is None:
        found.append(
            Problem(
                "no_round",
                "no round has come to its end yet; `factd run` goes round, `--once` only once",
                True,
            )
        )
        return found
    age_s = (now.at - now.last_good_at).total_seconds()
    if now.last_good_at > now.at + _CLOCK_SLACK:
        found.append(Problem("clock", f"the last good round ended in the future, at {now.last_good_at:%Y-%m-%d %H:%M}"
                             " UTC: the clock was set back"))  # fmt: skip
    elif age_s > max(_LEAST_LATE_S, _INTERVALS * now.every_s):
        daemon = "`factd run` does not run" if now.daemon_pid is None else "`factd run` runs"
        found.append(Problem("late", f"no round has come to a good end for {span(age_s)}; {daemon}", True))
    return found


def _of_sources(now: Standing) -> list[Problem]:
    bad = [s for s in now.sources if s.state == "gone" or s.errors >= _FAILURES]
    if not bad:
        return []
    if len(bad) == len(now.sources):
        return [Problem("sources", "no source can be read; `factd feeds check` looks closer")]
    names = ", ".join(s.name for s in bad[:5]) + (", ..." if len(bad) > 5 else "")
    return [Problem("sources", f"{len(bad)} of {len(now.sources)} sources cannot be read: {names}")]
