"""The daemon's pages over real sockets: what they answer, whom they refuse, and that nobody can hold them up."""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from html.parser import HTMLParser

import pytest

from agent.errors import StoreError, UsageError
from agent.health import Standing
from agent.redact import Redactor
from agent.watch import server as served
from agent.watch.metrics import metrics
from agent.watch.page import page
from agent.watch.server import Server, Watched
from tests.watch.made import HOSTILE, NOW, gone, source, well


class State:
    """What the pages are about; a test may change it."""

    def __init__(self) -> None:
        self.standing: Standing | None = well()
        self.alive = True
        self.looks = 0

    def look(self) -> Standing:
        self.looks += 1
        if self.standing is None:
            raise StoreError("/state/factd.db: damaged; token=hunter22\nrestore it")
        return self.standing


@pytest.fixture
def state() -> State:
    return State()


@contextmanager
def listening(state: State, host: str = "127.0.0.1") -> Iterator[Server]:
    server = Server(host, 0, Watched(state.look, lambda: state.alive, Redactor()))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def server(state: State) -> Iterator[Server]:
    with listening(state) as made:
        yield made


def ask(server: Server, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)) as line:
        line.request(method, path, headers=headers)
        got = line.getresponse()
        return got.status, {k.lower(): v for k, v in got.getheaders()}, got.read().decode()


def test_alive_ready_and_what_is_wrong(server: Server, state: State) -> None:
    assert ask(server, "/healthz")[0::2] == (200, "ok\n")
    assert ask(server, "/readyz?x=1")[0::2] == (200, "ready\n")
    state.alive = False
    assert ask(server, "/healthz")[0::2] == (503, "a round is stuck\n")
    assert ask(server, "/readyz")[0] == 503
    assert state.looks == 1  # however many ask


def test_not_ready_says_why_and_a_damaged_database_is_no_crash(state: State) -> None:
    state.standing = well(rounds=(), last_good_at=None)
    with listening(state) as server:
        status, _, text = ask(server, "/readyz")
        assert status == 503 and "no round has come to its end yet" in text
        assert "something is wrong" in ask(server, "/")[2]
    state.standing = None
    with listening(state) as server:
        status, _, text = ask(server, "/readyz")
        assert (status, text) == (503, "/state/factd.db: damaged; token=*** restore it\n")
        assert ask(server, "/")[0] == ask(server, "/metrics")[0] == 503
        assert ask(server, "/healthz")[0] == 200  # the process is alive


def test_a_browser_may_load_nothing_for_the_page(server: Server) -> None:
    status, headers, text = ask(server, "/")
    assert status == 200 and "all is well" in text and "revision 3" in text
    assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
    assert headers["server"] == "factd" and headers["connection"] == "close"
    assert ask(server, "/", "HEAD")[2] == ""


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/../etc/passwd", 404), ("GET", "//x", 404), ("POST", "/", 405), ("PUT", "/metrics", 405),
     ("DELETE", "/healthz", 405), ("OPTIONS", "*", 405)],
)  # fmt: skip
def test_there_is_nothing_else(server: Server, method: str, path: str, status: int) -> None:
    assert ask(server, path, method)[0] == status


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[::1", "10.0.0.1"]
)
def test_a_page_of_the_web_that_took_our_address_is_refused(server: Server, host: str) -> None:
    for path in ("/", "/healthz", "/metrics"):
        status, _, text = ask(server, path, Host=host)
        assert status == 421 and "revision" not in text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8787", "127.0.0.1:1", "[::1]:8787", "127.1.2.3"])
def test_names_of_this_machine_are_answered(server: Server, host: str) -> None:
    assert ask(server, "/healthz", Host=host)[0] == 200


