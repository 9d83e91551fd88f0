"""Own names: beginnings that end in a name, never of what is edited, and what they are for: they hold."""

from __future__ import annotations

from agent.editing.compile import Material, compile_delta
from agent.editing.delta import applied
from agent.editing.keys import keys_and_states
from agent.editing.preserved import own_names
from agent.lm.load import LM
from tests.editing.edits import ZORLAND, settings
from tests.models import snapshot, unchanged


def test_beginnings_of_own_texts_that_end_in_a_name(taught: LM) -> None:
    before = snapshot(taught)
    rows = own_names(taught, 40, 0, {"Zorland"})
    assert unchanged(taught, before)
    assert rows == own_names(taught, 40, 0, {"Zorland"})
    assert 10 <= len(rows) <= 40
    assert len({row.text for row in rows}) == len(rows)
    for row in rows:
        assert row.text.endswith(row.subject)
        assert "Zorland" not in row.text
    assert any("Zorland" in row.text for row in own_names(taught, 400, 0))


def test_they_hold_what_the_edit_would_move(taught: LM) -> None:
    """States at own names move less with a weight on their keys than without."""
    rows = own_names(taught, 60, 0, {"Zorland"})
    base = keys_and_states(taught, rows, [1]).states

    def moved(preserve: float) -> float:
        wanted = settings(preserve=preserve, covariance=1e-3, contexts=0, carriers=False)
        delta = compile_delta(taught, [ZORLAND], wanted, Material(preserve=rows)).delta
        with applied(taught, delta):
            return float((keys_and_states(taught, rows, [1]).states - base).norm())

    assert moved(10.0) < 0.7 * moved(0.0)
