"""A process that forks, and folders in memory: what survives kill -9 does not depend on the disk, and waiting for it takes most of the time."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forks import Forks

MEMORY = Path("/dev/shm")


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    made = Forks(tmp_path_factory.mktemp("forks"), None)
    yield made
    made.close()


@pytest.fixture
def fast_path(tmp_path: Path) -> Iterator[Path]:
    """As `tmp_path`, in memory where the system has such a folder."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="factd-crash-", dir=MEMORY))
    yield folder
    shutil.rmtree(folder)
