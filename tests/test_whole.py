"""A file is there whole or not at all, whatever happens while it is written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.faults import FAULT_VARIABLE
from agent.whole import sync, write_new, write_whole

ROOT = Path(__file__).parents[1]
OLD, NEW = "what stood there\n", "an announcement: Łódź\n" * 1000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "file"
    file.write_text(OLD, encoding="utf-8")
    return file


def elsewhere(
    code: str, path: Path, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`code` in another process, which has write_whole, NEW and the path as `path`."""
    given = f"from pathlib import Path; from agent.whole import write_whole; NEW = {NEW!r}; path = Path({str(path)!r})"
    return subprocess.run(
        [sys.executable, "-c", f"{given}\n{code}"],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, **(environ or {})}, check=False,
    )  # fmt: skip


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_and_bytes_take_the_place_of_what_is_there(path: Path) -> None:
    write_whole(path, NEW)
    assert path.read_bytes() == NEW.encode("utf-8")
    write_whole(path, b"\xff\r\n")
    assert path.read_bytes() == b"\xff\r\n"
    write_whole(path.with_name("other"), "")
    assert path.with_name("other").read_bytes() == b""
    assert names(path.parent) == ["file", "other"]


def test_a_device_or_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    """Root may rename a file over /dev/null, and the machine is not well after that."""
    (tmp_path / "null").symlink_to("/dev/null")
    write_whole(tmp_path / "null", NEW)
    assert (tmp_path / "null").is_symlink()
    os.mkfifo(tmp_path / "pipe")
    with os.fdopen(os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        write_whole(tmp_path / "pipe", "told\n")
        assert (tmp_path / "pipe").is_fifo() and reader.read() == b"told\n"
    assert names(tmp_path) == ["null", "pipe"]


@pytest.mark.parametrize("links", [True, False], ids=["with hard links", "without"])
def test_what_is_new_takes_no_others_place(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, links: bool
) -> None:
    if not links:

        def refuse(*_: object) -> None:
            raise PermissionError(1, "Operation not permitted")  # as on a stick from the shop

        monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(FileExistsError):
        write_new(path, NEW)
    assert path.read_text(encoding="utf-8") == OLD
    other, nowhere = path.with_name("other"), path.with_name("nowhere")
    write_new(other, NEW, mode=0o600)
    assert other.read_text(encoding="utf-8") == NEW
    assert (other.stat().st_mode & 0o777, other.stat().st_nlink) == (0o600, 1)
    nowhere.symlink_to(path.parent / "missing")
    with pytest.raises(FileExistsError):
        write_new(nowhere, NEW)
    assert names(path.parent) == ["file", "nowhere", "other"]


@pytest.mark.parametrize(("point", "is_there"), [("whole:before-link", False), ("whole:after-link", True)])
def test_killed_on_the_way_a_new_file_is_there_whole_or_not_at_all(
    path: Path, point: str, *, is_there: bool
) -> None:
    other = path.with_name("other")
    code = "from agent.whole import write_new; write_new(path, NEW)"
    assert elsewhere(code, other, {FAULT_VARIABLE: point}).returncode == -signal.SIGKILL
    assert other.exists() == is_there
    assert not is_there or other.read_text(encoding="utf-8") == NEW
    write_whole(other, NEW)
    assert names(path.parent) == ["file", "other"], "what was left is swept"


def test_a_name_without_a_folder_is_beside_us(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    write_whole(Path("file"), NEW)
    assert path.read_text(encoding="utf-8") == NEW


@pytest.mark.parametrize(("point", "stands"), [("whole:before-rename", OLD), ("whole:after-rename", NEW)])
def test_killed_on_the_way_the_file_is_the_old_one_or_the_new_one(
    path: Path, point: str, stands: str
) -> None:
    killed = elsewhere("write_whole(path, NEW)", path, {FAULT_VARIABLE: point})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert path.read_text(encoding="utf-8") == stands
    write_whole(path, NEW)
    assert path.read_text(encoding="utf-8") == NEW


def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(path: Path) -> None:
    """No file of that process may grow beyond a few bytes, as on a full disk."""
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (99, 99))"
    failed = elsewhere(f"{limited}\nwrite_whole(path, NEW)", path)
    assert failed.returncode == 1 and "OSError: [Errno 27]" in failed.stderr
    assert path.read_text(encoding="utf-8") == OLD
    assert names(path.parent) == ["file"]


@pytest.mark.parametrize(
    ("write", "error"),
    [
        (lambda path: write_whole(path.with_name("folder"), NEW), OSError),
        (lambda path: write_whole(path / "below", NEW), OSError),
        (lambda path: write_whole(path, 3), TypeError),
        (lambda path: write_whole(path, "\ud800"), UnicodeEncodeError),
    ],
    ids=["folder", "below a file", "number", "no text"],
)
def test_after_an_error_nothing_is_left_beside_it(
    path: Path, write: Callable[[Path], None], error: type[Exception]
) -> None:
    path.with_name("folder").mkdir()
    with pytest.raises(error):
        write(path)
    assert path.read_text(encoding="utf-8") == OLD
    assert names(path.parent) == ["file", "folder"]


def test_the_content_is_on_the_disk_before_the_name_and_the_name_before_the_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    sync_for_good, replace = os.fsync, Path.replace

    def seen(handle: int) -> None:
        order.append("folder" if Path(f"/proc/self/fd/{handle}").readlink() == path.parent else "file")
        sync_for_good(handle)

    monkeypatch.setattr("os.fsync", seen)
    monkeypatch.setattr(Path, "replace", lambda self, to: (order.append("rename"), replace(self, to))[1])
    write_whole(path, NEW)
    assert order == ["file", "rename", "folder"]


def test_everybody_may_read_it_unless_it_is_to_be_like_another(path: Path) -> None:
    path.chmod(0o600)
    write_whole(path, NEW)
    assert path.stat().st_mode & 0o7777 == 0o644
    path.chmod(0o640)
    write_whole(path, NEW, like=path.stat())
    assert path.stat().st_mode & 0o7777 == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_it_keeps_the_owner_of_what_it_is_to_be_like(path: Path) -> None:
    os.chown(path, 12, 34)
    write_whole(path, NEW, like=path.stat())
    assert (path.stat().st_uid, path.stat().st_gid) == (12, 34)


def test_what_is_not_there_cannot_be_synced(tmp_path: Path) -> None:
    sync(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "none")
