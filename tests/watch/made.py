"""Standings for the tests, with words that a hostile feed would choose."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from agent.health import Disk, Gone, Served, Source, Standing, problems

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>\x1b[2J\u202e\"'\\\n# TYPE evil counter"


def gone(number: int = 7, outcome: str = "ok", **changes: object) -> Gone:
    at = NOW - timedelta(minutes=10)
    made = Gone(
        number, at, at + timedelta(minutes=1), outcome, 60.0, 0, NOW, "fine", {"polled": 3, "added": 1}
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def source(name: str = "a", state: str = "ok", errors: int = 0, last_error: str = "") -> Source:
    return Source(name, "https://a.example/f", state, NOW, NOW + timedelta(hours=1), errors, last_error)


def well(**changes: object) -> Standing:
    """A daemon with nothing wrong, changed."""
    made = Standing(
        at=NOW,
        every_s=900.0,
        served=Served(3, NOW, 12, 2),
        rounds=(gone(),),
        last_good_at=NOW - timedelta(minutes=9),
        round_count=7,
        queue={"pending": 4, "approved": 2, "live": 12},
        deferred=1,
        sources=(source(),),
        articles=100,
        claims=40,
        disk=Disk({"revisions": 10, "cache": 20, "database": 30}, 10 * 2**30),
        daemon_pid=99,
    )
    made = replace(made, **changes)  # type: ignore[arg-type]
    return replace(made, problems=problems(made))
