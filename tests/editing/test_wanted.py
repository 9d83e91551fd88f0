"""The rows of an objective: which prompts a step looks at, and what each counts."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
import torch

from agent.editing.keys import SubjectText
from agent.editing.own import OwnAnswers
from agent.editing.wanted import Row, Wanted, edit_rows, encoded, held_rows, keep_rows, wanted
from agent.lm.load import LM
from tests.editing.edits import QUENIA, ZORLAND
from tests.models import FACTS

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
    by_turn = keep_rows([ZORLAND], 2, OwnAnswers(lm, 2))
    texts = [row.text.text for rows in by_turn for row in rows]
    assert sorted(texts) == sorted(ZORLAND.keep)
    assert sum(row.weight for rows in by_turn for row in rows) / 2 == pytest.approx(1.0)


def rows_and_logp(lm: LM) -> tuple[list[Row], Wanted, torch.Tensor]:
    """An edit row and three held ones of one to three tokens, what is wanted of them, and what the model says: (rows, width, vocab)."""
    texts = [SubjectText(f"The {relation} of Quenia is", "Quenia") for relation in FACTS]
    held = [
        dataclasses.replace(row, target=row.target[:count], weight=count / 2)
        for count, row in enumerate(held_rows(texts, OwnAnswers(lm, 3)), 1)
    ]
    rows = [Row(SubjectText("Quenia's leader is", "Quenia"), (5, 6, 7, 8), 0, 1.0), *held]
    batch = encoded(lm, rows)
    with torch.no_grad():
        logp = lm.model(**batch.model_inputs).logits[:, -4:].log_softmax(-1)
    return rows, wanted(lm, rows, lambda places: logp[:, -places.shape[1] :][places]), logp


def test_an_answer_is_held_at_each_of_its_tokens_and_nowhere_else(lm: LM) -> None:
    rows, known, logp = rows_and_logp(lm)
    assert [len(row.target) for row in rows] == [4, 1, 2, 3]
    assert torch.allclose(known.moved(logp[known.places]), torch.zeros(3), atol=1e-6)
    for row in (1, 2, 3):
        for column in range(4):
            other = logp.clone()
            other[row, column] = other[row, column].roll(1)
            count = 4 - column  # of the last columns this is the count-th from the end
            kl = float((logp[row, column].exp() * (logp[row, column] - other[row, column])).sum())
            expected = torch.zeros(3)
            expected[row - 1] = kl * rows[row].weight if count <= len(rows[row].target) else 0.0
            assert kl > 0.1
            assert torch.allclose(known.moved(other[known.places]), expected, rtol=1e-4, atol=1e-5)
    nll = -sum(float(logp[0, i, token]) for i, token in enumerate(rows[0].target)) / 4
    assert known.nll(logp[known.places]).tolist() == pytest.approx([nll], rel=1e-5)


def test_of_some_rows_the_same_is_wanted_as_among_all(lm: LM) -> None:
    _, known, logp = rows_and_logp(lm)
    other = logp.roll(1, -1)
    for chosen in ([0, 2], [1, 3], [3], [0]):
        mask = torch.zeros(4, dtype=torch.bool)
        mask[chosen] = True
        part = known.pick(mask)
        held = [row - 1 for row in chosen if row]
        assert torch.allclose(part.moved(other[mask][part.places]), known.moved(other[known.places])[held])
        assert len(part.nll(other[mask][part.places])) == len(chosen) - len(held)
