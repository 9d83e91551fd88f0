"""Many sources at once, few at a time to one host, each outcome as soon as it is there."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from agent.sources.base import SourceSpec
from agent.sources.http import Client
from agent.sources.poll import poll
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
