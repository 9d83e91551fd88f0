from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.errors import LockHeld, StoreError
from agent.store.lock import daemon_lock, daemon_pid, worker_lock

HOLD = (
    "import sys, time, pathlib; from agent.store.lock import worker_lock\n"
    "with worker_lock(pathlib.Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)"
)


def test_the_second_worker_is_told_who_works(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(LockHeld, match=f"process {other.pid}") as caught, worker_lock(tmp_path):
            pass
        assert caught.value.exit_code == 6
        other.send_signal(signal.SIGKILL)
    with worker_lock(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_it_is_free_again_after_an_error(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError), worker_lock(tmp_path):
            raise RuntimeError


def test_without_a_folder_there_is_no_lock(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"), worker_lock(tmp_path / "missing"):
        pass


def test_everybody_can_see_whether_a_daemon_runs(tmp_path: Path) -> None:
    assert daemon_pid(tmp_path) is None
    hold = HOLD.replace("worker_lock", "daemon_lock")
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert daemon_pid(tmp_path) == other.pid
        with worker_lock(tmp_path):  # a person may still apply
            pass
        with pytest.raises(LockHeld, match=f"process {other.pid}"), daemon_lock(tmp_path):
            pass
        other.send_signal(signal.SIGKILL)
    assert daemon_pid(tmp_path) is None
    with daemon_lock(tmp_path):
        assert daemon_pid(tmp_path) == os.getpid()


def test_daemon_and_worker_have_a_lock_each(tmp_path: Path) -> None:
    with daemon_lock(tmp_path), worker_lock(tmp_path):
        with (
            pytest.raises(LockHeld, match=f"another `factd run` \\(process {os.getpid()}\\)"),
            daemon_lock(tmp_path),
        ):
            pass
        with (
            pytest.raises(LockHeld, match=f"another factd \\(process {os.getpid()}\\)"),
            worker_lock(tmp_path),
        ):
            pass
