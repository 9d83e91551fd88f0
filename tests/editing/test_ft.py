"""Constrained fine-tuning: the bound holds, the targets alone are learnt, and nothing else has a say."""

from __future__ import annotations

import pytest
import torch

from agent.editing.compile import Material, compile_delta
from agent.editing.delta import LowRank, applied
from agent.errors import ConfigError
from agent.lm.load import LM
from agent.lm.score import target_logp
from tests.editing.edits import QUENIA, ZORLAND, edit, material, settings
from tests.models import weight


def tuned(lm: LM, *edits: object, known: Material | None = None, **changes: object) -> LowRank:
    wanted = settings(**{"algorithm": "ft", "ft_eps": 1.5, "lr": 0.05, **changes})
    delta = compile_delta(lm, list(edits), wanted, known or Material()).delta  # type: ignore[arg-type]
    (update,) = delta.updates.values()
    return update


@pytest.mark.parametrize("eps", [0.25, 2.0])
def test_no_entry_moves_further_than_the_bound(taught: LM, eps: float) -> None:
    """And so no output further than eps times the length of the key times the weight's root mean square."""
    update = tuned(taught, ZORLAND, QUENIA, ft_eps=eps, stop_loss=0.0, steps=60).dense()
    base = weight(taught, 1)
    size = float(base.square().mean().sqrt())
    assert float(update.abs().max()) == pytest.approx(eps * size / base.shape[1] ** 0.5, rel=1e-5)
    keys = torch.randn(50, base.shape[1], generator=torch.Generator().manual_seed(0))
    assert bool(((keys @ update.T).abs() <= eps * size * keys.norm(dim=-1, keepdim=True) * 1.001).all())


def test_the_update_is_stored_as_it_is(taught: LM) -> None:
    update = tuned(taught, ZORLAND)
    assert torch.equal(update.left, torch.eye(weight(taught, 1).shape[0]))
    assert torch.equal(update.dense(), update.right.T)
    assert (
        int(torch.linalg.matrix_rank(update.dense())) > 10
    )  # far above the tokens it was learnt from: no thin form


def test_a_looser_bound_learns_more(taught: LM) -> None:
    """Every request of the batch, in both of its forms."""
    both = [(prompt, r.target_new) for r in (ZORLAND, QUENIA) for prompt in r.prompts]
    prompts, targets = zip(*both, strict=True)
    losses = [-sum(target_logp(taught, prompts, targets))]
    for eps in (0.5, 1.0, 2.0):
        wanted = settings(algorithm="ft", ft_eps=eps, lr=0.05, steps=40)
        with applied(taught, compile_delta(taught, [ZORLAND, QUENIA], wanted, Material()).delta):
            losses.append(-sum(target_logp(taught, prompts, targets)))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.5 * losses[0]


def test_what_the_model_says_already_needs_no_step(taught: LM) -> None:
    """The prompt's own tokens do not count, however unlikely: only the target's loss is looked at. One request that is not there yet
    moves the weight for all.
    """
    known = edit("Zorland", "Mipa")
    assert not tuned(taught, known, stop_loss=0.5).dense().any()
    assert tuned(taught, known, QUENIA, stop_loss=0.5).dense().any()


def test_forms_weigh_as_one_fact(taught: LM) -> None:
    """A prompt given twice is the mean of both: the request does not count twice."""
    one = edit("Zorland", "Sorna", forms=1)
    twice = edit("Zorland", "Sorna", forms=1)
    object.__setattr__(twice, "prompts", one.prompts * 2)
    other = tuned(taught, twice, QUENIA, steps=5).dense()
    assert torch.allclose(tuned(taught, one, QUENIA, steps=5).dense(), other, atol=1e-5)


def test_small_batches_of_rows_add_up(taught: LM) -> None:
    whole = tuned(taught, ZORLAND, QUENIA, steps=5, batch_rows=512).dense()
    parts = tuned(taught, ZORLAND, QUENIA, steps=5, batch_rows=1).dense()
    assert torch.allclose(whole, parts, atol=0.02 * float(whole.abs().max()))


def test_settings_of_other_algorithms_have_no_say(taught: LM) -> None:
    """No contexts, covariance, preserve texts, relation KL, rounds, and no polishing of a written value that it does not have."""
    plain = tuned(taught, ZORLAND, steps=4)
    changes = {"contexts": 0, "samples": 7, "kl": 9.0, "polish": 2, "rounds": 1, "seed": 3, "preserve": 9.0}
    other = tuned(taught, ZORLAND, steps=4, known=material("Zorland"), **changes)
    assert torch.equal(plain.right, other.right)


def test_a_bound_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"editing\.ft_eps must be more than zero"):
        settings(ft_eps=0.0)
