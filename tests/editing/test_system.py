"""S⁻¹ b by whichever way, and from factors on disk: always the numbers of the plain solve."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agent.editing.factors import Factors
from agent.editing.solve import null_space, regularised
from agent.editing.system import Prior, System, prior_of
from agent.errors import EditError

SIZE = 24


def covariance(seed: int) -> torch.Tensor:
    samples = torch.randn(60, SIZE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return samples.T @ samples / 60


@hypothesis_settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 2 * SIZE), st.floats(1e-3, 1e3))
def test_few_rows_or_many_the_solve_is_the_plain_one(seed: int, count: int, weight: float) -> None:
    generator = torch.Generator().manual_seed(seed + 1)
    prior = regularised(covariance(seed), 0.1)
    rows = torch.randn(count, SIZE, generator=generator)
    more = torch.randn(2, SIZE, generator=generator)
    each = torch.tensor([0.5, 2.0])
    b = torch.randn(SIZE, 3, generator=generator)
    system = System(prior_of(prior)).plus(rows, weight).plus(more, each)
    plain = prior + weight * rows.double().T @ rows.double()
    plain = plain + more.double().T @ torch.diag(each.double()) @ more.double()
    wanted = torch.linalg.solve(plain, b.double())
    assert torch.allclose(system.solve(b), wanted, rtol=1e-8, atol=1e-10 * float(wanted.norm()))


def test_a_few_rows_do_not_need_the_dense_matrix() -> None:
    """That is what makes them cheap: only the prior's factor is read."""
    whole = prior_of(torch.eye(SIZE, dtype=torch.float64))

    def refuse() -> torch.Tensor:
        raise AssertionError

    few = System(Prior(refuse, whole.factor)).plus(torch.ones(2, SIZE))
    assert torch.isfinite(few.solve(torch.ones(SIZE, 1))).all()
    many = System(Prior(whole.dense, refuse)).plus(torch.ones(SIZE, SIZE))
    assert torch.isfinite(many.solve(torch.ones(SIZE, 1))).all()


def test_rows_without_weight_change_nothing() -> None:
    system = System(prior_of(torch.eye(SIZE, dtype=torch.float64)))
    assert system.plus(None) is system
    assert system.plus(torch.ones(0, SIZE)) is system
    assert system.plus(torch.ones(3, SIZE), 0.0) is system


def test_what_is_not_positive_definite_is_an_error() -> None:
    with pytest.raises(EditError, match="not positive definite"):
        System(prior_of(torch.zeros(SIZE, SIZE))).solve(torch.ones(SIZE, 1))


def test_factors_come_back_from_disk_and_damaged_ones_are_made_again(tmp_path: Path) -> None:
    matrices = {3: covariance(1)}
    kept = Factors(matrices, "abc", tmp_path)
    lower, basis = kept.prior(3, 0.2).factor(), kept.null_space(3, 0.3)
    assert torch.allclose(lower @ lower.T, regularised(matrices[3], 0.2), rtol=1e-10)
    assert torch.equal(basis, null_space(matrices[3], 0.3))
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    # Only what is read can be equal here: another covariance under the same key.
    stale = Factors({3: covariance(2)}, "abc", tmp_path)
    assert torch.equal(stale.prior(3, 0.2).factor(), lower)
    assert torch.equal(stale.null_space(3, 0.3), basis)
    for other in (Factors({3: covariance(2)}, "abd", tmp_path), Factors({3: covariance(2)})):
        assert not torch.equal(other.prior(3, 0.2).factor(), lower)
    assert not torch.equal(kept.prior(3, 0.3).factor(), lower)
    for file in files:
        file.write_bytes(file.read_bytes()[:50])
    assert torch.equal(kept.prior(3, 0.2).factor(), lower)
    assert torch.equal(kept.null_space(3, 0.3), basis)
    assert not list(tmp_path.glob("*.partial"))


def test_where_nothing_can_be_written_factors_are_made_each_time(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    lower = Factors({0: covariance(1)}, "abc", blocked).prior(0, 0.2).factor()
    assert torch.equal(lower, Factors({0: covariance(1)}).prior(0, 0.2).factor())
