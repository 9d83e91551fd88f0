"""What counts as wrong, and what only as news."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agent.health import Disk, Hold, Served, Standing
from tests.watch.made import NOW, gone, source, well


def test_nothing_is_wrong_when_nothing_is_wrong() -> None:
    assert well().problems == () and well().is_ready
    waiting = well(
        queue={"pending": 99}, daemon_pid=None, sources=(), rounds=(gone(outcome="running"), gone(6))
    )
    assert waiting.problems == ()
    one_failure = well(sources=(source(), source("b", "failing", 2, "503")))
    assert one_failure.problems == () and [s.name for s in one_failure.failing] == ["b"]


@pytest.mark.parametrize(
    ("standing", "code", "said", "ready"),
    [
        (well(rounds=(), last_good_at=None), "no_round", "factd run", False),
        (well(last_good_at=NOW - timedelta(hours=3)), "late", "for 3 hours; `factd run` runs", False),
        (well(last_good_at=NOW - timedelta(hours=3), daemon_pid=None), "late", "does not run", False),
        (well(last_good_at=NOW + timedelta(days=9)), "clock", "set back", True),
        (well(rounds=(gone(8, "running"), gone(7, "error", errors=3, message="no model"))), "round",
         "the last 3 rounds failed: no model; the next is due at 12:00 UTC", True),
        (well(rounds=(gone(7, "lost", errors=1, message=""),)), "round", "its process ended before it did", True),
        (well(sources=(source(), source("b", "failing", 3))), "sources", "1 of 2 sources cannot be read: b", True),
        (well(sources=(source("b", "gone"),)), "sources", "no source can be read", True),
        (well(disk=Disk({}, 100 * 2**20)), "disk", "100 MB", True),
        (well(served=Served(3, NOW, 2, 0, "delta.safetensors is not there")), "revision", "audit verify", False),
        (well(hold=Hold(NOW, "2 of 5 got in")), "canary", "2 of 5 got in; 2 approved wait", True),
    ],
)  # fmt: skip
def test_each_thing_that_is_wrong_is_said(standing: Standing, code: str, said: str, ready: bool) -> None:
    (found,) = standing.problems
    assert (found.code, standing.is_ready) == (code, ready)
    assert said in found.message


def test_a_long_interval_is_not_late_too_soon() -> None:
    daily = well(every_s=86_400.0, last_good_at=NOW - timedelta(days=3))
    assert daily.problems == ()
    assert well(every_s=3600.0, last_good_at=NOW - timedelta(days=3)).problems[0].code == "late"
