"""The daemon: rounds by the clock, errors that end one round only, and stopping without losing anything."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.config import load
from agent.daemon import serve
from agent.store import queue
from agent.store.revisions import current
from agent.types import Status
from agent.workshop import Workshop, open_workshop
from tests.cli.conftest import World, write_settings
from tests.store.samples import approved, fact

_SETTINGS = """
editing: {layers: [0, 1], contexts: 0, steps: 30, samples: 30, sample_tokens: 12}
verify: {paraphrase: 0.0, same_subject: 0.0, others: 0.0, drift: 100.0, entropy: 0.0, norm: 100.0, ppl_ratio: 100.0}
"""


class Told:
    """Collects what the daemon says, and stops it after so many lines."""

    def __init__(self, lines: int) -> None:
        self.lines: list[str] = []
        self.stop = threading.Event()
        self._wanted = lines

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        if len(self.lines) >= self._wanted:
            self.stop.set()


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
        assert serve(shop, every_s=0.05, tell=told, stop=told.stop) == 0
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
        assert serve(halting, every_s=60, tell=told, stop=told.stop) == 0
        assert "given up" in told.lines[0]
        assert (seen[0], queue.get(store, number).status, current(store).id) == ("editing", "approved", 0)

        again = Told(1)
        assert serve(shop, every_s=60, tell=again, stop=again.stop) == 0
        assert "revision 1 is served, 1 added" in again.lines[0]
        assert queue.get(store, number).status == "live"


def test_the_clock_is_only_a_clock(shop_of: Callable[[str], Workshop], tmp_path: Path) -> None:
    """Rounds with nothing to do need no model, start at once and repeat."""
    shop = shop_of(str(tmp_path / "no-model"))
    with shop.store:
        told = Told(3)
        started = datetime.now(UTC)
        assert serve(shop, every_s=0.1, tell=told, stop=told.stop) == 0
        assert told.lines == ["0 polled, 0 proposed, 0 approved by rule"] * 3
        assert (datetime.now(UTC) - started).total_seconds() < 30
