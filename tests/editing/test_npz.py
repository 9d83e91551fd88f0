"""Statistics that memit and EasyEdit have left on the disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from agent.editing.compile import Material, compile_delta
from agent.editing.covariance import statistics_for
from agent.editing.npz import read_npz
from agent.editing.settings import EditSettings
from agent.errors import InputError
from agent.lm.load import LM
from tests.editing.edits import ZORLAND, settings

D_IN = 128


@pytest.fixture
def lm(tiny: Callable[..., LM]) -> LM:
    return tiny("gpt2")


def keys(seed: int) -> numpy.ndarray[Any, Any]:
    return numpy.random.default_rng(seed).standard_normal((600, D_IN))


def write(folder: Path, layer: int, *, suffix: str = "float32_mom2_100000", **changes: Any) -> Path:
    """As their `layer_stats` writes: an uncompressed archive of plain arrays, the sum and not the mean."""
    folder.mkdir(parents=True, exist_ok=True)
    k = keys(layer).astype(numpy.float32)
    arrays: dict[str, Any] = {
        "mom2.constructor": "util.runningstats.SecondMoment()",
        "mom2.count": 600,
        "mom2.mom2": k.T @ k,
        "sample_size": 100000,
        **changes,
    }
    path = folder / f"transformer.h.{layer}.mlp.c_proj_{suffix}.npz"
    numpy.savez(path, **{name: value for name, value in arrays.items() if value is not None})  # type: ignore[arg-type]
    return path


def test_the_mean_is_the_sum_over_its_count(lm: LM, tmp_path: Path) -> None:
    folder = tmp_path / "gpt2" / "wikipedia_stats"
    for layer in (0, 1, 3):
        write(folder, layer)
    found = read_npz(lm, [3, 1], tmp_path)
    assert (list(found.matrices), found.tokens, found.file) == ([1, 3], 600, tmp_path)
    for layer in (1, 3):
        exact = torch.from_numpy(keys(layer).T @ keys(layer) / 600)
        assert found.matrices[layer].dtype == torch.float32
        assert torch.allclose(found.matrices[layer].double(), exact, atol=1e-5)
    assert "do not say on which weights" in found.warning
    with pytest.raises(KeyError):
        found.matrices[0]


def test_the_key_is_that_of_the_files(lm: LM, tmp_path: Path) -> None:
    write(tmp_path, 0), write(tmp_path, 1)
    key = read_npz(lm, [0, 1], tmp_path).key
    assert key == read_npz(lm, [1, 0], tmp_path).key
    assert key != read_npz(lm, [0], tmp_path).key
    write(tmp_path, 1, **{"mom2.count": 601})
    assert key != read_npz(lm, [0, 1], tmp_path).key


def test_a_pattern_chooses_among_several(lm: LM, tmp_path: Path) -> None:
    write(tmp_path, 0)
    one = write(tmp_path, 0, suffix="float64_mom2_t512_1000", **{"mom2.mom2": keys(0).T @ keys(0)})
    with pytest.raises(
        InputError, match=r"several files for layer 0: .*_100000\.npz, .*_1000\.npz; say which"
    ):
        read_npz(lm, [0], tmp_path)
    by_pattern = read_npz(lm, [0], tmp_path / "*_1000.npz")
    assert by_pattern.key == read_npz(lm, [0], one).key != read_npz(lm, [0], tmp_path / "*_100000.npz").key


def test_a_missing_layer_is_said_with_what_is_there(lm: LM, tmp_path: Path) -> None:
    write(tmp_path, 0)
    (tmp_path / "notes.npz").write_bytes(b"")
    wanted = r"no file for layer 2, it would be named transformer\.h\.2\.mlp\.c_proj_float32_mom2_\*\.npz; there is transformer\.h\.0\.mlp\.c_proj$"
    with pytest.raises(InputError, match=wanted):
        read_npz(lm, [0, 2], tmp_path)
    with pytest.raises(InputError, match="there is none of that kind"):
        read_npz(lm, [0], tmp_path / "nowhere")


class _Trap:
    def __reduce__(self) -> object:
        raise AssertionError("pickled")


@pytest.mark.parametrize(("changes", "said"), [
    ({"mom2.mom2": numpy.eye(96, dtype=numpy.float32)}, r"mom2\.mom2 is 96x96 float32, but this model's keys have 128 dim"),
    ({"mom2.mom2": numpy.zeros(D_IN)}, r"mom2\.mom2 is 128 float64, but"),
    ({"mom2.mom2": numpy.eye(D_IN, dtype=int)}, r"mom2\.mom2 is 128x128 int64"),
    ({"mom2.mom2": None}, r"no array mom2\.mom2 in it"),
    ({"mom2.count": None}, r"no array mom2\.count in it"),
    ({"mom2.count": 0}, r"mom2\.count is 0, not a number of tokens"),
    ({"mom2.count": -3.0}, r"mom2\.count is -3\.0"),
    ({"mom2.count": 1.5}, r"mom2\.count is 1\.5"),
    ({"mom2.count": numpy.nan}, r"mom2\.count is nan"),
    ({"mom2.count": numpy.inf}, r"mom2\.count is inf"),
    ({"mom2.count": [1, 2]}, r"mom2\.count is \(2,\) int64"),
    ({"mom2.count": "many"}, r"mom2\.count is 'many'"),
])  # fmt: skip
def test_a_file_that_does_not_fit_is_refused(lm: LM, tmp_path: Path, changes: Any, said: str) -> None:
    path = write(tmp_path, 0, **changes)
    with pytest.raises(InputError, match=rf"{path.name}: {said}"):
        read_npz(lm, [0], tmp_path)


def test_nothing_pickled_is_ever_read(lm: LM, tmp_path: Path) -> None:
    pickled = numpy.array([{"a": 1}], dtype=object)
    write(tmp_path, 0, **{"mom2.count": pickled})
    with pytest.raises(InputError, match=r"cannot be read as \.npz .*allow_pickle"):
        read_npz(lm, [0], tmp_path)


def test_a_damaged_file_is_refused(lm: LM, tmp_path: Path) -> None:
    path = write(tmp_path, 0)
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"PK" + whole[10:200]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"cannot be read as \.npz"):
            read_npz(lm, [0], tmp_path)
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes(64) + whole[middle + 64 :])
    with pytest.raises(InputError, match=r"cannot be read as \.npz .*CRC"):
        read_npz(lm, [0], tmp_path).matrices[0]


@pytest.mark.parametrize(("spoil", "said"), [
    (lambda m: m.__setitem__((3, 4), numpy.inf), "not finite"), (lambda m: m.__setitem__((3, 4), 900), "not symmetric"),
])  # fmt: skip
def test_numbers_that_cannot_be_a_covariance_are_refused(
    lm: LM, tmp_path: Path, spoil: Callable[[Any], None], said: str
) -> None:
    summed = keys(0).T @ keys(0)
    spoil(summed)
    write(tmp_path, 0, **{"mom2.mom2": summed})
    with pytest.raises(InputError, match=said):
        read_npz(lm, [0], tmp_path).matrices[0]


def test_the_settings_name_them_and_an_edit_is_compiled_with_them(taught_gpt2: LM, tmp_path: Path) -> None:
    """Files of the model's own statistics give the delta that measuring gives."""
    lm = taught_gpt2
    own = statistics_for(lm, [0, 1], EditSettings(samples=60, sample_tokens=20))
    for layer, matrix in own.matrices.items():
        path = tmp_path / f"transformer.h.{layer}.mlp.c_proj_float64_mom2_60.npz"
        numpy.savez(path, **{"mom2.count": own.tokens, "mom2.mom2": matrix.double().numpy() * own.tokens})  # type: ignore[arg-type]
    measured = compile_delta(lm, [ZORLAND], settings(steps=6), Material()).delta
    read = compile_delta(lm, [ZORLAND], settings(steps=6, statistics=tmp_path), Material()).delta
    for name, update in measured.updates.items():
        assert torch.allclose(read.updates[name].dense(), update.dense(), rtol=1e-3, atol=1e-6)
