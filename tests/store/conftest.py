from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.store.db import Store, open_store
from tests.store.samples import NOW


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with open_store(folder, NOW, create_missing=True) as opened:
        yield opened
