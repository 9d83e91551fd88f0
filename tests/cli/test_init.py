"""`factd init` writes settings that load, and overwrites nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli.main import main
from agent.config import load
from agent.settings import Settings


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    return tmp_path


def test_the_file_says_what_the_defaults_are(empty: Path) -> None:
    assert main(["init"]) == 0
    settings = load(empty / "factd.yaml", environ={})
    assert settings.model == Settings().model
    assert settings.sources == ()
    assert (empty / "state" / "factd.db").is_file()
    assert main(["queue", "list"]) == 0


def test_model_and_feeds_go_in_and_the_comments_stay(empty: Path) -> None:
    (empty / "my model").mkdir()
    feeds = ["https://www.example.org/rss", "https://example.org/other", "news é.xml"]
    arguments = [word for feed in feeds for word in ("--feed", feed)]
    assert main(["init", "--model", "my model", *arguments]) == 0
    settings = load(empty / "factd.yaml", environ={})
    assert settings.model.path == str(empty / "my model")
    assert [(s.name, s.url) for s in settings.sources] == [
        ("example.org", feeds[0]), ("example.org 2", feeds[1]), ("news é", str(empty / feeds[2]))
    ]  # fmt: skip
    text = (empty / "factd.yaml").read_text(encoding="utf-8")
    assert "# a checkpoint folder" in text and "poll_minutes: 15" in text


def test_a_hub_id_and_a_state_elsewhere(empty: Path) -> None:
    assert main(["--config", "own.yaml", "--state", "data/here", "init", "--model", 'Qwen/x"\\y']) == 0
    settings = load(empty / "own.yaml", environ={})
    assert settings.model.path == 'Qwen/x"\\y'
    assert settings.state == empty / "data" / "here"
    assert (empty / "data" / "here" / "factd.db").is_file()


@pytest.mark.parametrize(("mask", "mode"), [(0o077, 0o600), (0o022, 0o644)])
def test_the_umask_says_who_may_read_the_settings(empty: Path, mask: int, mode: int) -> None:
    """A feed's url may hold a login."""
    before = os.umask(mask)
    try:
        assert main(["init", "--systemd"]) == 0
        assert os.umask(mask) == mask, "it stays what it was"
    finally:
        os.umask(before)
    for name in ("factd.yaml", "factd.service"):
        assert (empty / name).stat().st_mode & 0o777 == mode


def test_what_a_killed_init_left_is_swept(empty: Path) -> None:
    assert main(["init"]) == 0
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    (empty / f".factd.yaml.{dead.pid}.x.partial").hardlink_to(empty / "factd.yaml")
    mine = empty / f".factd.yaml.{os.getpid()}.x.partial"
    mine.touch()
    assert main(["init"]) == 2
    assert [path.name for path in empty.glob(".*.partial")] == [mine.name], "who lives may still be at it"


def test_nothing_is_overwritten(empty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (empty / "factd.yaml").write_text("# mine\nstate: state\n")
    assert main(["init", "--model", "x"]) == 2
    assert "not overwritten" in capsys.readouterr().err
    assert main(["init"]) == 0  # the state was missing: it is made, the settings stay
    assert (empty / "state" / "factd.db").is_file()
    assert main(["init"]) == 2
    assert (empty / "factd.yaml").read_text() == "# mine\nstate: state\n"


def test_where_nothing_may_be_written(empty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (empty / "file").write_text("")
    assert main(["--config", "file/factd.yaml", "init"]) == 1
    assert capsys.readouterr().err.startswith("error: ")
