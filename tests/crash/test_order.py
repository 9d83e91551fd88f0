"""The order of writes that a power cut cannot spoil: content, then name, then the folder, then the commit or the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.store.db import open_store
from tests.crash.order import broken
from tests.crash.stages import prepare
from tests.forks import Forks
from tests.store.samples import NOW

TRACED = "tests.crash.order:traced"
_CASES = ("init", "apply", "correct", "rollback", "base", "gc", "rebuild", "files")


@pytest.mark.parametrize("what", _CASES)
def test_nothing_has_a_name_before_it_is_on_the_disk(forks: Forks, fast_path: Path, what: str) -> None:
    root, trace = fast_path / "state", fast_path / "trace"
    if what == "files":
        root.mkdir()
    else:
        prepare(what, root)
    done = forks.run(trace, root, what, call=TRACED)
    assert done.code == 0, done.err
    events = [line.split("\t")[0] for line in trace.read_text().splitlines()]
    assert "sync" in events and events[-1] == "end"
    assert broken(trace, root) == []


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            ["write R/f.tmp", "rename R/f.tmp R/f", "sync R", "end"],
            "R/f renamed before R/f.tmp was on the disk",
        ),
        (["write R/.f", "sync R/.f", "rename R/.f R/f", "end"], "end before the names ['f'] in R"),
        (
            ["write R/.b/f", "sync R/.b/f", "rename R/.b R/1", "commit", "sync R", "end"],
            "commit before the names",
        ),
        (["write R/b/f", "rename R/b R/1", "sync R", "end"], "R/1 renamed before R/b/f was on the disk"),
        (["remove R/f", "end"], "end before the names ['f'] in R"),
    ],
)
def test_a_wrong_order_is_seen(tmp_path: Path, lines: list[str], said: str) -> None:
    told = [line.replace(" ", "\t").replace("R", str(tmp_path)) for line in lines]
    (tmp_path / "trace").write_text("\n".join(told))
    (found,) = broken(tmp_path / "trace", tmp_path)
    assert found.replace(str(tmp_path), "R").startswith(said)


def test_the_database_syncs_every_commit(fast_path: Path) -> None:
    with open_store(fast_path / "state", NOW, create_missing=True) as store:
        assert [tuple(row) for row in store.rows("PRAGMA synchronous")] == [(2,)]
        assert [tuple(row) for row in store.rows("PRAGMA journal_mode")] == [("wal",)]
