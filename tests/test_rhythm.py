"""When a round is due, and what the clocks are found to have done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.pulse import Beat, is_moving
from agent.rhythm import SLOWEST_S, Leap, Moment, first_wait_s, leap, span, wait_s

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
START = Moment(NOW, 100.0, 50.0)
HOUR = 3600.0


def after(utc_s: float, elapsed_s: float, awake_s: float) -> Moment:
    return Moment(NOW + timedelta(seconds=utc_s), 100.0 + elapsed_s, 50.0 + awake_s)


@pytest.mark.parametrize(
    ("now", "found", "told"),
    [
        (after(1, 1, 1), None, ""),
        (after(1 + 30, 1, 1), None, ""),  # a correction
        (after(900, 900, 900), None, ""),  # a machine under load looked late
        (after(8 * HOUR, 8 * HOUR, 1), Leap(slept_s=8 * HOUR - 1), "the machine slept for 8 hours"),
        (after(-HOUR, 1, 1), Leap(set_s=-HOUR - 1), "the clock was set back by 60 minutes"),
        (after(3 * HOUR + 1, 1, 1), Leap(set_s=3 * HOUR), "the clock was set forward by 3 hours"),
        (after(0, 2 * HOUR + 1, 1), Leap(2 * HOUR, -2 * HOUR - 1),
         "the machine slept for 2 hours and the clock was set back by 2 hours"),
    ],
)  # fmt: skip
def test_what_the_clocks_did(now: Moment, found: Leap | None, told: str) -> None:
    assert leap(START, now) == found
    assert str(found or "") == told


@given(st.floats(1, 1e5), st.integers(0, 400), st.floats(0, 1e6))
def test_the_pause_is_bounded_and_grows_with_errors(every_s: float, errors: int, took_s: float) -> None:
    wait = wait_s(every_s, errors, took_s)
    assert 0 <= wait <= max(every_s, SLOWEST_S)
    assert wait <= wait_s(every_s, errors + 1, took_s) or errors == 0
    assert wait_s(every_s, 0, took_s) == max(0.0, every_s - took_s)
    assert errors == 0 or wait >= every_s


def test_the_first_round_starts_at_once_unless_the_last_ones_were_killed() -> None:
    assert [first_wait_s(900, lost) for lost in range(5)] == [0, 0, 900, 1800, 3600]


def test_a_round_that_sleeps_with_its_machine_is_not_stuck() -> None:
    beat = Beat(running=True, stage="values", moved_s=50, looked_s=50)
    assert is_moving(beat, after(8 * HOUR, 8 * HOUR, 1), stuck_s=60)
    assert not is_moving(beat, after(61, 61, 61), stuck_s=60)
    idle = Beat(running=False, moved_s=0, looked_s=110)
    assert is_moving(idle, after(61, 61, 61), stuck_s=60)
    assert not is_moving(idle, after(121, 121, 121), stuck_s=60)


def test_lengths_of_time_are_said_in_their_largest_unit() -> None:
    assert [span(s) for s in (0, 1, 119, 120, 7200, 200_000)] == [
        "0 seconds", "1 second", "119 seconds", "2 minutes", "2 hours", "2 days",
    ]  # fmt: skip
