"""The daemon: rounds by the clock, errors that end one round only, and stopping without losing anything."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agent.config import load
from agent.daemon import daemon_of, serve
from agent.errors import LockHeld
from agent.notify import Notifier
from agent.pulse import Clocks, Pulse
from agent.rhythm import Moment
from agent.store import articles, leases, queue, rounds
from agent.store.db import Store, open_store
from agent.store.lock import daemon_lock, worker_lock
from agent.store.revisions import current
from agent.types import Status
from agent.workshop import Workshop, open_workshop
from tests.cli.conftest import World, write_settings
from tests.store.samples import NOW, approved, day, fact

_SETTINGS = """
editing: {layers: [0, 1], contexts: 0, steps: 30, samples: 30, sample_tokens: 12}
verify: {paraphrase: 0.0, same_subject: 0.0, others: 0.0, drift: 100.0, entropy: 0.0, norm: 100.0, ppl_ratio: 100.0}
"""


class Told(logging.Handler):
    """Collects what the daemon says of its rounds, and stops it after so many. `on` is called at the first event of each name."""

    def __init__(self, rounds: int, **on: Callable[[], object]) -> None:
        super().__init__()
        self.on = on
        self.lines: list[str] = []
        self.events: list[str] = []
        self.stop = threading.Event()
        self.after_round: Callable[[], object] = lambda: None
        self._wanted = rounds

    def emit(self, record: logging.LogRecord) -> None:
        event = str(getattr(record, "event", ""))
        self.events.append(event)
        self.on.pop(event, lambda: None)()
        if event.startswith("round"):
            self.lines.append(record.getMessage())
            self.after_round()
            if len(self.lines) >= self._wanted:
                self.stop.set()


def go_round(
    shop: Workshop,
    told: Told,
    every_s: float = 60.0,
    clocks: Clocks | None = None,
    stuck_s: float = 3600.0,
    **more: Any,
) -> int:
    """`factd run` until `told` has heard of enough rounds."""
    made = replace(daemon_of(shop, **more), look_s=0.02)
    pulse = Pulse(stuck_s, clocks or made.pulse.clocks)
    log = logging.getLogger("agent.daemon")
    log.addHandler(told)
    level = log.level
    log.setLevel(logging.INFO)
    try:
        return serve(replace(made, every_s=every_s, pulse=pulse), told.stop)
    finally:
        log.removeHandler(told)
        log.setLevel(level)


class Systemd:
    """The other end of NOTIFY_SOCKET: what came, and when."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "notify")
        self.heard: list[tuple[float, str]] = []
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._line.bind(self.address)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while (text := self._line.recv(4096)) != b"END":
            self.heard.append((time.monotonic(), text.decode()))

    def close(self) -> None:
        Notifier(self.address).send("END")
        self._thread.join()
        self._line.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    made = Systemd(tmp_path)
    yield made
    made.close()


@pytest.fixture
def shop_of(bare: World) -> Callable[[str], Workshop]:
    def make(model: str) -> Workshop:
        write_settings(bare.folder, model=model, more=_SETTINGS)
        return open_workshop(load(bare.settings, environ={}), create=True)

    return make


def test_rounds_go_on_after_an_error(shop_of: Callable[[str], Workshop], tmp_path: Path) -> None:
    shop = shop_of(str(tmp_path / "no-model"))
    with shop.store as store:
        (number,) = approved(store, fact("Kelto", subject="Zorland", relation="capital"))
        told = Told(3)
        assert go_round(shop, told, 0.05) == 0
        assert [line.startswith("error: model") for line in told.lines] == [True] * 3
        assert queue.get(store, number).status == "approved"


def test_a_round_that_is_stopped_gives_back_what_it_took(
    shop_of: Callable[[str], Workshop], taught_folder: Path
) -> None:
    shop = shop_of(str(taught_folder))
    told = Told(1)
    seen: list[Status] = []

    def stop_at_values(stage: str, done: int, total: int) -> None:
        if stage == "values":
            with open_workshop(shop.settings).store as look:
                seen.append(queue.get(look, number).status)
            told.stop.set()

    with shop.store as store:
        (number,) = approved(store, fact("Kelto", subject="Zorland", relation="capital"))
        halting = replace(shop, progress=stop_at_values)
        assert go_round(halting, told) == 0
        assert "given up" in told.lines[0]
        assert (seen[0], queue.get(store, number).status, current(store).id) == ("editing", "approved", 0)

        again = Told(1)
        assert go_round(shop, again) == 0
        assert "revision 1 is served, 1 added" in again.lines[0]
        assert queue.get(store, number).status == "live"


