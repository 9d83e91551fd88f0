"""One case of the matrix: a stage is killed at one passing of one point, started again, and checked."""

from __future__ import annotations

import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

from tests.crash.check import acknowledged, debris, outcome
from tests.crash.hooks import Hook, passed
from tests.crash.stages import prepare
from tests.forks import Done, Forks

RUN = "tests.crash.stages:run"


@dataclass(frozen=True)
class Undisturbed:
    """Where a stage begins (a state folder, or none yet), the points it passes, and what it comes to."""

    name: str
    begin: Path
    points: tuple[tuple[str, int], ...]
    end: dict[str, object]


def undisturbed(name: str, forks: Forks, folder: Path) -> Undisturbed:
    """Prepare a stage in `folder` and run it once, counting."""
    begin, end, trace = folder / "begin", folder / "end", folder / "trace"
    prepare(name, begin)
    start_from(begin, end)
    done = forks.run(name, end, call=RUN, hook=Hook(trace=str(trace)))
    assert done.code == 0 and (name == "mend") == bool(done.err), done.err
    points = passed(trace) if trace.exists() else []
    return Undisturbed(name, begin, tuple(points), outcome(end))


def start_from(begin: Path, folder: Path) -> None:
    if begin.exists():
        shutil.copytree(begin, folder, symlinks=True)


def check_case(of: Undisturbed, point: tuple[str, int], forks: Forks, folder: Path) -> Done:
    """Raises AssertionError when anything is lost, done twice, left behind, or mended in silence. The next start, which was checked."""
    start_from(of.begin, folder)
    killed = forks.run(of.name, folder, call=RUN, hook=Hook(*point, "kill"))
    assert killed.code == -signal.SIGKILL, killed.err
    seen, left = acknowledged(folder), debris(folder)
    again = forks.run(of.name, folder, call=RUN)
    assert again.code == 0, again.err
    assert outcome(folder) == of.end
    assert seen <= acknowledged(folder), "what was acknowledged is gone"
    assert debris(folder) == []
    said = [line for line in again.err.splitlines() if line.startswith("repaired: ")]
    assert again.err.splitlines() == said
    assert bool(said) == bool(left), (left, said)
    return again
