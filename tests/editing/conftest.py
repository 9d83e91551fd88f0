"""What several files of this folder need."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agent.lm.load import LM


@pytest.fixture
def lm(tiny: Callable[..., LM]) -> LM:
    """A tiny model of random weights, where the family does not matter."""
    return tiny("llama")
