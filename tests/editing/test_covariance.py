"""Covariance, its cache, the model's own samples and prefixes, and the store of values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from agent.editing.cache import load_values, save_values
from agent.editing.contexts import prefixes
from agent.editing.covariance import cached_covariance, covariance, own_samples
from agent.lm.load import LM
from tests.models import sentences, snapshot, unchanged


@pytest.fixture(params=["llama", "gpt2"])
def lm(request: pytest.FixtureRequest, tiny: Callable[..., LM]) -> LM:
    return tiny(request.param)


def test_symmetric_and_positive_semi_definite(lm: LM) -> None:
    before = snapshot(lm)
    for matrix in covariance(lm, sentences(), [0, 2]).values():
        assert matrix.dtype == torch.float64
        assert torch.allclose(matrix, matrix.T, rtol=1e-12, atol=1e-12)
        assert float(torch.linalg.eigvalsh(matrix)[0]) > -1e-9 * float(matrix.trace())
    assert unchanged(lm, before)


def test_batching_and_order_do_not_matter(lm: LM) -> None:
    texts = sentences()[:9]
    one = covariance(lm, texts, [1], batch_rows=1)[1]
    many = covariance(lm, list(reversed(texts)), [1], batch_rows=64)[1]
    assert torch.allclose(one, many, rtol=1e-4, atol=1e-7)


def test_the_cache_key_names_weights_texts_and_layers(lm: LM, tmp_path: Path) -> None:
    texts = sentences()[:4]
    first = cached_covariance(lm, texts, [0, 1], tmp_path)
    again = cached_covariance(lm, texts, [0, 1], tmp_path)
    assert all(torch.equal(first[layer], again[layer]) for layer in (0, 1))
    assert len(list(tmp_path.iterdir())) == 1
    cached_covariance(lm, texts[:3], [0, 1], tmp_path)
    cached_covariance(lm, texts, [0], tmp_path)
    cached_covariance(dataclasses.replace(lm, sha="other"), texts, [0, 1], tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    assert not [file for file in tmp_path.iterdir() if "partial" in file.name]


def test_a_damaged_cache_file_is_made_again(lm: LM, tmp_path: Path) -> None:
    texts = sentences()[:4]
    first = cached_covariance(lm, texts, [1], tmp_path)[1]
    (file,) = tmp_path.iterdir()
    for damaged in (b"", file.read_bytes()[:100]):
        file.write_bytes(damaged)
        assert torch.equal(cached_covariance(lm, texts, [1], tmp_path)[1], first)
    assert torch.equal(cached_covariance(lm, texts, [1], tmp_path)[1], first)


def test_own_samples_are_a_function_of_the_seed(lm: LM) -> None:
    first = own_samples(lm, 10, 6, seed=1)
    assert len(first) == 10
    assert first == own_samples(lm, 10, 6, seed=1)
    assert first != own_samples(lm, 10, 6, seed=2)


def test_prefixes_are_the_bare_one_and_whole_sentences(lm: LM) -> None:
    found = prefixes(lm, 3, 5, seed=0)
    assert found[0] == ""
    assert len(found) == 4
    assert all(prefix.endswith(". ") and "\n" not in prefix for prefix in found[1:])
    assert found == prefixes(lm, 3, 5, seed=0)
    assert prefixes(lm, 0, 5, seed=0) == ("",)


def test_values_survive_on_disk_and_damaged_ones_are_absent(tmp_path: Path) -> None:
    values = {"a" * 64: torch.randn(5), "b" * 64: torch.randn(5)}
    save_values(tmp_path / "values", values)
    save_values(tmp_path / "values", values)
    found = load_values(tmp_path / "values", [*values, "c" * 64])
    assert set(found) == set(values)
    assert all(torch.equal(found[key], value) for key, value in values.items())
    path = tmp_path / "values" / f"{'a' * 64}.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    assert set(load_values(tmp_path / "values", values)) == {"b" * 64}
