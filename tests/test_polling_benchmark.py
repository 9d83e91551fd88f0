"""The polling benchmark's own instruments: a server that counts, and a verdict that can fail."""

from __future__ import annotations

import http.client
import sys
import threading
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from agent.sources.feed import parse_feed
from agent.sources.items import Context
from agent.sources.plain import read_plain
from agent.types import SourceSpec
from benchmarks.feed_server import ITEMS, feed_body, host_of
from benchmarks.polling import fault, run, server, summary, table
from benchmarks.polling_sides import control
from tests.sources.conftest import NOW

linux = pytest.mark.skipif(sys.platform != "linux", reason="addresses beyond 127.0.0.1 need Linux")


@pytest.mark.parametrize("n", [0, 1, 2])
def test_every_kind_of_feed_is_read_whole(n: int) -> None:
    context = Context(SourceSpec("x", "http://127.0.0.1/x"), NOW)
    parsed = parse_feed(feed_body(n, ITEMS), context)
    assert len(parsed.articles) == ITEMS and not parsed.notes
    assert read_plain(feed_body(n, ITEMS).decode()) and not read_plain(
        feed_body(n, ITEMS, unusual=True).decode()
    )
    newer = parse_feed(feed_body(n, ITEMS + 2), context)
    assert newer.articles[2:] == parsed.articles


def test_the_server_sees_who_asks_a_host_too_much() -> None:
    with server(feeds=3, hosts=1, latency_ms=300) as port:
        control(port, "begin/0")

        def ask() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("GET", "/feed/0.xml")
            connection.getresponse().read()
            connection.close()

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert control(port, "seen") == {
            "busiest_host": 3,
            "hosts": 1,
            "connections": 3,
            "statuses": {"200": 3},
        }
        control(port, "begin/0")
        for _ in range(3):
            ask()
        assert control(port, "seen")["busiest_host"] == 1


@linux
def test_our_side_does_the_work_within_the_limit(tmp_path: Path) -> None:
    options = Namespace(feeds=40, hosts=5, workers=8, per_host=2)
    with server(options.feeds, options.hosts, 5) as port:
        found = run("ours", port, options, tmp_path / "run")
    assert found["again"]["statuses"] == {"304": 36, "200": 4}
    assert {found[name]["busiest_host"] for name in ("cold", "again", "news")} == {2}
    assert len({host_of(n, 5) for n in range(40)}) == 5
    assert "| cold, s |" in table(summary([found]))


def _found(side: str, **changes: Any) -> dict[str, Any]:
    one = {"s": 1.0, "processor_s": 1.0, "errors": 0, "articles": 10 * ITEMS, "busiest_host": 2} | changes
    return {
        "side": side,
        "cold": one,
        "again": one,
        "news": one | {"articles": one["articles"] + 3},
        "peak_mib": 50.0,
    }


def test_a_run_that_did_less_or_asked_too_much_is_worthless() -> None:
    assert fault(_found("ours"), 10, 2) == ""
    assert "3 connections" in fault(_found("ours", busiest_host=3), 10, 2)
    assert fault(_found("reader", busiest_host=8), 10, 2) == ""
    assert "249 articles" in fault(_found("reader", articles=249), 10, 2)
    assert "1 errors" in fault(_found("reader", errors=1), 10, 2)


def test_the_ratio_is_of_the_medians() -> None:
    runs = [_found("ours", s=s) for s in (1.0, 2.0, 9.0)] + [_found("reader", s=s) for s in (6.0, 1.0, 8.0)]
    assert summary(runs)["ratio"]["cold_s"] == 3.0