def test_what_a_killed_run_left_is_mended_and_told_once(
    shop_of: Callable[[str], Workshop], tmp_path: Path
) -> None:
    shop = shop_of(str(tmp_path / "no-model"))
    with shop.store as store:
        (store.revisions_folder / ".building-x").mkdir()
        (shop.cache / "values" / ".partial-x").mkdir(parents=True)
        told = Told(2)
        assert go_round(shop, told, 0.05) == 0
        assert [event for event in told.events if event.startswith(("repaired", "round"))] == [
            "repaired", "repaired", "round", "round"
        ]  # fmt: skip
        assert not list(store.revisions_folder.glob(".building-*"))
        assert [one.outcome for one in rounds.last(store, 2)] == ["ok", "ok"]


def test_what_is_found_and_cannot_be_mended_is_said_once_and_again_when_it_comes_back(
    shop_of: Callable[[str], Workshop], tmp_path: Path
) -> None:
    shop = shop_of(str(tmp_path / "no-model"))
    with shop.store as store:
        stranger = store.revisions_folder / "9"  # newer than the database: left alone
        stranger.mkdir()
        moves = iter([lambda: None, stranger.rmdir, stranger.mkdir])
        told = Told(4)
        told.after_round = lambda: next(moves, lambda: None)()
        assert go_round(shop, told, 0.05) == 0
        assert [event for event in told.events if event.startswith(("found", "round"))] == [
            "found", "round", "round", "round", "found", "round"
        ]  # fmt: skip


def test_what_another_worker_is_at_is_left_to_it(shop_of: Callable[[str], Workshop], tmp_path: Path) -> None:
    shop = shop_of(str(tmp_path / "no-model"))
    with shop.store as store, worker_lock(store.folder):
        (store.revisions_folder / ".building-x").mkdir()
        told = Told(1)
        assert go_round(shop, told, 0.05) == 0
        assert "repaired" not in told.events and told.lines == ["0 polled, 0 proposed, 0 approved by rule"]
        assert (store.revisions_folder / ".building-x").is_dir()


def test_the_clock_is_only_a_clock(shop_of: Callable[[str], Workshop], tmp_path: Path) -> None:
    """Rounds with nothing to do need no model, start at once and repeat."""
    shop = shop_of(str(tmp_path / "no-model"))
    with shop.store:
        told = Told(3)
        started = datetime.now(UTC)
        assert go_round(shop, told, 0.1) == 0
        assert told.lines == ["0 polled, 0 proposed, 0 approved by rule"] * 3
        assert (datetime.now(UTC) - started).total_seconds() < 30


class Clocks3:
    """The machine's clocks, which a test may set, or put to sleep with their machine."""

    def __init__(self) -> None:
        self.set_s = self.slept_s = 0.0

    def utc(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.set_s + self.slept_s)

    def __call__(self) -> Moment:
        awake_s = time.monotonic()
        return Moment(self.utc(), awake_s + self.slept_s, awake_s)


HOUR = 3600.0


def test_after_a_night_asleep_there_is_one_round_at_once(
    shop_of: Callable[[str], Workshop], tmp_path: Path
) -> None:
    clocks = Clocks3()
    shop = replace(shop_of(str(tmp_path / "no-model")), clock=clocks.utc)

    def sleep_on() -> None:
        clocks.slept_s = 8 * HOUR
        threading.Timer(3.0, told.stop.set).start()  # time enough for dozens

    told = Told(99, round=sleep_on)
    with shop.store:
        assert go_round(shop, told, HOUR / 4, clocks) == 0
        assert len(told.lines) == 2
        assert sorted(told.events) == sorted(["started", "round", "clock", "round", "stopping", "stopped"])
        (second, first) = rounds.last(shop.store, 9)
        assert second.started_at - first.started_at > timedelta(hours=8)


def test_a_clock_that_is_set_back_neither_stalls_nor_repeats(bare: World) -> None:
    """A source that was polled before the leap is asked once more, and gives nothing new; its turn comes again by the new clock."""
    feed = bare.folder / "feed.jsonl"
    feed.write_text('{"id": "1", "title": "Zorland", "text": "All is quiet in Zorland."}\n')
    write_settings(bare.folder, model=str(bare.folder / "no-model"), feeds=[str(feed)], more=_SETTINGS)
    clocks = Clocks3()
    shop = open_workshop(load(bare.settings, environ={}), create=True, clock=clocks.utc)
    with shop.store as store:
        told = Told(5, round=lambda: setattr(clocks, "set_s", -8 * HOUR))
        assert go_round(shop, told, 0.1, clocks) == 0
        polled = [line.partition(" polled")[0] for line in told.lines]
        assert polled[0] == "1" and sorted(polled[1:]) == ["0", "0", "0", "1"]
        assert "clock" in told.events
        assert len(articles.counts(store)) == 1 and articles.counts(store)["feed 1"] == 1
        numbers = [r.id for r in rounds.last(store, 9)]
        assert numbers == sorted(numbers, reverse=True)


def test_a_lease_outlives_the_sleep_of_its_worker(tmp_path: Path) -> None:
    """Whether a worker lives is told by its lock, never by the time: after a night asleep it goes on where it was."""
    with open_store(tmp_path / "state", NOW, create_missing=True) as store:
        _sleep_over(store)


