"""A revision as GGUF. The converter is llama.cpp's own and is not carried here: `FACTD_LLAMA_CPP` names a checkout for the tests with
the real one; the others run a small stand-in script, which shows how the converter is called and what becomes of its failures.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from agent.editing.compile import Material, compile_delta
from agent.editing.delta import Delta
from agent.errors import InputError, ModelError, UsageError
from agent.export.gguf import export_gguf
from agent.export.manifest import read_manifest
from agent.lm.load import LM, load_lm, wrap
from tests.conftest import CAPITALS
from tests.editing.edits import edit, settings
from tests.export.conftest import LENIENT, Shops
from tests.models import sentences, teach

CHECKOUT = os.environ.get("FACTD_LLAMA_CPP", "")
# Stands in for llama.cpp's converter: takes the same arguments, notes them, and writes what begins like a GGUF file.
STAND_IN = """
import argparse, json, os, pathlib, sys
parser = argparse.ArgumentParser()
parser.add_argument("model")
for name in ("--outfile", "--outtype", "--model-name"):
    parser.add_argument(name, required=True)
options = parser.parse_args()
noted = {**vars(options), "files": sorted(os.listdir(options.model)), "offline": os.environ.get("HF_HUB_OFFLINE"),
         "dtype": json.load(open(os.path.join(options.model, "config.json")))["dtype"]}
pathlib.Path(__file__).with_name("called.json").write_text(json.dumps(noted))
pathlib.Path(options.outfile).write_bytes(b"GGUF, as it were")
"""
Scripts = Callable[[str], Path]


@pytest.fixture
def llama_cpp(tmp_path: Path) -> Scripts:
    """`llama_cpp(script)`: a folder with that script where llama.cpp has its converter."""

    def make(script: str) -> Path:
        (tmp_path / "llama.cpp").mkdir()
        (tmp_path / "llama.cpp" / "convert_hf_to_gguf.py").write_text(script)
        return tmp_path / "llama.cpp"

    return make


def test_how_the_converter_is_called(shop_of: Shops, llama_cpp: Scripts, tmp_path: Path) -> None:
    """With a stand-in for the converter."""
    folder = llama_cpp(STAND_IN)
    done = export_gguf(shop_of("llama"), 1, tmp_path / "my model-1".replace(" ", "-"), folder, outtype="bf16")
    called = json.loads((folder / "called.json").read_text())
    assert (called["outtype"], called["model_name"], called["offline"]) == ("bf16", "factd-r1", "1")
    assert "model.safetensors" in called["files"] and "tokenizer.json" in called["files"]
    assert called["dtype"] == "float32"
    assert {p.name for p in done.folder.iterdir()} == {"my-model-1.gguf", "factd.json"}
    found = read_manifest(done.folder)
    assert (found["form"], found["dtype"], found["verified"]) == ("gguf", "bf16", None)
    assert "cannot read this GGUF back" in found["details"]["not_verified"]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("import no_such_package_here", "needs the package no_such_package_here: pip install no_such_package_here"),
        ("raise ModuleNotFoundError(\"No module named 'gguf'\")", r"pip install 'factd\[gguf\]'"),
        ("import sys; print('ERROR:hf-to-gguf:Model Xyz is not supported'); sys.exit(1)", "architecture. It said: .*Model Xyz is"),
        ("raise NotImplementedError('BPE pre-tokenizer was not recognized - update')", "does not know this model's tokenizer"),
        ("import sys; sys.exit(3)", "ended with 3: .* It said: nothing"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ended with -9"),
        ("", "left no GGUF file"),
        ("import sys; open(sys.argv[3], 'w').write('<html>')", "left no GGUF file"),
    ],
)  # fmt: skip
def test_what_becomes_of_its_failures(
    shop_of: Shops, llama_cpp: Scripts, tmp_path: Path, script: str, told: str
) -> None:
    """With stand-ins for the converter."""
    folder, shop = llama_cpp(script), shop_of("llama")
    before = set(tmp_path.iterdir())
    with pytest.raises(ModelError, match=told):
        export_gguf(shop, 1, tmp_path / "model", folder)
    assert set(tmp_path.iterdir()) == before


def test_what_is_refused(shop_of: Shops, llama_cpp: Scripts, tmp_path: Path) -> None:
    shop = shop_of("llama")
    with pytest.raises(InputError, match=r"holds no convert_hf_to_gguf\.py"):
        export_gguf(shop, 1, tmp_path / "model", tmp_path)
    folder = llama_cpp(STAND_IN)
    with pytest.raises(UsageError, match="--outtype 'q4_k'"):
        export_gguf(shop, 1, tmp_path / "model", folder, outtype="q4_k")
    with pytest.raises(UsageError, match="the folder '-rf'"):
        export_gguf(shop, 1, tmp_path / "-rf", folder)
    (tmp_path / "model").mkdir()
    with pytest.raises(InputError, match="exists"):
        export_gguf(shop, 1, tmp_path / "model", folder)
    assert not (folder / "called.json").exists()


@pytest.fixture(scope="session")
def pieces(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> tuple[Path, Delta]:
    """A taught Llama with a SentencePiece tokenizer, as llama.cpp knows them, and a delta of it."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("pieces") / "model"
    folder.mkdir()
    tokenizer = _sentencepiece(folder)
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "llama", hidden_size=64, intermediate_size=160, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
        head_dim=16, max_position_embeddings=128, vocab_size=len(tokenizer), initializer_range=0.15,
        bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    lm: LM = wrap(AutoModelForCausalLM.from_config(config), tokenizer, sha="c" * 64)
    teach(lm, steps=90, learning_rate=8e-3)
    lm.model.save_pretrained(folder)
    loaded = load_lm(str(folder), device="cpu")
    assert AutoTokenizer.from_pretrained(folder)("The capital")["input_ids"]
    requests = [edit(subject, capital) for subject, capital in CAPITALS]
    return folder, compile_delta(loaded, requests, settings(), Material()).delta


