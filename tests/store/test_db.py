from __future__ import annotations

import multiprocessing
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest

from agent.errors import StoreError
from agent.store import articles, queue
from agent.store.codec import to_text
from agent.store.db import DATABASE, Store, open_store, read_store
from agent.store.migrations import MIGRATIONS
from tests.store.samples import NOW, article, fact, propose, tree


def _both_ways(folder: Path) -> tuple[Callable[[], Store], ...]:
    return (partial(open_store, folder, NOW), partial(read_store, folder))


def test_it_is_as_durable_as_it_says(store: Store) -> None:
    def pragma(name: str) -> object:
        row = store.row(f"PRAGMA {name}")
        assert row is not None
        return row[0]

    assert (pragma("journal_mode"), pragma("synchronous"), pragma("foreign_keys")) == ("wal", 2, 1)
    assert pragma("busy_timeout") == 10_000


def test_what_was_written_is_there_after_reopening(store: Store, folder: Path) -> None:
    articles.add(store, [article(1)])
    store.close()
    with open_store(folder, NOW) as again:
        assert articles.get(again, "feed:1") == article(1)


@pytest.mark.parametrize("opened", [lambda folder: open_store(folder, NOW), read_store])
def test_a_missing_state_is_an_error_and_is_not_made(folder: Path, opened: object) -> None:
    assert callable(opened)
    with pytest.raises(StoreError, match="no such state folder; run `factd init`"):
        opened(folder)
    assert not folder.exists()
    folder.mkdir()
    with pytest.raises(StoreError, match=r"no factd\.db in this folder"):
        opened(folder)
    assert not list(folder.iterdir())


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be made"):
        open_store(tmp_path / "file" / "state", NOW, create_missing=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_no_permission_to_read(store: Store, folder: Path) -> None:
    store.close()
    folder.chmod(0o700)
    os.seteuid(65534)
    try:
        for opened in _both_ways(folder):
            with pytest.raises(StoreError, match="permission"):
                opened()
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_folder_one_may_only_read_can_be_listed_not_written(folder: Path, tmp_path: Path) -> None:
    with open_store(folder, NOW, create_missing=True) as store:
        propose(store)
    (folder / DATABASE).chmod(0o644)  # its owner lets others read
    parents = [*tmp_path.parents, tmp_path, folder]
    modes = [(path, path.stat().st_mode) for path in parents if path.stat().st_uid == 0 and path.is_dir()]
    for path, mode in modes:
        path.chmod(mode | 0o555)
    os.seteuid(65534)
    try:
        with read_store(folder) as store:
            assert len(queue.proposals(store)) == 1
        with pytest.raises(StoreError, match=r"check the owner|check that the folder"):
            open_store(folder, NOW).close()
    finally:
        os.seteuid(0)
        for path, mode in modes:
            path.chmod(mode)


def test_a_file_that_is_no_database(folder: Path) -> None:
    folder.mkdir()
    (folder / DATABASE).write_text("these are my notes, not a database; they are rather long" * 30)
    before = tree(folder)
    for opened in _both_ways(folder):
        with pytest.raises(StoreError, match="not a database"):
            opened()
    assert tree(folder) == before


def test_a_database_of_another_program(folder: Path) -> None:
    folder.mkdir()
    conn = sqlite3.connect(folder / DATABASE)
    conn.execute("CREATE TABLE photo (id)")
    conn.commit()
    conn.close()
    before = tree(folder)
    with pytest.raises(StoreError, match="another program"):
        open_store(folder, NOW, create_missing=True)
    assert {name: sha for name, sha in tree(folder).items() if name == DATABASE} == before


def test_a_newer_database_is_refused_untouched(store: Store, folder: Path) -> None:
    store.run("PRAGMA user_version = 99")
    store.close()
    before = tree(folder)
    for opened in _both_ways(folder):
        with pytest.raises(StoreError, match=r"newer factd \(version 99"):
            opened()
    assert tree(folder) == before


def test_listing_leaves_no_trace_and_cannot_write(store: Store, folder: Path) -> None:
    propose(store)
    store.close()
    before = tree(folder)
    with read_store(folder) as reader:
        assert len(queue.proposals(reader)) == 1
        with pytest.raises(StoreError, match="may not be written"):
            propose(reader, fact("Somebody Else"))
    assert tree(folder) == before


def test_a_reader_sees_what_a_writer_commits_meanwhile(store: Store, folder: Path) -> None:
    with read_store(folder) as reader:
        assert queue.proposals(reader) == ()
        propose(store)
        assert len(queue.proposals(reader)) == 1


def test_an_error_inside_undoes_everything(store: Store) -> None:
    with pytest.raises(RuntimeError), store.writing():
        articles.add(store, [article(1)])
        raise RuntimeError
    assert articles.count(store) == 0
    articles.add(store, [article(1)])
    assert articles.count(store) == 1


def test_times_without_a_zone_are_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="no time zone"):
        to_text(datetime(2026, 1, 1))


def _open_and_close(folder: Path, barrier: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    open_store(folder, NOW, create_missing=True).close()


def test_many_may_create_it_at_once(folder: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(6)
    workers = [context.Process(target=_open_and_close, args=(folder, barrier)) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 6
    with read_store(folder) as store:
        assert len(store.rows("SELECT * FROM migration")) == len(MIGRATIONS)


def test_importing_the_store_loads_nothing_heavy() -> None:
    code = (
        "import sys, agent.store.queue, agent.store.leases, agent.store.blame, agent.store.lock\n"
        "heavy = {'torch', 'spacy', 'httpx', 'numpy', 'yaml', 'transformers', 'typer', 'feedparser'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
