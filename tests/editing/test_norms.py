"""How large an update is."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from agent.editing.delta import Delta, LowRank
from agent.editing.norms import relative_norms, update_norm, weight_norm
from agent.lm.arch import down_name
from agent.lm.load import LM
from tests.models import weight

D_OUT, D_IN = 24, 60


def matrix(rows: int, columns: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", range(5))
def test_the_norms_are_the_largest_singular_values(seed: int) -> None:
    update = LowRank(matrix(D_OUT, 7, seed), matrix(D_IN, 7, seed + 100))
    assert update_norm(update) == pytest.approx(float(torch.linalg.svdvals(update.dense())[0]), rel=0.01)
    weight = matrix(D_OUT, D_IN, seed + 200)
    exact = float(torch.linalg.svdvals(weight)[0])
    assert 0.98 * exact <= weight_norm(weight) <= exact * 1.0001
    assert weight_norm(weight.T) == pytest.approx(exact, rel=0.02)
    assert weight_norm(weight.bfloat16()) == pytest.approx(exact, rel=0.03)


def test_more_facts_are_no_larger_an_update_and_a_loud_one_is() -> None:
    """Facts whose keys and values are orthogonal: the Frobenius norm of sixteen is four times that of one."""
    keys, values = torch.eye(D_IN)[:, :16], 0.5 * torch.eye(D_OUT)[:, :16]
    one, many = LowRank(values[:, :1], keys[:, :1]), LowRank(values, keys)
    assert update_norm(many) == pytest.approx(update_norm(one), rel=1e-4)
    loud = LowRank(torch.cat([values[:, :15], 20 * values[:, 15:]], dim=1), keys)
    assert update_norm(loud) == pytest.approx(20 * update_norm(one), rel=1e-4)


def test_nothing_is_zero_and_what_is_no_number_stays_none() -> None:
    assert update_norm(LowRank(torch.zeros(D_OUT, 0), torch.zeros(D_IN, 0))) == 0.0
    assert update_norm(LowRank(torch.zeros(D_OUT, 2), matrix(D_IN, 2, 0))) == 0.0
    broken = matrix(D_OUT, 2, 0)
    broken[3, 1] = math.nan
    assert math.isnan(update_norm(LowRank(broken, matrix(D_IN, 2, 1))))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_delta_is_measured_against_the_weights_it_changes(family: str, tiny: Callable[..., LM]) -> None:
    lm = tiny(family)
    d_out, d_in = weight(lm, 1).shape
    update = LowRank(matrix(d_out, 3, 0), matrix(d_in, 3, 1))
    exact = torch.linalg.svdvals(update.dense())[0] / torch.linalg.svdvals(weight(lm, 1).float())[0]
    found = relative_norms(lm, Delta({down_name(lm.arch, 1): update}, lm.sha))
    assert found == {down_name(lm.arch, 1): pytest.approx(float(exact), rel=0.02)}
