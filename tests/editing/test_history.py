"""Sequential batches with their history: what earlier batches wrote is held while later ones are written."""

from __future__ import annotations

import pytest
import torch

from agent.editing.algorithms.registry import ALGORITHMS
from agent.editing.compile import Material, compile_delta
from agent.editing.delta import Delta, LowRank, applied
from agent.editing.keys import SubjectText, keys_and_states
from agent.lm.generate import generate
from agent.lm.load import LM
from tests.editing.edits import QUENIA, ZORLAND, edit, settings

HOLDING = sorted(name for name, spec in ALGORITHMS.items() if spec.covariance)


def in_batches(lm: LM, algorithm: str, history: bool) -> Delta:
    wanted = settings(algorithm=algorithm, mode="sequential", history=history, steps=12)
    return compile_delta(lm, [ZORLAND, QUENIA], wanted, Material()).delta


@pytest.mark.parametrize("algorithm", HOLDING)
def test_a_later_batch_moves_earlier_keys_less(taught: LM, algorithm: str) -> None:
    """|dW2 k1| over all prompts of the first batch's fact, with dW2 the second batch's update and k1 a key on the weights it met."""
    rows = [SubjectText(prompt, "Zorland") for prompt in ZORLAND.prompts]
    moved = {}
    for history in (True, False):
        updates = in_batches(taught, algorithm, history).updates
        layers = {name: next(layer for layer in (0, 1) if f".{layer}." in name) for name in updates}
        first = {name: LowRank(u.left[:, :1], u.right[:, :1]) for name, u in updates.items()}
        with applied(taught, Delta(first, taught.sha)):
            keys = keys_and_states(taught, rows, [0, 1]).keys
        moved[history] = sum(
            float((keys[layers[name]] @ u.right[:, 1:] @ u.left[:, 1:].T).norm())
            for name, u in updates.items()
        )
    assert 0 < moved[True] < 0.7 * moved[False]


def test_the_first_batch_has_no_history(taught: LM) -> None:
    with_it, without = (in_batches(taught, "memit", history).updates for history in (True, False))
    assert with_it.keys() == without.keys()
    for name, update in with_it.items():
        assert torch.equal(update.left[:, :1], without[name].left[:, :1])
        assert torch.equal(update.right[:, :1], without[name].right[:, :1])
        assert not torch.equal(update.right[:, 1:], without[name].right[:, 1:])


def test_a_subject_does_not_hold_itself(taught: LM) -> None:
    """Another fact about the same subject has the same keys: held where they are, it could not be written."""
    again = edit("Zorland", "Ulmo")
    both = [
        compile_delta(
            taught, [ZORLAND, again], settings(mode="sequential", history=history), Material()
        ).delta
        for history in (True, False)
    ]
    assert both[0].sha == both[1].sha
    with applied(taught, both[0]):
        assert generate(taught, [ZORLAND.prompt], max_new_tokens=2)[0].strip().startswith("Ulmo")


def test_fine_tuning_holds_nothing(taught: LM) -> None:
    assert in_batches(taught, "ft", True).sha == in_batches(taught, "ft", False).sha
