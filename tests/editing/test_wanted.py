"""The rows of an objective: which prompts a step looks at, and what each counts."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from agent.editing.wanted import edit_rows, keep_rows
from agent.lm.load import LM
from tests.editing.edits import QUENIA, ZORLAND

CONTEXTS = ["", "It is said. "]


@pytest.mark.parametrize(
    ("prompts", "turns", "at_once"), [(2, 3, 2), (3, 3, 2), (7, 3, 3), (5, 1, 5), (1, 2, 1)]
)
def test_all_turns_together_look_at_every_prompt(lm: LM, prompts: int, turns: int, at_once: int) -> None:
    many = dataclasses.replace(ZORLAND, prompts=tuple(f"As {i} told, Zorland has" for i in range(prompts)))
    by_turn = edit_rows(lm, [QUENIA, many], CONTEXTS, turns)
    assert len(by_turn) == turns
    seen: Counter[str] = Counter()
    for rows in by_turn:
        mine = [row for row in rows if row.owner == 1]
        assert len(mine) == len({row.text for row in mine}) == at_once * len(CONTEXTS)
        for owner in (0, 1):  # a mean over the rows of this turn, however many prompts the other request has
            assert sum(row.weight for row in rows if row.owner == owner) == pytest.approx(1.0)
        seen.update(row.text.text for row in mine)
    assert set(seen) == {context + prompt for prompt in many.prompts for context in CONTEXTS}


def test_few_prompts_are_looked_at_in_every_turn(lm: LM) -> None:
    first, *others = edit_rows(lm, [ZORLAND, QUENIA], CONTEXTS, 3)
    assert all(rows == first for rows in others)


def test_all_turns_of_the_keeps_weigh_as_much_as_one_mean(lm: LM) -> None:
    by_turn = keep_rows([ZORLAND], 2)
    texts = [row.text.text for rows in by_turn for row in rows]
    assert sorted(texts) == sorted(ZORLAND.keep)
    assert sum(row.weight for rows in by_turn for row in rows) / 2 == pytest.approx(1.0)
