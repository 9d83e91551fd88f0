"""The linear systems against what defines them: exactness of ROME, optimality of MEMIT."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agent.editing.solve import equality, null_space, rank_one, regularised, spread, spread_within
from agent.editing.system import System, prior_of
from agent.errors import EditError

D_IN, D_OUT = 12, 7
SEEDS = st.integers(0, 10_000)


def problem(
    seed: int, facts: int = 3, rows: int = 8
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """residuals (facts, D_OUT), keys (rows, D_IN), owner (rows,) with every fact in it, covariance of 40
    samples.
    """
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randn(40, D_IN, generator=generator, dtype=torch.float64)
    owner = torch.cat([torch.arange(facts), torch.randint(facts, (rows - facts,), generator=generator)])
    return (
        torch.randn(facts, D_OUT, generator=generator),
        torch.randn(rows, D_IN, generator=generator),
        owner,
        samples.T @ samples / 40,
    )


def system_of(
    covariance: torch.Tensor, preserve_keys: torch.Tensor | None = None, preserve: float = 0.0
) -> System:
    return System(prior_of(regularised(covariance, 0.1))).plus(preserve_keys, preserve)


@hypothesis_settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_rome_is_exact(seed: int) -> None:
    """dW k = r, to the rounding of the stored float32 factors."""
    residuals, keys, _, covariance = problem(seed)
    update = rank_one(residuals[0], keys[0], system_of(covariance).solve)
    written = update.left.double() @ (update.right.double().T @ keys[0].double())
    assert torch.allclose(written, residuals[0].double(), rtol=1e-6, atol=1e-9)
    assert update.rank == 1


@hypothesis_settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_rome_disturbs_ordinary_keys_least(seed: int) -> None:
    """Of all updates with dW k = r it has the least tr(dW S dWᵀ): the direction S⁻¹k, not k."""
    residuals, keys, _, covariance = problem(seed)
    system = regularised(covariance, 0.1)
    dense = rank_one(residuals[0], keys[0], system_of(covariance).solve).dense().double()
    key = keys[0].double()
    plain = torch.outer(residuals[0].double(), key) / (key @ key)

    def cost(update: torch.Tensor) -> float:
        return float((update @ system @ update.T).trace())

    assert cost(dense) <= cost(plain) * (1 + 1e-5)


@hypothesis_settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 4))
def test_memit_is_optimal(seed: int, facts: int) -> None:
    """The gradient of  sum over rows w |dW k - r|² + tr(dW S dWᵀ)  vanishes; w = 1 / rows of the fact."""
    residuals, keys, owner, covariance = problem(seed, facts)
    system = regularised(covariance, 0.1) + keys[-2:].double().T @ keys[-2:].double()
    update = spread(residuals, keys, owner, system_of(covariance, keys[-2:], 1.0))
    assert update.rank == facts
    dense = (update.left.double() @ update.right.double().T).requires_grad_(True)
    k, r = keys.double(), residuals.double()[owner]
    weights = 1.0 / torch.bincount(owner).double()[owner]
    loss = (weights * (k @ dense.T - r).pow(2).sum(-1)).sum() + (dense @ system @ dense.T).trace()
    loss.backward()
    assert dense.grad is not None
    assert float(dense.grad.norm()) < 1e-4 * float(r.norm() * k.norm())


@hypothesis_settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_preserved_keys_move_less(seed: int) -> None:
    residuals, keys, owner, covariance = problem(seed)
    k0 = torch.randn(2, D_IN, generator=torch.Generator().manual_seed(seed + 1))
    moved = []
    for mu in (0.0, 1.0, 1e4):
        update = spread(residuals, keys, owner, system_of(covariance, k0, mu))
        moved.append(float((update.dense() @ k0.T).norm()))
    assert moved[1] < moved[0]
    assert moved[2] < 0.05 * moved[0]


@pytest.mark.parametrize("facts", [100, 250])
def test_a_crowd_weighs_as_much_as_a_hundred_facts(facts: int) -> None:
    """dW = R Kᵀ (c S + K Kᵀ)⁻¹ with c = facts / 100."""
    residuals, keys, owner, covariance = problem(0, facts, facts)
    prior = facts / 100 * regularised(covariance, 0.1)
    wanted = residuals.double().T @ keys.double() @ torch.linalg.inv(prior + keys.double().T @ keys.double())
    update = spread(residuals, keys[owner.argsort()], owner.sort().values, system_of(covariance))
    assert torch.allclose(update.dense().double(), wanted, rtol=1e-4, atol=1e-5)


def test_without_regulariser_the_residual_is_reached() -> None:
    residuals, keys, owner, _ = problem(0, facts=3, rows=3)
    update = spread(residuals, keys, owner, System(prior_of(1e-9 * torch.eye(D_IN, dtype=torch.float64))))
    assert torch.allclose(update.dense() @ keys.T, residuals[owner].T, rtol=1e-4, atol=1e-4)


def test_copies_of_a_row_change_nothing() -> None:
    """A fact's rows share weight one: twice the contexts is not twice the fact."""
    residuals, keys, owner, covariance = problem(3)
    system = system_of(covariance)
    once = spread(residuals, keys, owner, system)
    twice = spread(residuals, keys.repeat(2, 1), owner.repeat(2), system)
    assert torch.allclose(once.dense(), twice.dense(), rtol=1e-5, atol=1e-7)


