"""In which order a process writes, syncs and renames: what decides what is left after the power went.

Python's audit hooks tell of every open, rename, link and removal, the fault points of every commit; `os.fsync` is wrapped. One line for
each goes into a file, and `broken` says what a power cut could undo or leave half done.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from agent.faults import FAULT_EVENT
from tests.crash import stages

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def traced(trace: str, root: str, what: str) -> None:
    """Do `what` (a stage of the store, or `files`) in `root` and write its order to `trace`."""
    log = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sync_for_good = os.fsync

    def tell(*words: object) -> None:
        os.write(log, ("\t".join(map(str, words)) + "\n").encode())

    def sync(handle: int) -> None:
        sync_for_good(handle)
        tell("sync", Path(f"/proc/self/fd/{handle}").readlink())

    def hear(event: str, given: tuple[object, ...]) -> None:
        match event, given:
            case "open", (str() | os.PathLike() as path, _, int(flags)) if flags & _WRITES:
                tell("write", _place(path))
            case "os.rename" | "os.link", (source, target, *_):
                tell("rename", _place(source), _place(target))
            case "os.symlink", (_, target, *_):
                tell("link", _place(target))
            case "os.remove", (path, *_):
                tell("remove", _place(path))
            case _ if event == FAULT_EVENT and str(given[0]).endswith(":before-commit"):
                tell("commit")

    os.fsync = sync
    sys.addaudithook(hear)
    if what == "files":
        _files(Path(root))
    else:
        stages.run(what, root)
    tell("end")


def _place(path: object) -> Path:
    return Path(os.fsdecode(path)).absolute()  # type: ignore[arg-type]


def _files(root: Path) -> None:
    """What stands outside the database and the revisions."""
    import torch

    from agent.editing.cache import save_values
    from agent.editing.statfile import save_tensors
    from agent.export.place import placed
    from agent.whole import write_new, write_whole

    write_whole(root / "report.html", "a report")
    write_whole(root / "report.html", "a newer report")
    write_new(root / "key", "a secret")
    save_values(root / "cache" / "values", {"a": torch.ones(2), "b": torch.ones(3)})
    save_tensors(root / "cache" / "statistics", {"0": torch.ones(2)}, {"key": "k"})
    with placed(root / "export") as partial:
        (partial / "weights").write_bytes(b"w")


@dataclass
class _Disk:
    """Files written and not synced, and folders with names that are not synced, each with what changed there."""

    written: set[str] = field(default_factory=set)
    named: dict[str, list[str]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)


def broken(trace: Path, root: Path) -> list[str]:
    """What a power cut could spoil: a file or folder renamed before its content was on the disk, names not on the disk at a commit or at
    the end. Temporary names (with a dot) may be lost, and the database and the locks look after themselves.
    """
    disk, found = _Disk(), []
    for line in trace.read_text().splitlines():
        event, *paths = line.split("\t")
        if any(not path.startswith(str(root)) for path in paths):
            continue
        match event:
            case "write" if not Path(paths[0]).name.startswith(("factd.db", "lock")):
                disk.written.add(paths[0])
            case "sync":
                disk.written.discard(paths[0])
                disk.named.pop(paths[0], None)
            case "rename":
                found += _renamed(disk, *paths)
            case "link" | "remove":
                disk.written.discard(paths[0])
                _name(disk, paths[0])
            case "commit" | "end":
                found += [
                    f"{event} before the names {names} in {folder}" for folder, names in disk.named.items()
                ]
    return found


def _renamed(disk: _Disk, source: str, target: str) -> list[str]:
    inside = [path for path in disk.written if path == source or path.startswith(f"{source}/")]
    names = [folder for folder in disk.named if folder == source or folder.startswith(f"{source}/")]
    _name(disk, target)
    return [f"{target} renamed before {part} was on the disk" for part in (*inside, *names)]


def _name(disk: _Disk, path: str) -> None:
    folder, name = os.path.split(path)
    if not name.startswith("."):
        disk.named.setdefault(folder, []).append(name)
