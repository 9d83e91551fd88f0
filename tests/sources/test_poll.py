"""Many sources at once, few at a time to one host, each outcome as soon as it is there."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from queue import SimpleQueue

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.base import Fetched, SourceSpec
from agent.sources.http import Client
from agent.sources.poll import _Line, poll, poll_batches
from agent.types import FeedState
from tests.sources.conftest import NOW, Site, answer, item, rss


def test_every_source_comes_back_once_whatever_it_is(site: Site, client: Client, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(rss(item(1)))
    site.pages["/ok"] = answer(200, rss(item(1)))
    specs = [
        SourceSpec("file", str(tmp_path / "a.xml")),
        SourceSpec("web", f"{site.url}/ok", allow_private=True),
        SourceSpec("missing", f"{site.url}/none", allow_private=True),
        SourceSpec("refused", f"{site.url}/ok"),
        SourceSpec("nonsense", "http://[x"),
    ]
    got = {spec.name: fetched.status for spec, fetched in poll(specs, {}, client, NOW)}
    assert got == {"file": "ok", "web": "ok", "missing": "error", "refused": "error", "nonsense": "error"}
    assert list(poll([], {}, client, NOW)) == []


def test_a_host_is_never_asked_more_than_it_should_be(site: Site, client: Client) -> None:
    lock = threading.Lock()
    now_busy = most_busy = 0

    def slow(handler: BaseHTTPRequestHandler) -> None:
        nonlocal now_busy, most_busy
        with lock:
            now_busy += 1
            most_busy = max(most_busy, now_busy)
        time.sleep(0.02)
        with lock:
            now_busy -= 1
        answer(200, rss(item(1)))(handler)

    specs = []
    for n in range(12):
        site.pages[f"/{n}"] = slow
        specs.append(SourceSpec(str(n), f"{site.url}/{n}", allow_private=True))
    outcomes = list(poll(specs, {}, client, NOW, max_concurrency=8, per_host=3))
    assert len(outcomes) == 12 and all(f.status == "ok" for _, f in outcomes)
    assert 1 < most_busy <= 3


def test_a_slow_source_does_not_hold_back_the_others(site: Site, client: Client) -> None:
    def stuck(handler: BaseHTTPRequestHandler) -> None:
        site.stop.wait(5)
        answer(404)(handler)

    site.pages |= {"/slow": stuck, "/quick": answer(200, rss(item(1)))}
    specs = [SourceSpec(name, f"{site.url}/{name}", allow_private=True) for name in ("slow", "quick")]
    outcomes = poll(specs, {}, client, NOW)
    assert next(outcomes)[0].name == "quick"
    site.stop.set()
    assert next(outcomes)[0].name == "slow"


def test_what_became_ready_meanwhile_comes_in_one_batch(
    site: Site, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = threading.Semaphore(0)

    class Heard(SimpleQueue[Future[Fetched]]):
        def put(self, item: Future[Fetched], block: bool = True, timeout: float | None = None) -> None:
            super().put(item, block, timeout)
            done.release()

    monkeypatch.setattr("agent.sources.poll.SimpleQueue", Heard)
    page = answer(200, rss(item(1)))

    def held(handler: BaseHTTPRequestHandler) -> None:
        site.stop.wait(60)
        page(handler)

    site.pages = {f"/{n}": held if n else page for n in range(12)}
    specs = [SourceSpec(path, site.url + path, allow_private=True) for path in site.pages]
    batches = poll_batches(specs, {}, client, NOW, max_concurrency=4, per_host=12)
    sizes = [len(next(batches))]
    site.stop.set()
    for _ in range(8):  # the threads go on while we do not ask
        assert done.acquire(timeout=60)
    assert len(site.seen) == 8, "and not without bound"
    sizes += [len(batch) for batch in batches]
    assert sizes[:2] == [1, 7] and sum(sizes) == 12 and min(sizes) >= 1


def test_an_abandoned_poll_starts_nothing_more(site: Site, client: Client) -> None:
    specs = []
    for n in range(40):
        site.pages[f"/{n}"] = answer(200, rss(item(n)))
        specs.append(SourceSpec(str(n), f"{site.url}/{n}", allow_private=True))
    outcomes = poll(specs, {}, client, NOW, max_concurrency=2, per_host=40)
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    asked = len(site.seen)
    time.sleep(0.1)
    assert asked == len(site.seen) <= 8


def test_the_host_with_most_to_ask_is_busy_from_the_start() -> None:
    """Else its sources would be left over at the end, when its limit keeps all other threads idle."""
    large = [SourceSpec(f"large {n}", f"http://large.example/{n}") for n in range(10)]
    small = [SourceSpec(f"small {n}", f"http://small{n}.example/") for n in range(10)]
    line = _Line([*small, *large], {}, per_host=2)
    taken = [line.take() for _ in range(4)]
    assert [turn[0].name.split()[0] for turn in taken if turn] == ["large", "large", "small", "small"]
    line.leave("large.example")
    again = line.take()
    assert again is not None and again[1] == "large.example"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40), st.integers(1, 3))
def test_everybody_has_a_turn_and_no_host_is_above_its_limit(
    plan: list[tuple[str, bool]], per_host: int
) -> None:
    specs = [SourceSpec(str(n), f"http://{host}.Example:80{n}/x") for n, (host, _) in enumerate(plan)]
    line, busy, had = _Line(specs, {}, per_host), Counter[str](), []
    hurries = iter([late for _, late in plan])
    while len(had) < len(specs):
        turn = line.take()
        if turn is not None:
            had.append(turn[0].name)
            busy[turn[1]] += 1
            assert busy[turn[1]] <= per_host
        if turn is None or next(hurries, True):
            host = busy.most_common(1)[0][0]
            busy[host] -= 1
            line.leave(host)
    assert sorted(had) == sorted(spec.name for spec in specs) and line.take() is None


def test_the_limit_goes_by_where_the_feed_is_now() -> None:
    spec = SourceSpec("moved", "http://old.example/")
    moved = FeedState("moved", "http://new.example/", origin=spec.url)
    stale = FeedState("moved", "http://new.example/", origin="http://settings-were-otherwise.example/")
    assert [_Line([spec], {"moved": state}, 1).take() for state in (moved, stale)] == [
        (spec, "new.example"), (spec, "old.example")
    ]  # fmt: skip