def test_a_covariance_without_rank_is_made_solvable_by_the_ridge() -> None:
    residuals, keys, owner, _ = problem(1)
    one = torch.outer(keys[0], keys[0]).double()
    assert torch.isfinite(spread(residuals, keys, owner, system_of(one)).dense()).all()
    assert torch.isfinite(rank_one(residuals[0], keys[1], system_of(one).solve).dense()).all()


def test_a_covariance_of_nothing_is_an_error() -> None:
    residuals, _, _, _ = problem(1)
    nothing = system_of(torch.zeros(D_IN, D_IN))
    with pytest.raises(EditError, match="not positive definite"):
        spread(residuals, torch.zeros(3, D_IN), torch.arange(3), nothing)
    with pytest.raises(EditError, match="not positive definite"):
        rank_one(residuals[0], torch.ones(D_IN), nothing.solve)


def test_a_key_that_the_whitening_turns_away_is_refused() -> None:
    """kᵀS⁻¹k small against |k||S⁻¹k|: R-ROME's disabling edit."""
    scales = torch.ones(D_IN, dtype=torch.float64)
    scales[1] = 1e-11
    key = torch.zeros(D_IN)
    key[0], key[1] = 1.0, 1e-5
    with pytest.raises(EditError, match="disable the model"):
        rank_one(torch.ones(D_OUT), key, System(prior_of(torch.diag(scales))).solve)


@hypothesis_settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_emmet_gives_every_key_its_residual_and_one_fact_is_rome(seed: int) -> None:
    residuals, keys, _, covariance = problem(seed)
    system = system_of(covariance)
    update = equality(residuals, keys[:3], system)
    assert update.rank == 3
    written = keys[:3].double() @ update.dense().double().T
    # The ridge takes a thousandth of a typical key's share; more of keys that nearly coincide.
    assert torch.allclose(written, residuals.double(), atol=0.05 * float(residuals.norm()))
    single = equality(residuals[:1], keys[:1], system).dense()
    assert torch.allclose(
        single, rank_one(residuals[0], keys[0], system.solve).dense() / 1.001, rtol=1e-5, atol=1e-8
    )


@hypothesis_settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_emmet_disturbs_ordinary_keys_least(seed: int) -> None:
    """Of updates that write the same on the same keys, compared with the plain least-norm one."""
    residuals, keys, _, covariance = problem(seed)
    system = regularised(covariance, 0.1)
    dense = equality(residuals, keys[:3], system_of(covariance)).dense().double()
    k = keys[:3].double()
    plain = (dense @ k.T) @ torch.linalg.pinv(k).T

    def cost(update: torch.Tensor) -> float:
        return float((update @ system @ update.T).trace())

    assert cost(dense) <= cost(plain) * (1 + 1e-5)


@hypothesis_settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_alphaedit_writes_nothing_outside_the_null_space(seed: int) -> None:
    residuals, keys, owner, covariance = problem(seed)
    basis = null_space(covariance, 0.3)
    assert 0 < basis.shape[1] < D_IN
    held = torch.linalg.eigvalsh(covariance)
    assert float(held[: basis.shape[1]].sum()) <= 0.3 * float(held.sum()) + 1e-9
    update = spread_within(
        residuals, keys, owner, basis=basis, ridge=0.1, preserve_keys=keys[-1:], preserve=1.0
    )
    outside = torch.eye(D_IN, dtype=torch.float64) - basis @ basis.T
    dense = update.dense().double()
    assert float((dense @ outside).norm()) < 1e-5 * float(dense.norm())
    assert update.rank == len(residuals)


def test_without_a_null_space_alphaedit_says_so() -> None:
    with pytest.raises(EditError, match=r"raise editing\.null_share"):
        null_space(torch.eye(4, dtype=torch.float64), 0.2)
