"""`factd web` as a command: the printed address, the token file, where it listens, how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from agent.cli.main import main
from agent.store.db import open_store
from tests.store import samples
from tests.web.conftest import fill


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with open_store(tmp_path / "state", samples.NOW, create_missing=True) as store:
        fill(store)
    (tmp_path / "factd.yaml").write_text("state: state\nmodel: {path: none}\nsources: []\n")
    return tmp_path


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and the address that it printed."""
    command = [
        sys.executable,
        "-m",
        "agent.cli.main",
        "--config",
        str(folder / "factd.yaml"),
        "web",
        "--port",
        "0",
    ]
    process = subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_an_address_answers_and_ends_in_order(folder: Path, number: signal.Signals) -> None:
    with running(folder) as (process, address):
        assert address.startswith("http://127.0.0.1:") and len(address.partition("token=")[2]) >= 43
        with httpx.Client(trust_env=False) as client:
            assert client.get(address).status_code == 200
            assert "Borduria" in client.get(address.partition("/enter")[0] + "/queue").text
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0 and said.splitlines()[-1] == "stopped"
        assert address.partition("token=")[2] not in said, "the token stays out of what may be logged"


def test_a_token_file_is_made_for_its_owner_alone_and_used_again(folder: Path) -> None:
    path = folder / "token"
    with running(folder, "--token-file", str(path)) as (_, first):
        pass
    assert path.stat().st_mode & 0o777 == 0o600
    with running(folder, "--token-file", str(path)) as (_, second):
        pass
    assert first.partition("token=")[2] == second.partition("token=")[2] == path.read_text().strip()


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [("x" * 40, 0o644, "others may read it"), ("short", 0o600, "no token of at least"), ("é" * 40, 0o600, "cannot be read"),
     ("a b" * 20, 0o600, "no token of at least")],
)  # fmt: skip
def test_a_bad_token_file_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], content: str, mode: int, words: str
) -> None:
    path = folder / "token"
    path.write_text(content, encoding="utf-8")
    path.chmod(mode)
    assert main(["--config", str(folder / "factd.yaml"), "web", "--token-file", str(path)]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_it_listens_on_loopback_only(folder: Path, capsys: pytest.CaptureFixture[str], host: str) -> None:
    assert main(["--config", str(folder / "factd.yaml"), "web", "--host", host]) == 2
    assert "ssh -L" in capsys.readouterr().err


def test_without_a_state_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "factd.yaml").write_text("state: state\nmodel: {path: none}\nsources: []\n")
    assert main(["--config", str(tmp_path / "factd.yaml"), "web"]) == 1
    assert "factd init" in capsys.readouterr().err
