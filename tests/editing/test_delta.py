"""A delta's file, its use on a model, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from agent.editing.delta import Delta, LowRank, add_, applied, empty_delta, load_delta, restored, stacked
from agent.errors import EditError
from agent.lm.arch import down_module, down_name
from agent.lm.load import LM
from tests.models import snapshot, unchanged, weight


def random_update(lm: LM, layer: int, rank: int = 2, seed: int = 0) -> LowRank:
    d_out, d_in = weight(lm, layer).shape
    generator = torch.Generator().manual_seed(seed)
    return LowRank(
        torch.randn(d_out, rank, generator=generator), torch.randn(d_in, rank, generator=generator)
    )


@pytest.fixture(params=["llama", "gpt2"])
def lm(request: pytest.FixtureRequest, tiny: Callable[..., LM]) -> LM:
    return tiny(request.param)


@pytest.fixture
def delta(lm: LM) -> Delta:
    return Delta({down_name(lm.arch, i): random_update(lm, i, seed=i) for i in (0, 2)}, lm.sha)


def test_the_file_gives_back_every_bit(delta: Delta, tmp_path: Path) -> None:
    path = tmp_path / "delta.safetensors"
    path.write_bytes(delta.to_bytes())
    found = load_delta(path)
    assert found.base_sha == delta.base_sha
    assert found.sha == delta.sha
    for name, update in delta.updates.items():
        assert torch.equal(found.updates[name].left, update.left)
        assert torch.equal(found.updates[name].right, update.right)


def test_equal_deltas_are_equal_bytes(delta: Delta) -> None:
    backwards = Delta(dict(reversed(delta.updates.items())), delta.base_sha)
    assert all(backwards.to_bytes() == delta.to_bytes() for _ in range(20))
    assert Delta(delta.updates, "0" * 64).sha != delta.sha


def test_the_empty_delta_has_a_file_too(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.write_bytes(empty_delta("a" * 64).to_bytes())
    assert load_delta(path).sha == empty_delta("a" * 64).sha


@pytest.mark.parametrize("part", [0.0, 0.01, 0.3, 0.99])
def test_a_truncated_file_is_an_edit_error(delta: Delta, tmp_path: Path, part: float) -> None:
    data = delta.to_bytes()
    path = tmp_path / "delta.safetensors"
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(EditError, match=r"delta\.safetensors: cannot be read as a delta"):
        load_delta(path)


@pytest.mark.parametrize("data", [
    b"", b"not a delta", save({"x.left": torch.ones(2, 1)}, metadata={"base_sha": "a"}),
    save({"x.left": torch.ones(2, 1), "x.right": torch.ones(2, 1)}),
    save({"x.left": torch.ones(2, 1), "x.right": torch.ones(2, 1)}, metadata={"other": "a"}),
    save({"x.left": torch.ones(2, 1), "x.right": torch.ones(2, 3)}, metadata={"base_sha": "a"}),
])  # fmt: skip
def test_another_file_is_an_edit_error_that_names_it(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "delta.safetensors"
    path.write_bytes(data)
    with pytest.raises(EditError, match=r"delta\.safetensors: cannot be read as a delta"):
        load_delta(path)
    with pytest.raises(EditError, match="nowhere: cannot be read"):
        load_delta(tmp_path / "nowhere")


def test_applied_adds_the_dense_update_in_the_modules_own_orientation(lm: LM, delta: Delta) -> None:
    before = {i: weight(lm, i) for i in range(4)}
    with applied(lm, delta):
        for layer in (0, 2):
            wanted = before[layer] + delta.updates[down_name(lm.arch, layer)].dense()
            assert torch.allclose(weight(lm, layer), wanted, atol=1e-6)
        assert torch.equal(weight(lm, 1), before[1])
    assert all(torch.equal(weight(lm, i), before[i]) for i in range(4))


def test_blocks_nest_and_restore_from_the_inside_out(lm: LM, delta: Delta) -> None:
    before = snapshot(lm)
    with applied(lm, delta):
        once = snapshot(lm)
        with applied(lm, delta):
            assert not torch.equal(weight(lm, 0), once[down_name(lm.arch, 0)])
        assert unchanged(lm, once)
    assert unchanged(lm, before)


def test_special_values_come_back_bit_for_bit(lm: LM, delta: Delta) -> None:
    parameter = lm.model.get_parameter(down_name(lm.arch, 0))
    original = parameter.detach().clone()
    with torch.no_grad():
        parameter.view(-1)[:3] = torch.tensor([float("nan"), -0.0, 1e-45])
    before = snapshot(lm)
    with applied(lm, delta):
        pass
    assert unchanged(lm, before)
    with torch.no_grad():
        parameter.copy_(original)


def test_the_wrong_base_is_refused(lm: LM, delta: Delta) -> None:
    other = Delta(delta.updates, "f" * 64)
    with (
        pytest.raises(EditError, match=f"base ffffffffffff, the loaded model is {lm.sha[:12]}"),
        applied(lm, other),
    ):
        pass


def test_another_shape_is_refused_and_restored(lm: LM) -> None:
    before = snapshot(lm)
    wrong = {
        down_name(lm.arch, 0): random_update(lm, 0),
        down_name(lm.arch, 1): LowRank(torch.ones(3, 1), torch.ones(4, 1)),
    }
    with pytest.raises(EditError, match="another model's delta"), applied(lm, Delta(wrong, lm.sha)):
        pass
    assert unchanged(lm, before)
    with (
        pytest.raises(EditError, match="no such weight"),
        applied(lm, Delta({"lost.weight": random_update(lm, 0)}, lm.sha)),
    ):
        pass
    assert unchanged(lm, before)


def test_factors_that_do_not_fit_are_refused() -> None:
    for left, right in (((3, 1), (4, 2)), ((3,), (4, 1)), ((3, 1, 1), (4, 1, 1))):
        with pytest.raises(EditError, match="low-rank factors"):
            LowRank(torch.ones(left), torch.ones(right))


def test_stacked_is_the_sum(lm: LM) -> None:
    one, two = random_update(lm, 0, 1, 1), random_update(lm, 0, 2, 2)
    both = stacked([one, two])
    assert both.rank == 3
    assert torch.allclose(both.dense(), one.dense() + two.dense(), atol=1e-5)


def test_stacked_has_at_most_the_rank_of_the_weight(lm: LM) -> None:
    """Many batches of dense updates would otherwise each bring their own identity."""
    updates = [random_update(lm, 0, weight(lm, 0).shape[0] - 1, seed) for seed in (1, 2)]
    both = stacked(updates)
    assert both.rank == weight(lm, 0).shape[0]
    assert torch.allclose(both.dense(), updates[0].dense() + updates[1].dense(), atol=1e-4)
    assert stacked(updates[:1]).rank == updates[0].rank


def test_in_bfloat16_the_sum_is_rounded_once() -> None:
    """Small updates that bf16 would lose one by one are summed first."""
    module = torch.nn.Linear(4, 4, bias=False).to(torch.bfloat16).requires_grad_(False)
    module.weight.fill_(1.0)
    small = LowRank(torch.full((4, 8), 1e-3), torch.ones(4, 8))
    add_(module, small.left, small.right)
    assert torch.equal(module.weight, torch.full((4, 4), 1.008).to(torch.bfloat16))


def test_restored_gives_back_what_was_there_after_an_exception(lm: LM) -> None:
    before = snapshot(lm)
    with pytest.raises(ZeroDivisionError), restored(lm, [down_name(lm.arch, 3)]):
        add_(down_module(lm.model, lm.arch, 3), *_factors(random_update(lm, 3)))
        _ = 1 / 0
    assert unchanged(lm, before)


def _factors(update: LowRank) -> tuple[torch.Tensor, torch.Tensor]:
    return update.left, update.right
