"""Running only the tail of a prompt gives what running the whole prompt gives, in every family."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from agent.editing.tails import Tails, by_tail, picked, split, tail_logp, tails
from agent.lm.arch import decoder_layers
from agent.lm.guess import width_of
from agent.lm.hooks import capture, edit_output
from agent.lm.load import LM
from agent.lm.tokens import SubjectRows, subject_rows
from tests.models import FAMILIES, snapshot, unchanged

LAYER = 1
TEXTS = [
    "The capital of Zorland is",
    "Quenia's leader is",
    "It was said that the currency of Bavoria is Sorna and the capital is",
    "Who is the leader of Merovia",
]
SUBJECTS = ["Zorland", "Quenia", "Bavoria", "Merovia"]


@pytest.fixture(params=[*FAMILIES, "bos"])
def lm(request: pytest.FixtureRequest, tiny: Callable[..., LM]) -> LM:
    return tiny("llama", bos=True) if request.param == "bos" else tiny(request.param)


def whole(lm: LM, rows: SubjectRows, push: torch.Tensor) -> torch.Tensor:
    """(rows, length, vocab): the whole model on the whole prompt, the push put in by a hook."""

    def change(hidden: torch.Tensor) -> torch.Tensor:
        return hidden.index_put((torch.arange(len(push)), rows.positions), push, accumulate=True)

    with edit_output(decoder_layers(lm.model, lm.arch)[LAYER], change):
        return lm.model(**rows.model_inputs, use_cache=False).logits.log_softmax(-1)  # type: ignore[no-any-return]


def pushes(lm: LM, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(count, width_of(lm.model), generator=generator)


def cut_and_rows(lm: LM) -> tuple[Tails, SubjectRows, torch.Tensor]:
    rows = subject_rows(lm, TEXTS, SUBJECTS, [[5], [], [7, 9], [4]])
    return tails(lm, rows, LAYER), rows, pushes(lm, len(TEXTS))


def at_end(cut: Tails, lm: LM, push: torch.Tensor | None, width: int) -> torch.Tensor:
    """(rows, width, vocab): at all of the last columns."""
    places = torch.ones(len(cut), width, dtype=torch.bool)
    return cut.logp(lm, push, places).reshape(len(cut), width, -1)


def test_only_the_places_that_are_asked_for_reach_the_head(lm: LM) -> None:
    cut, _, push = cut_and_rows(lm)
    places = torch.tensor([[0, 1, 1], [0, 0, 0], [1, 0, 1], [0, 0, 1]]).bool()
    with torch.no_grad(), capture(lm.model.get_output_embeddings(), "input") as seen:
        some = cut.logp(lm, push, places)
        assert seen[0].shape[:-1] == (1, 5)
        every = at_end(cut, lm, push, 3)
    assert torch.allclose(some, every[places], atol=1e-5)


def test_log_probabilities_and_gradients_are_those_of_the_whole_model(lm: LM) -> None:
    before = snapshot(lm)
    cut, rows, push = cut_and_rows(lm)
    ours, theirs = push.clone().requires_grad_(), push.clone().requires_grad_()
    tail, plain = at_end(cut, lm, ours, 3), whole(lm, rows, theirs)[:, -3:]
    assert torch.allclose(tail, plain, atol=2e-4)
    assert float((tail - at_end(cut, lm, None, 3)).detach().abs().max()) > 1e-3  # the push does something
    weights = torch.randn(tail.shape, generator=torch.Generator().manual_seed(4))
    (tail * weights).sum().backward()
    (plain * weights).sum().backward()
    assert torch.allclose(ours.grad, theirs.grad, atol=2e-3, rtol=1e-3)  # type: ignore[arg-type]
    assert unchanged(lm, before)


def test_some_of_the_rows_give_the_same_numbers(lm: LM) -> None:
    """Asked twice: running a tail leaves what stands before it as it was."""
    cut, _, push = cut_and_rows(lm)
    mask = torch.tensor([True, False, True, False])
    some = cut.pick(mask)
    assert len(some) == 2
    for _ in range(2):
        with torch.no_grad():
            assert torch.allclose(at_end(some, lm, push[mask], 3), at_end(cut, lm, push, 3)[mask], atol=2e-4)


def test_a_changed_model_is_followed_once_the_head_is_read_again(tiny: Callable[..., LM]) -> None:
    """What polishing relies on: with a fresh head the tail is the whole model's, with an old one only nearly."""
    lm = tiny("llama")
    rows = subject_rows(lm, TEXTS, SUBJECTS)
    cut = split(rows)
    old, last = cut.read_head(lm), torch.ones(len(TEXTS), 1, dtype=torch.bool)
    with edit_output(decoder_layers(lm.model, lm.arch)[0], lambda hidden: 1.5 * hidden), torch.no_grad():
        plain = lm.model(**rows.model_inputs, use_cache=False).logits.log_softmax(-1)[:, -1]
        assert torch.allclose(tail_logp(lm, cut, cut.read_head(lm), last), plain, atol=2e-4)
        assert not torch.allclose(tail_logp(lm, cut, old, last), plain, atol=2e-4)


def test_a_subject_at_the_start_has_nothing_before_it(tiny: Callable[..., LM]) -> None:
    lm = tiny("llama")
    rows = subject_rows(lm, ["Zorland", "Zorland is"], ["Zorland", "Zorland"])
    push = pushes(lm, 2)
    cut = tails(lm, rows, LAYER)
    with torch.no_grad():
        assert torch.allclose(at_end(cut, lm, push, 1), whole(lm, rows, push)[:, -1:], atol=2e-4)


def test_few_tokens_are_one_group_whatever_the_lengths(tiny: Callable[..., LM]) -> None:
    lm = tiny("llama")
    rows = subject_rows(lm, ["Zorland", f"Zorland{' it is' * 20}"], ["Zorland"] * 2)
    assert list(by_tail(lm, rows, 6, LAYER)) == [[0, 1]]
    assert list(by_tail(lm, rows, 1, LAYER)) == [[0], [1]]


def test_groups_hold_every_row_once_and_tails_of_about_one_length(
    tiny: Callable[..., LM], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.editing.tails._SMALL", {})
    lm = tiny("llama")
    texts = [f"{'so ' * (i % 5)}Zorland{' it is' * (i % 7)}" for i in range(40)]
    rows = subject_rows(lm, texts, ["Zorland"] * 40)
    groups = list(by_tail(lm, rows, 6, LAYER))
    assert sorted(i for group in groups for i in group) == list(range(40))
    assert max(map(len, groups)) <= 6
    for group in groups:
        some = picked(rows, group)
        ends = some.input_ids.shape[1] - some.positions
        assert int(ends.max()) <= 1.5 * int(ends.min())
        assert bool(some.attention_mask[:, 0].any())
        for row, index in enumerate(group):
            real = rows.input_ids[index][rows.attention_mask[index].bool()]
            assert torch.equal(some.input_ids[row][some.attention_mask[row].bool()], real)
            at = int(some.positions[row]) - int((some.attention_mask[row] == 0).sum())
            assert at == int(rows.positions[index]) - int((rows.attention_mask[index] == 0).sum())
