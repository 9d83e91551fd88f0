"""The crash matrix over the store: every stage, killed at every point it passes, started again. `make crash` adds the model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.crash.matrix import check_case, undisturbed
from tests.crash.stages import STAGES
from tests.forks import Forks


@pytest.mark.parametrize("name", sorted(STAGES.keys() - {"litter"}))
def test_killed_at_any_point_a_stage_ends_as_if_undisturbed(forks: Forks, fast_path: Path, name: str) -> None:
    """The first passing of every point; `make crash` kills at the later ones too."""
    whole = undisturbed(name, forks, fast_path)
    assert whole.points
    for case, point in enumerate(p for p in whole.points if p[1] == 1):
        check_case(whole, point, forks, fast_path / str(case))
        shutil.rmtree(fast_path / str(case))
