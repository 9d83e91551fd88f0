"""A disk that is really full: a small tmpfs of this process's own, filled up to so many bytes.

`python -m tests.crash.full FOLDER STAGE...` mounts it on FOLDER (run it under `unshare -rm`), brings each stage to its beginning, and runs
it with 0, 4, 8... KiB left until it fits. Prints one JSON line a try: what it said, and whether it then ended as it would have.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from agent.errors import FactdError
from tests.crash.check import acknowledged, debris, outcome
from tests.crash.stages import prepare, run

SIZE = "2m"
PAGE = 4096
MOST_PAGES = 80


def main(folder: Path, stages: list[str]) -> None:
    for stage in stages:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder], check=True)
        begin = folder.parent / f"begin-{stage}"
        prepare(stage, begin)
        end = folder.parent / f"end-{stage}"
        shutil.copytree(begin, end, symlinks=True)
        run(stage, str(end))
        for pages in range(MOST_PAGES):
            if _tried(folder, begin, stage, pages, outcome(end)):
                break
        subprocess.run(["umount", folder], check=True)


def _tried(folder: Path, begin: Path, stage: str, pages: int, end: dict[str, object]) -> bool:
    """Whether there was room enough. Everything is removed again."""
    state, ballast = folder / "state", folder / "ballast"
    shutil.copytree(begin, state, symlinks=True)
    before = acknowledged(state)
    _fill(folder, ballast, pages)
    code, said = _forked(stage, state)
    ballast.unlink()
    kept = before <= acknowledged(state)
    again = _forked(stage, state)
    found = {
        "stage": stage, "pages": pages, "code": code, "said": said, "kept": kept, "again": again[0],
        "same": outcome(state) == end, "debris": debris(state),
    }  # fmt: skip
    print(json.dumps(found), flush=True)
    shutil.rmtree(state)
    return code == 0


def _fill(folder: Path, ballast: Path, pages: int) -> None:
    """All but so many pages."""
    there = os.statvfs(folder)
    with ballast.open("wb") as stream:
        stream.write(
            b"x" * (there.f_bavail - pages - 1) * there.f_bsize if there.f_bavail > pages + 1 else b""
        )
    assert os.statvfs(folder).f_bavail in (pages, pages + 1), os.statvfs(folder)


def _forked(stage: str, state: Path) -> tuple[int, str]:
    """0 and nothing, or 1 and the error as the command line would tell it; 2 for what is no error of ours."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code, said = 0, ""
        try:
            run(stage, str(state))
        except FactdError as error:
            code, said = 1, str(error)
        except BaseException as error:
            code, said = 2, repr(error)
        os.write(writing, said.encode()[:4000])
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        said = stream.read().decode()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
