"""`factd status`: how things stand, for people and programs; quick, and without anything heavy."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from agent.health import Gone
from agent.store import feeds, rounds
from agent.store.lock import daemon_lock
from agent.store.rounds import End, Round
from agent.types import FeedState
from tests.cli.conftest import World, write_settings

URL = "https://eva:hunter22@a.example/f"


def ended(world: World, outcome: str = "ok", message: str = "fine") -> None:
    now = datetime.now(UTC)
    with world.store() as store:
        number = rounds.begin(store, now - timedelta(minutes=2))
        what = End(
            outcome, 4.2, message, now + timedelta(minutes=13), {"polled": 2, "proposed": 1, "added": 0}
        )  # type: ignore[arg-type]
        rounds.end(store, number, what, now - timedelta(minutes=1))


def test_the_rows_of_the_database_are_what_is_judged() -> None:
    assert set(Gone.__slots__) == set(Round.__slots__)


def test_all_is_well(world: World) -> None:
    ended(world)
    with daemon_lock(world.state):
        got = world.run("status")
    assert (got.code, got.err) == (0, "")
    assert "served    revision 1, 1 fact, since" in got.out
    assert "the next round is due in 13 minutes" in got.out or "due in 12 minutes" in got.out
    assert "3 proposals for a person" in got.out and "2 polled, 1 proposed" in got.out
    assert "problem" not in got.out


def test_what_is_wrong_is_said_and_exits_with_one(world: World) -> None:
    write_settings(world.folder, model="none", feeds=[URL, "https://b.example/f"])
    ended(world, "error", f"cannot read {URL}\x1b[2J")
    now = datetime.now(UTC)
    with world.store() as store:
        state = FeedState("feed 1", URL, polled_at=now, next_poll_at=now, errors=4, origin=URL)
        feeds.save(store, replace(state, last_error=f"HTTP 503 from {URL}"))
    got = world.run("status")
    assert got.code == 1
    assert "daemon    does not run" in got.out and "2 sources, 1 of them failing" in got.out
    assert "problem: the last round failed: cannot read https://***@a.example/f" in got.out
    assert "problem: 1 of 2 sources cannot be read: feed 1" in got.out
    assert "hunter22" not in got.out and "\x1b" not in got.out
    json = world.run("status", "--json")
    assert json.code == 1 and "hunter22" not in json.out
    assert {p["code"] for p in json.json["problems"]} == {"round", "no_round", "sources"}
    assert json.json["rounds"][0]["counts"] == {"polled": 2, "proposed": 1, "added": 0}
    assert json.json["queue"] == {"live": 1, "pending": 3} and not json.json["ready"]


def test_without_a_state_it_says_what_to_do(bare: World) -> None:
    got = bare.run("status")
    assert got.code == 1 and "factd init" in got.err


def test_it_loads_nothing_heavy(world: World) -> None:
    """What makes a command slow is what it imports."""
    heavy = ("torch", "spacy", "transformers", "numpy", "apscheduler", "feedparser", "httpx", "jinja2")
    code = (
        "import sys; from agent.cli.main import main\n"
        f"code = main(['--config', {str(world.settings)!r}, 'status'])\n"
        f"print(code, [name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "1 []"
