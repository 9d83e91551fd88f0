"""`factd serve` as a process of its own: what it says, whom it lets in, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from openai import OpenAI

from agent.cli.main import main
from agent.store.db import open_store
from agent.store.revisions import rollback
from tests.serve.conftest import CAPITAL
from tests.store import samples

_READY = re.compile(r"(.*) of taught is served at (http://\S+/v1); Ctrl-C stops it\n")


@dataclass(frozen=True)
class Running:
    process: subprocess.Popen[str]
    what: str
    url: str

    def ended(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@pytest.fixture
def settings(state: Path, taught_folder: Path) -> Path:
    """A settings file over the state with two revisions."""
    file = state / "factd.yaml"
    file.write_text(
        f"state: state\nrelations: relations.yaml\ncatalogue: [catalogue.yaml]\n"
        f"model: {{path: {taught_folder}, device: cpu}}\nserve: {{port: 0, poll_s: 0.05}}\n"
    )
    return file


@contextmanager
def process(settings: Path, *options: str, **environ: str) -> Iterator[Running]:
    command = [sys.executable, "-m", "agent.cli.main", "--config", str(settings), "serve", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1", **environ}
    ) as running:  # fmt: skip
        try:
            assert running.stderr is not None
            ready = _READY.fullmatch(line := running.stderr.readline())
            assert ready, line + running.stderr.read()
            yield Running(running, ready[1], ready[2])
        finally:
            running.kill()


def test_one_line_a_switch_and_an_orderly_end(settings: Path) -> None:
    """A signal while an answer is being streamed: it is given to its end, then the exit code is 0."""
    with process(settings) as server:
        assert server.what == "revision 2"
        with OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
            assert (
                client.completions.create(model="taught", prompt=CAPITAL)
                .choices[0]
                .text.startswith(" Tebbin")
            )
            with open_store(settings.parent / "state", samples.NOW) as store:
                rollback(store, 1, reason="test", who="eva", now=samples.NOW)
            while (answer := client.completions.create(model="taught", prompt=CAPITAL)).system_fingerprint[
                8
            ] == "2":  # type: ignore[index]
                assert answer.choices[0].text.startswith(" Tebbin")
            assert answer.choices[0].text.startswith(" Sorna")
            stream = client.completions.create(model="taught", prompt=CAPITAL, max_tokens=110, stream=True)
            next(stream)
            server.process.send_signal(signal.SIGTERM)
            rest = list(stream)
            assert rest[-1].choices[0].finish_reason == "length"
        assert server.ended() == (0, "", "stopped; every answer in progress was given\n")


def test_another_address_wants_a_key_and_a_second_signal_ends_it_at_once(settings: Path) -> None:
    options = ("--host", "0.0.0.0", "--key-variable", "SERVE_KEY", "--revision", "1")
    with process(settings, *options, SERVE_KEY="s3cret") as server:
        assert server.what == "revision 1"
        port = httpx.URL(server.url).port or 0
        url, key = f"http://localhost:{port}/v1/models", {"Authorization": "Bearer s3cret"}
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, headers={**key, "Host": "box.example"}).status_code == 200
        head = (
            "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer s3cret\r\n"
            "Content-Type: application/json\r\nContent-Length: 9\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", port)) as line:
            line.sendall(head.encode() + b"{")  # the rest never comes
            httpx.get(url, headers=key)
            server.process.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):
                server.process.wait(1.0)
            server.process.send_signal(signal.SIGINT)
            assert server.ended() == (0, "", "stopped at once\n")


@pytest.mark.parametrize(("options", "code", "said"), [
    (["--host", "0.0.0.0"], 2, "can be reached from other machines, so a key is needed"),
    (["--host", "0.0.0.0", "--key-variable", "NOBODY_SET_THIS"], 2, "NOBODY_SET_THIS is empty or not set"),
    (["--key-variable", "sk-secret"], 2, "serve.key_variable must be the name of an environment variable"),
    (["--base", "--revision", "1"], 2, "--base does not go with --revision"),
    (["--revision", "9"], 1, "revision 9: there is none"),
    (["--host", "203.0.113.7", "--key-variable", "PATH"], 2, "203.0.113.7:0 cannot be listened on"),
    (["--host", "no such host", "--key-variable", "PATH"], 2, "is no address of this machine"),
])  # fmt: skip
def test_what_cannot_be_served_is_said_before_the_model_is_loaded(
    settings: Path,
    options: list[str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def loaded(*_: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("agent.workshop.load_model", loaded)
    assert main(["--config", str(settings), "serve", *options]) == code
    printed = capsys.readouterr()
    assert said in printed.err
    assert "secret" not in printed.err
    assert printed.out == ""


def test_a_port_that_is_taken_is_named(settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--config", str(settings), "serve", "--port", str(port)]) == 2
        assert f"127.0.0.1:{port} cannot be listened on" in capsys.readouterr().err


def test_without_a_state_it_says_what_to_do(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", str(settings), "--state", str(tmp_path / "none"), "serve"]) == 1
    assert "factd init" in capsys.readouterr().err


def test_without_its_packages_it_says_which(
    settings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else found(name))
    assert main(["--config", str(settings), "serve"]) == 2
    assert "pip install 'factd[serve]'" in capsys.readouterr().err
