"""Loading a checkpoint, and the ways in which it fails: always a ModelError that says what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from agent.errors import ModelError
from agent.lm.arch import Arch
from agent.lm.generate import generate
from agent.lm.load import LM, fingerprint, load_lm


@pytest.fixture
def folder(taught_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(taught_folder, tmp_path / "model"))


def test_a_checkpoint_says_what_the_model_said(taught_folder: Path, taught_llama: LM) -> None:
    lm = load_lm(str(taught_folder), device="cpu")
    assert lm.sha == fingerprint(taught_folder)
    assert (lm.path, lm.n_layers, lm.tuple_layers) == (str(taught_folder), 4, False)
    prompts = ["The capital of Zorland is", "Quenia's leader is"]
    assert generate(lm, prompts) == generate(taught_llama, prompts)
    assert not lm.model.training
    assert not any(p.requires_grad for p in lm.model.parameters())


def test_loading_writes_nothing(folder: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    load_lm(str(folder), device="cpu")
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before


def test_dtype_is_the_checkpoints_own_or_as_asked(folder: Path, taught_llama: LM, tmp_path: Path) -> None:
    assert load_lm(str(folder), device="cpu").model.dtype == torch.float32
    half = load_lm(str(folder), dtype="bfloat16", device="cpu")
    assert half.model.dtype == torch.bfloat16
    half.model.save_pretrained(tmp_path / "half")
    half.tokenizer.save_pretrained(tmp_path / "half")
    assert load_lm(str(tmp_path / "half"), device="cpu").model.dtype == torch.bfloat16
    assert load_lm(str(tmp_path / "half"), dtype="float32", device="cpu").model.dtype == torch.float32


def test_the_fingerprint_follows_weights_config_and_tokenizer(folder: Path) -> None:
    first = fingerprint(folder)
    (folder / "README.md").write_text("of no account")
    assert fingerprint(folder) == first
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert fingerprint(folder) != first
        (folder / name).write_bytes(data)
    assert fingerprint(folder) == first


def test_only_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no \*\.safetensors weights; pickled weights are refused"):
        load_lm(str(folder))


def test_no_config_no_folder_no_such_dtype_or_device(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is no folder here, and no hub id of the form owner/name"):
        load_lm(str(tmp_path / "nowhere"))
    with pytest.raises(ModelError, match="is no folder here"):
        load_lm("nowhere")
    with pytest.raises(
        ModelError, match=r"model\.dtype must be auto, float32, bfloat16, float16; got 'int8'"
    ):
        load_lm(str(folder), dtype="int8")
    with pytest.raises(ModelError, match=r"model\.device 'abacus' is no device"):
        load_lm(str(folder), device="abacus")
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        load_lm(str(folder))


@pytest.mark.parametrize(("name", "content"), [
    ("config.json", b"{broken"),
    ("config.json", b'{"model_type": "zorplex"}'),
    ("model.safetensors", b"\x10\x00\x00\x00\x00\x00\x00\x00{broken"),
    ("model.safetensors", b""),
    ("tokenizer.json", b"{}"),
])  # fmt: skip
def test_a_damaged_checkpoint_is_an_error_that_names_it(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=str(folder)):
        load_lm(str(folder), device="cpu")


def test_a_truncated_weights_file_is_refused(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match=str(folder)):
        load_lm(str(folder), device="cpu")


def test_missing_weights_are_not_made_up(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.2.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 of its weights, model\.layers\.2\.mlp\.up_proj\.weight"):
        load_lm(str(folder), device="cpu")


def test_a_family_of_ones_own(folder: Path) -> None:
    """A family that transformers knows and the table does not: an error with the lines to write, then it
    loads.
    """
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "helium"}))
    with pytest.raises(ModelError, match=r"'helium' is not known.*model\.arch"):
        load_lm(str(folder), device="cpu")
    mine = Arch(layers="model.layers", down="mlp.down_proj")
    assert load_lm(str(folder), device="cpu", arch={"helium": mine}).arch == mine


def test_tuple_layers_are_asked_of_the_model(tiny: Callable[..., LM]) -> None:
    assert tiny("gptj").tuple_layers
    assert not tiny("llama").tuple_layers