def raw(server: Server, sent: bytes, timeout_s: float = 10.0) -> bytes:
    """What comes back for these bytes, b"" where the connection is closed."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=timeout_s) as line:
        got = b""
        try:
            line.sendall(sent)
            while part := line.recv(65536):
                got += part
        except ConnectionError:
            pass
        return got


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * 500 + b"\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"G\x00T / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n folded: \xff\xfe\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    ],
)
def test_what_is_no_request_of_ours_gets_no_page(server: Server, sent: bytes) -> None:
    got = raw(server, sent)
    assert b"all is well" not in got and b"<script" not in got
    assert ask(server, "/healthz")[0] == 200


def test_slow_clients_are_left_and_others_are_served(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sends a byte now and then, and would go on for ever; a deadline for the whole request ends it."""
    monkeypatch.setattr(served, "TIMEOUT_S", 1.0)
    slow = [socket.create_connection(("127.0.0.1", server.server_port)) for _ in range(10)]
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(0.2):
            for line in slow:
                with suppress(OSError):
                    line.send(b"G")

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        assert ask(server, "/healthz")[0] == 200
        for line in slow:
            line.settimeout(10)
            with suppress(ConnectionError):
                assert line.recv(10) == b""  # closed
    finally:
        stop.set()
        dripping.join()
        for line in slow:
            line.close()


def test_more_than_enough_clients_are_turned_away_and_leave_room_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "TIMEOUT_S", 2.0)
    before = threading.active_count()
    lines = [
        socket.create_connection(("127.0.0.1", server.server_port)) for _ in range(3 * served.CONNECTIONS)
    ]
    most = max(threading.active_count() for _ in range(20) if not time.sleep(0.01))
    assert most - before <= served.CONNECTIONS
    for line in lines:
        line.close()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if ask(server, "/healthz")[0] == 200:
                break
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
    assert ask(server, "/healthz")[0] == 200


def test_a_port_that_is_taken_is_said(server: Server, state: State) -> None:
    with pytest.raises(UsageError, match=r"cannot be listened on .*daemon\.port"):
        Server("127.0.0.1", server.server_port, Watched(state.look, lambda: True, Redactor()))


def test_other_machines_may_ask_where_the_owner_wants_it(state: State) -> None:
    with listening(state, "0.0.0.0") as server:
        assert ask(server, "/healthz", Host="box.lan")[0] == 200


LINE = re.compile(
    r'(?:# (?:HELP|TYPE) [a-z_]+ [^\n]+|[a-z_]+(?:\{[a-z]+="(?:[^"\\\n]|\\[\\n"])*"(?:,[a-z]+="(?:[^"\\\n]|\\[\\n"])*")*\})? -?[0-9.e+-]+)'
)


def test_metrics_are_lines_that_prometheus_reads(server: Server) -> None:
    """The format of https://prometheus.io/docs/instrumenting/exposition_formats/, and the library's own parser where it is there."""
    hostile = well(
        sources=(source(HOSTILE, "failing", 4, HOSTILE), source("ü", "gone")),
        rounds=(gone(9, "running", counts={}), gone(8, "error", errors=2)),
    )
    for standing in (well(), hostile, well(rounds=(), last_good_at=None, sources=())):
        text = metrics(standing, alive=True)
        assert text.endswith("\n") and all(LINE.fullmatch(line) for line in text[:-1].split("\n"))
        names = re.findall(r"(?m)^# TYPE (\S+)", text)
        assert len(names) == len(set(names)) and {n.partition("_")[0] for n in names} == {"factd"}
        try:
            from prometheus_client.parser import text_string_to_metric_families
        except ModuleNotFoundError:
            continue
        assert len(list(text_string_to_metric_families(text))) == len(names)
    status, headers, text = ask(server, "/metrics")
    assert status == 200 and headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert values["factd_revision"] == "3" and values['factd_facts{place="weights"}'] == "10"
    assert values['factd_proposals{status="pending"}'] == "4" and values["factd_ready"] == "1"
    assert float(values["factd_last_good_round_timestamp_seconds"]) == NOW.timestamp() - 540


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not any(name.startswith("on") or name in ("src", "href", "action") for name, _ in attrs)


def test_nothing_on_the_page_comes_alive() -> None:
    standing = well(
        sources=(source(HOSTILE, "failing", 4, HOSTILE * 50),),
        rounds=(gone(9, "error", message=HOSTILE, errors=1, counts={HOSTILE: 1}),),
    )
    text = page(standing, alive=False)
    tags = Tags()
    tags.feed(text)
    assert "script" not in tags.seen and "a" not in tags.seen and "form" not in tags.seen
    assert "\x1b" not in text and "\u202e" not in text
    assert "&lt;script&gt;" in text and "a round makes no steps any more" in text
