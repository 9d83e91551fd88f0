"""When the daemon goes round, and what the clocks say meanwhile. Pure: the clocks' readings are arguments.

There are three clocks, because each of them alone is wrong at times. The UTC clock says which moment it is, and can be set. Elapsed
time is for intervals: nobody sets it, and it goes on while the machine sleeps. Awake time stands still in sleep, so that a round that
slept through the night with its machine does not look stuck.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

SLOWEST_S = 4 * 3600.0
# Differences below are corrections of a clock, or a machine under load.
_LEAST_LEAP_S = 60.0


@dataclass(frozen=True, slots=True)
class Moment:
    """One reading of the three clocks: UTC, and seconds since some start."""

    at: datetime
    elapsed_s: float
    awake_s: float


@dataclass(frozen=True, slots=True)
class Leap:
    """What happened to the clocks between two readings: `slept_s` seconds of sleep, and the UTC clock was set by `set_s` (back: negative)."""

    slept_s: float = 0.0
    set_s: float = 0.0

    def __str__(self) -> str:
        said = [f"the machine slept for {span(self.slept_s)}"] if self.slept_s else []
        if self.set_s:
            way = "forward" if self.set_s > 0 else "back"
            said.append(f"the clock was set {way} by {span(abs(self.set_s))}")
        return " and ".join(said)


def leap(before: Moment, now: Moment) -> Leap | None:
    """What is worth a word, None for ordinary time."""
    passed_s = now.elapsed_s - before.elapsed_s
    slept_s = passed_s - (now.awake_s - before.awake_s)
    set_s = (now.at - before.at).total_seconds() - passed_s
    found = Leap(slept_s if slept_s >= _LEAST_LEAP_S else 0.0, set_s if abs(set_s) >= _LEAST_LEAP_S else 0.0)
    return found if found.slept_s or found.set_s else None


def wait_s(every_s: float, errors: int, took_s: float = 0.0) -> float:
    """How long to wait at the end of a round that took `took_s`, the last of `errors` in a row that failed.

    Without an error the next is due `every_s` after this one's start: at once where it took longer, and however many were missed it is
    one. After errors the pause doubles, to four hours, and is counted from the end.
    """
    if not errors:
        return max(0.0, every_s - took_s)
    return min(every_s * 2.0 ** min(errors - 1, 30), max(SLOWEST_S, every_s))


def first_wait_s(every_s: float, lost: int) -> float:
    """How long a daemon waits before its first round. It starts at once, unless `lost` rounds in a row took their process with them:
    what kills the daemon each time must not do so every few seconds for ever.
    """
    return 0.0 if lost < 2 else wait_s(every_s, lost - 1)


def span(seconds: float) -> str:
    """A length of time for people, in its largest unit."""
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * size:
            return f"{round(seconds / size)} {unit}s"
    return f"{round(seconds)} second{'' if round(seconds) == 1 else 's'}"