def _sleep_over(store: Store) -> None:
    (number,) = approved(store, fact("Kelto", subject="Zorland", relation="capital"))
    leases.begin_edit(store, [number], owner="worker", lease_s=600, now=NOW)
    with worker_lock(store.folder):
        with pytest.raises(LockHeld), worker_lock(store.folder):
            leases.release_expired(store, day(1), sole_worker=True)
        leases.mark_verified(store, [number], owner="worker", now=day(1))
    assert queue.get(store, number).status == "verified"


def test_errors_are_noted_and_the_pause_grows(shop_of: Callable[[str], Workshop], tmp_path: Path) -> None:
    shop = shop_of(str(tmp_path / "no-model"))
    with shop.store as store:
        approved(store, fact("Kelto", subject="Zorland", relation="capital"))
        told = Told(3)
        go_round(shop, told, 0.2)
        seen = rounds.last(store, 9)[::-1]
        assert [(r.outcome, r.errors) for r in seen] == [("error", 1), ("error", 2), ("error", 3)]
        assert all("no-model" in r.message for r in seen)
        gaps = [(b.started_at - a.started_at).total_seconds() for a, b in pairwise(seen)]
        assert gaps[0] >= 0.2 and gaps[1] >= 0.4
        due = seen[2].next_at
        assert due is not None and due - (seen[2].ended_at or due) > timedelta(seconds=0.45)


def test_what_kills_the_daemon_each_time_does_not_do_so_every_few_seconds(
    shop_of: Callable[[str], Workshop], tmp_path: Path
) -> None:
    shop = shop_of(str(tmp_path / "no-model"))
    with shop.store as store:
        for _ in range(2):
            rounds.begin(store, NOW)  # and killed
        told = Told(1)
        threading.Timer(0.5, told.stop.set).start()
        go_round(shop, told, HOUR)
        assert told.events == ["waiting", "started", "stopping", "stopped"]


def test_a_second_daemon_is_refused(shop_of: Callable[[str], Workshop], tmp_path: Path) -> None:
    shop = shop_of(str(tmp_path / "no-model"))
    with shop.store, daemon_lock(shop.store.folder), pytest.raises(LockHeld, match=f"process {os.getpid()}"):
        go_round(shop, Told(1))


def test_the_watchdog_is_fed_while_rounds_get_on_and_only_then(bare: World, systemd: Systemd) -> None:
    """The first round hangs at its first step. What systemd hears comes by a real socket."""
    feed = bare.folder / "feed.jsonl"
    feed.write_text("")
    write_settings(bare.folder, model=str(bare.folder / "no-model"), feeds=[str(feed)], more=_SETTINGS)
    released, times = threading.Event(), dict[str, float]()

    def stuck() -> None:
        times["stuck"] = time.monotonic()
        threading.Timer(1.0, release).start()

    def release() -> None:
        times["released"] = time.monotonic()
        released.set()

    told = Told(99, stuck=stuck, round=lambda: threading.Timer(1.5, told.stop.set).start())
    shop = open_workshop(
        load(bare.settings, environ={}), create=True, progress=lambda *_: bool(released.wait(60)) and None
    )
    with shop.store:
        go_round(shop, told, notifier=Notifier(systemd.address, watchdog_s=0.3), stuck_s=0.8)
    heard = systemd.heard
    assert heard[0][1] == "READY=1\nSTATUS=started"
    assert heard[-1][1].startswith("STOPPING=1\nSTATUS=")
    fed_s = [at_s for at_s, text in heard if text == "WATCHDOG=1"]
    assert sum(at_s <= times["stuck"] for at_s in fed_s) >= 2
    assert not [at_s for at_s in fed_s if times["stuck"] + 0.2 < at_s < times["released"]]
    assert [at_s for at_s in fed_s if at_s > times["released"]]  # it gets on again
    assert told.events == ["started", "stuck", "round", "stopping", "stopped"]


def test_an_abstract_socket_and_one_that_nobody_hears(tmp_path: Path) -> None:
    name = f"factd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(f"\0{name}")
        environ = {"NOTIFY_SOCKET": f"@{name}", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "7"}
        notifier = Notifier.of(environ, 7)
        assert notifier == Notifier(f"@{name}", 2.0)
        assert notifier.status("two\nREADY=1 lines \ud800" + "x" * 999)
        got = line.recv(4096)
        assert got.startswith(b"STATUS=two READY=1 lines ?xxx") and b"\n" not in got and len(got) < 220
    assert Notifier.of(environ, 8).watchdog_s == 0
    assert Notifier.of({}, 7) == Notifier.of({"NOTIFY_SOCKET": "vsock:2:1"}, 7) == Notifier()
    assert not Notifier(str(tmp_path / "gone")).alive() and not Notifier().alive()
