"""`factd run` as systemd starts it: a process, its log, its pages, its signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from agent.store import rounds
from agent.store.db import read_store
from tests.cli.conftest import World, write_settings

SECRET = "hunter2hunter2"


def test_a_daemon_from_its_start_to_its_end(bare: World, tmp_path: Path) -> None:
    feed = f"http://eva:{SECRET}@127.0.0.1:9/feed?token={SECRET}"  # refused: it lies on this machine
    write_settings(bare.folder, model=str(bare.folder / "no-model"), feeds=[feed])
    with bare.store():
        pass
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        line.settimeout(60)
        command = [sys.executable, "-m", "agent.cli.main", "--config", str(bare.settings)]
        environ = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000"}
        with subprocess.Popen(
            [*command, "run", "--log", "json", "--port", "0"], stderr=subprocess.PIPE, text=True, env=environ
        ) as daemon:
            assert daemon.stderr is not None
            said = [json.loads(daemon.stderr.readline()) for _ in range(3)]
            by_event = {line["event"]: line for line in said}
            assert set(by_event) == {"pages", "started", "round"}
            url = by_event["pages"]["url"]
            pages = {
                p: urllib.request.urlopen(url + p, timeout=10).read().decode()
                for p in ("healthz", "readyz", "metrics", "")
            }
            status = subprocess.run(
                [*command, "status", "--json"], capture_output=True, text=True, timeout=60
            )
            daemon.send_signal(signal.SIGTERM)
            rest = daemon.stderr.read()
            assert daemon.wait(60) == 0
        heard = []
        line.setblocking(False)
        while True:
            try:
                heard.append(line.recv(4096).decode().partition("\n")[0])
            except BlockingIOError:
                break
    assert (pages["healthz"], pages["readyz"]) == ("ok\n", "ready\n")
    assert (
        'factd_source_errors{source="feed 1"} 1' in pages["metrics"]
        and "factd_rounds_total 1" in pages["metrics"]
    )
    assert json.loads(status.stdout)["daemon"] == {"runs": True, "pid": daemon.pid}
    assert [json.loads(line)["event"] for line in rest.splitlines()] == ["stopping", "stopped"]
    assert heard[0] == "READY=1" and "WATCHDOG=1" in heard and heard[-1] == "STOPPING=1"
    for text in (*map(str, said), rest, *pages.values(), status.stdout, status.stderr):
        assert SECRET not in text and "eva" not in text
    assert by_event["round"]["failed_sources"] == 1 and by_event["round"]["seconds"] >= 0
    with read_store(bare.state) as store:
        assert [r.outcome for r in rounds.last(store, 9)] == ["ok"]


def test_options_that_do_not_go_together(bare: World) -> None:
    assert bare.run("run", "--once", "--port", "8787").code == 2
    assert "text or json" in bare.run("run", "--log", "xml").err


def test_once_is_noted_as_well(bare: World) -> None:
    with bare.store():
        pass
    assert bare.run("run", "--once").code == 0
    with read_store(bare.state) as store:
        assert [r.outcome for r in rounds.last(store, 9)] == ["ok"]
    assert bare.run("status").code == 0
