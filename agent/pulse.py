"""Whether the daemon gets on: what its threads tell each other about the round in progress and the next."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from agent.rhythm import Moment

Clocks = Callable[[], Moment]


@dataclass(frozen=True, slots=True)
class Beat:
    """`stage`: what the round in progress does, "" between rounds. `moved_s`: the awake time of its last step, `looked_s` that of the
    daemon's last look at its clocks. `due_s`: the elapsed time at which the next round is due.
    """

    running: bool = False
    stage: str = ""
    moved_s: float = 0.0
    looked_s: float = 0.0
    due_s: float = 0.0


def is_moving(beat: Beat, now: Moment, stuck_s: float) -> bool:
    """Whether the daemon looked at its clocks, and the round in progress made a step, within `stuck_s` of awake time."""
    if beat.running and now.awake_s - beat.moved_s >= stuck_s:
        return False
    return now.awake_s - beat.looked_s < stuck_s


@dataclass(slots=True)
class Pulse:
    """The beat, shared by the thread that works, the one that watches and those that answer."""

    stuck_s: float
    clocks: Clocks
    _beat: Beat = field(default_factory=Beat)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def beat(self) -> Beat:
        return self._beat

    def plan(self, due_s: float) -> None:
        """No round is in progress; the next is due at that elapsed time."""
        self._set(running=False, stage="", due_s=due_s)

    def begin(self) -> None:
        self._set(running=True, stage="starting", moved_s=self.clocks().awake_s)

    def step(self, stage: str) -> None:
        self._set(stage=stage, moved_s=self.clocks().awake_s)

    def look(self) -> Moment:
        """What the clocks say now, noted as a look at them."""
        now = self.clocks()
        self._set(looked_s=now.awake_s)
        return now

    def is_due(self, now: Moment) -> bool:
        beat = self._beat
        return not beat.running and now.elapsed_s >= beat.due_s

    def is_moving(self) -> bool:
        return is_moving(self._beat, self.clocks(), self.stuck_s)

    def next_in_s(self) -> float | None:
        """Seconds until the next round; None while one is in progress."""
        beat = self._beat
        return None if beat.running else max(0.0, beat.due_s - self.clocks().elapsed_s)

    def _set(self, **changes: object) -> None:
        with self._lock:
            self._beat = replace(self._beat, **changes)  # type: ignore[arg-type]


def elapsed_s() -> float:
    """Seconds on a clock that nobody sets and that goes on in sleep, where the system has one."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
