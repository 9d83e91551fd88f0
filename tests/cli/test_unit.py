"""The systemd unit: filled with the paths of this machine, and read by systemd itself where it is at hand."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.cli.main import main
from agent.cli.unit import unit
from agent.config import load
from agent.errors import UsageError
from agent.settings import ModelSettings, Settings

ANALYZE = shutil.which("systemd-analyze")


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    assert main(["init", "--systemd"]) == 0
    return tmp_path / "factd.service"


def test_it_names_the_settings_and_the_state_and_the_program(written: Path) -> None:
    text = written.read_text(encoding="utf-8")
    folder = written.parent
    start = re.search(r"(?m)^ExecStart=(\S+)(?: -m agent\.cli\.main)? --config (\S+) run --log json$", text)
    assert start is not None and Path(start[1]).is_file() and start[2] == str(folder / "factd.yaml")
    assert f"ReadWritePaths={folder / 'state'}\n" in text
    assert re.search(r"(?m)^Type=notify$", text) and re.search(r"(?m)^WatchdogSec=", text)
    assert not re.search(r"(?m)^[^#]*@[A-Z_]+@", text)
    assert load(Path(start[2]), environ={}).state == folder / "state"


def test_nothing_is_overwritten(written: Path) -> None:
    assert main(["init", "--systemd"]) == 2
    written.unlink()
    assert main(["init", "--systemd"]) == 0  # beside settings that are there already
    assert main(["init"]) == 2


def test_a_gpu_is_left_to_the_model_that_may_use_one(tmp_path: Path) -> None:
    def devices(device: str) -> str:
        settings = Settings(state=tmp_path, model=ModelSettings(device=device))
        found = re.search(r"(?m)^PrivateDevices=(\w+)$", unit(tmp_path / "factd.yaml", settings, "eva"))
        return found[1] if found else ""

    assert [devices(d) for d in ("auto", "cuda:1", "cpu")] == ["no", "no", "yes"]


@pytest.mark.parametrize(
    "folder", ["with space", "per%cent", "dollar$HOME", 'quote"', "line\nExecStart=/bin/sh"]
)
def test_a_path_cannot_say_more_than_itself(tmp_path: Path, folder: str) -> None:
    with pytest.raises(UsageError, match="cannot stand in a systemd unit"):
        unit(tmp_path / folder / "factd.yaml", Settings(state=tmp_path), "eva")


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_and_little_exposed(written: Path) -> None:
    assert ANALYZE is not None
    seen = subprocess.run(
        [ANALYZE, "verify", "--man=no", str(written)], capture_output=True, text=True, timeout=60
    )
    complaints = [line for line in seen.stderr.splitlines() if "factd" in line]
    assert complaints == []
    rated = subprocess.run(
        [ANALYZE, "security", "--offline=true", "--no-pager", str(written)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    score = re.search(r"exposure level for factd\.service: ([0-9.]+)", rated.stdout)
    assert score is not None, rated.stdout + rated.stderr
    assert float(score[1]) < 3.0