def _sentencepiece(folder: Path) -> Any:
    import sentencepiece
    from transformers import LlamaTokenizer

    corpus = folder.parent / "corpus.txt"
    corpus.write_text("\n".join(sentences() * 20))
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(folder / "tokenizer"), model_type="bpe", vocab_size=400, byte_fallback=True,
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    (folder / "tokenizer.vocab").unlink()
    tokenizer = LlamaTokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer


@pytest.mark.skipif(not CHECKOUT, reason="FACTD_LLAMA_CPP names no llama.cpp checkout")
@pytest.mark.parametrize("outtype", ["f32", "f16", "bf16", "q8_0"])
def test_the_real_converter(shop_of: Shops, pieces: tuple[Path, Delta], tmp_path: Path, outtype: str) -> None:
    """Converted by llama.cpp's own script, read back by gguf's reader and by transformers."""
    from gguf import GGUFReader

    folder, delta = pieces
    shop = shop_of("llama", folder=folder, delta=delta, verify=LENIENT)
    done = export_gguf(shop, 1, tmp_path / "model", Path(CHECKOUT), outtype=outtype)
    reader = GGUFReader(done.folder / "model.gguf")
    assert reader.fields["general.architecture"].contents() == "llama"
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    (weight,) = (t for name, t in tensors.items() if name == "blk.1.ffn_down.weight")
    with shop.served() as served:
        wanted = served.model.model.layers[1].mlp.down_proj.weight.clone()
    assert tuple(reversed(weight.shape.tolist())) == tuple(wanted.shape)
    if outtype == "f32":
        assert torch.equal(torch.tensor(weight.data), wanted)
    assert done.checked is not None
    found = read_manifest(done.folder)
    assert found["verified"] is done.checked.passed and "not_verified" not in found["details"]
    if outtype in ("f32", "f16"):
        assert done.checked.passed
        assert done.checked.artefact.after["efficacy"] == done.checked.memory.after["efficacy"] == 1.0
