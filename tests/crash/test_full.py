"""A full disk at any write: the error says so, nothing is lost, and the same command ends well once there is room.

First on a real one (a tmpfs of a few megabytes, mounted in a name space of its own), then by points: each write between two points fails with
ENOSPC, also where a real disk would have refused an earlier one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.check import acknowledged, debris, outcome
from tests.crash.hooks import Hook
from tests.crash.matrix import RUN, start_from, undisturbed
from tests.forks import ROOT, Forks, quiet_environ

UNSHARE = ("unshare", "-rm")
REAL = ("poll", "approve", "apply", "correct", "rebuild")


def _can_mount(folder: Path) -> bool:
    try:
        done = subprocess.run(
            [*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, check=False
        )
    except OSError:
        return False
    return done.returncode == 0


def test_on_a_disk_that_is_really_full_nothing_is_lost(tmp_path: Path, fast_path: Path) -> None:
    disk = fast_path / "disk"
    disk.mkdir()
    if not _can_mount(disk):
        pytest.skip("this system lets nobody mount a tmpfs in a name space of his own")
    command = [*UNSHARE, sys.executable, "-m", "tests.crash.full", str(disk), *REAL]
    done = subprocess.run(command, cwd=ROOT, env=quiet_environ(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    tries = [json.loads(line) for line in done.stdout.splitlines()]
    assert {one["stage"] for one in tries if one["code"] == 0} == set(REAL), "with room enough each ends well"
    refused = [one for one in tries if one["code"]]
    assert {one["stage"] for one in refused} == set(REAL)
    for one in tries:
        assert one["code"] == 0 or (one["code"] == 1 and "disk" in one["said"]), one
        assert one["kept"] and one["again"] == 0 and one["same"] and not one["debris"], one


@pytest.mark.parametrize("name", ["apply", "rollback", "gc", "rebuild"])
def test_full_at_any_write_a_stage_ends_well_once_there_is_room(
    forks: Forks, fast_path: Path, name: str
) -> None:
    whole = undisturbed(name, forks, fast_path)
    points = [p for p in whole.points if ":before-" in p[0]]
    assert points
    for case, point in enumerate(points):
        folder = fast_path / str(case)
        start_from(whole.begin, folder)
        full = forks.run(name, folder, call=RUN, hook=Hook(*point, "full"))
        assert full.code != 0 and "No space left on device" in full.err, (point, full.err)
        seen = acknowledged(folder)
        again = forks.run(name, folder, call=RUN)
        assert again.code == 0, again.err
        assert outcome(folder) == whole.end, point
        assert seen <= acknowledged(folder) and debris(folder) == []
        shutil.rmtree(folder)
