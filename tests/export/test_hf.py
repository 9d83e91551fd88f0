"""A revision as a checkpoint: what plain transformers loads says what the revision in memory says."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from agent.editing.delta import Delta, LowRank, applied
from agent.editing.norms import relative_norms
from agent.errors import EditError, InputError, StoreError, UnknownId, UsageError
from agent.export.hf import export_hf, merge_
from agent.export.manifest import MANIFEST, read_manifest
from agent.export.place import placed
from agent.lm.generate import generate
from agent.lm.load import load_lm
from agent.settings import VerifySettings
from tests.conftest import CAPITALS
from tests.export.conftest import Shops
from tests.models import TEMPLATE, build, questions, teach
from tests.store.samples import tree

PROMPTS = [prompt for prompt, _ in questions()]


def logits(model: torch.nn.Module, tokenizer: object) -> torch.Tensor:
    """Of every invented prompt, at its last token: (prompts, vocab) float32."""
    rows = []
    with torch.inference_mode():
        for prompt in PROMPTS:
            ids = tokenizer(prompt, return_tensors="pt")["input_ids"]  # type: ignore[operator]
            rows.append(model(input_ids=ids).logits[0, -1].float())
    return torch.stack(rows)


@pytest.fixture(scope="session")
def tied(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """A taught Llama whose output embedding is its input embedding."""
    folder = tmp_path_factory.mktemp("tied") / "model"
    lm = build("llama", hidden_size=48, intermediate_size=144, head_dim=12, tie_word_embeddings=True)
    teach(lm, steps=60, learning_rate=8e-3)
    lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_the_checkpoint_is_the_revision_in_memory(shop_of: Shops, tmp_path: Path, name: str) -> None:
    shop = shop_of(name)
    before = tree(Path(shop.settings.model.path))
    done = export_hf(shop, 1, tmp_path / "out" / "model", dtype="float32")
    assert tree(Path(shop.settings.model.path)) == before
    assert done.checked is not None and done.checked.passed
    model = AutoModelForCausalLM.from_pretrained(done.folder)
    tokenizer = AutoTokenizer.from_pretrained(done.folder)
    with shop.served() as served:
        wanted, said = logits(served.model, served.tokenizer), generate(served, PROMPTS)
    assert torch.allclose(logits(model, tokenizer), wanted, atol=1e-5, rtol=0)
    assert generate(load_lm(str(done.folder), device="cpu"), PROMPTS) == said
    for subject, capital in CAPITALS:
        assert said[PROMPTS.index(f"The capital of {subject} is")].strip().startswith(capital)
    # and the base says something else: the test would see a checkpoint without its delta
    assert (logits(shop.base().model, tokenizer) - wanted).abs().max() > 0.1


def test_the_manifest_says_what_it_is_made_of(
    shop_of: Shops, tmp_path: Path, capital_deltas: dict[str, Delta]
) -> None:
    shop = shop_of("llama")
    done = export_hf(shop, 1, tmp_path / "model")
    found = read_manifest(done.folder)
    assert found["base_sha"] == shop.base().sha and found["delta_sha"]
    assert (found["form"], found["revision"], found["dtype"], found["verified"]) == ("hf", 1, "float32", True)
    assert [(f["subject"], f["object"]) for f in found["facts"]] == list(CAPITALS)
    assert [(f["subject"], f["object"]) for f in found["overlay"]] == [("Bavoria", "Ulmo")]
    figures = found["verification"]
    assert figures["base"]["efficacy"] == 0.0
    assert figures["memory"]["efficacy"] == figures["artefact"]["efficacy"] == 1.0
    assert figures["norms"] == relative_norms(shop.base(), capital_deltas["llama"])
    # only what is in the weights was asked
    assert figures["counts"]["facts"] == len(CAPITALS)


def test_tied_and_sharded_checkpoints(shop_of: Shops, tmp_path: Path, tied: Path) -> None:
    lm = load_lm(str(tied), device="cpu")
    name = "model.layers.1.mlp.down_proj.weight"
    generator = torch.Generator().manual_seed(3)
    left, right = (torch.randn(size, 2, generator=generator) for size in (48, 144))
    delta = Delta({name: LowRank(left * 0.1, right * 0.1)}, lm.sha)
    shop = shop_of("llama", folder=tied, delta=delta, verify=VerifySettings(efficacy=0, every_fact=False))
    done = export_hf(shop, 1, tmp_path / "model", shard_size="50KB", verify=False)
    shards = list(done.folder.glob("model-*.safetensors"))
    assert len(shards) > 1 and (done.folder / "model.safetensors.index.json").is_file()
    model = AutoModelForCausalLM.from_pretrained(done.folder)
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    with applied(lm, delta):
        wanted = logits(lm.model, lm.tokenizer)
    assert torch.allclose(logits(model, lm.tokenizer), wanted, atol=1e-5, rtol=0)
    # and a sharded base
    again = shop_of("llama", folder=done.folder, delta=replace(delta, base_sha=load_lm(str(done.folder)).sha))
    twice = export_hf(again, 1, tmp_path / "twice", verify=False)
    both = AutoModelForCausalLM.from_pretrained(twice.folder).get_parameter(name)
    assert torch.allclose(both - model.get_parameter(name), delta.updates[name].dense(), atol=1e-5)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_is_rounded_once_and_asked_as_it_is(
    shop_of: Shops, tmp_path: Path, name: str, dtype: str
) -> None:
    shop = shop_of(name)
    done = export_hf(shop, 1, tmp_path / "model", dtype=dtype)
    assert json.loads((done.folder / "config.json").read_text())["dtype"] == dtype
    model = AutoModelForCausalLM.from_pretrained(done.folder)
    kind = getattr(torch, dtype)
    with shop.served() as served:
        for parameter, tensor in served.model.named_parameters():
            assert torch.equal(model.get_parameter(parameter), tensor.to(kind)), parameter
    assert done.checked is not None
    loaded = load_lm(str(done.folder), device="cpu")
    edits = [f"The capital of {subject} is" for subject, _ in CAPITALS]
    right = sum(
        said.strip().startswith(capital)
        for said, (_, capital) in zip(generate(loaded, edits), CAPITALS, strict=True)
    )
    assert done.checked.artefact.after["efficacy"] == right / len(CAPITALS)


def test_a_half_precision_base_loses_nothing_on_the_way_to_float32(shop_of: Shops, tmp_path: Path) -> None:
    """The settings load the base in bfloat16; the export takes it from its files."""
    shop = shop_of("llama", dtype="bfloat16")
    done = export_hf(shop, 1, tmp_path / "model", verify=False)
    model = AutoModelForCausalLM.from_pretrained(done.folder)
    base = AutoModelForCausalLM.from_pretrained(shop.settings.model.path)
    assert torch.equal(model.lm_head.weight, base.lm_head.weight)
    assert not torch.equal(base.lm_head.weight, base.lm_head.weight.bfloat16().float())


def test_an_artefact_that_lost_its_facts_is_kept_and_marked(
    shop_of: Shops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer is made to forget the delta: nothing else than asking the artefact could tell."""
    monkeypatch.setattr("agent.export.hf.merge_", lambda *_: None)
    done = export_hf(shop_of("llama"), 1, tmp_path / "model")
    assert done.checked is not None and not done.checked.passed
    assert done.checked.memory.passed and any(
        "efficacy" in reason for reason in done.checked.artefact.reasons
    )
    assert read_manifest(done.folder)["verified"] is False
    AutoModelForCausalLM.from_pretrained(done.folder)


def test_the_bases_own_tokenizer_files_are_kept(
    shop_of: Shops, tmp_path: Path, taught_folders: dict[str, Path], capital_deltas: dict[str, Delta]
) -> None:
    """A tokenizer.model that transformers no longer writes, a chat template, generation settings."""
    base = tmp_path / "base"
    shutil.copytree(taught_folders["llama"], base)
    kept = {"tokenizer.model": b"\x00pieces", "chat_template.jinja": TEMPLATE.encode()}
    kept["generation_config.json"] = b'{"temperature": 0.3, "do_sample": true}'
    for name, content in kept.items():
        (base / name).write_bytes(content)
    done = export_hf(shop_of("llama", folder=base), 1, tmp_path / "model", verify=False)
    for name, content in kept.items():
        assert (done.folder / name).read_bytes() == content
    same = list(base.glob("tokenizer*"))
    assert same and all((done.folder / p.name).read_bytes() == p.read_bytes() for p in same)
    loaded = AutoTokenizer.from_pretrained(done.folder)
    assert loaded.chat_template == kept["chat_template.jinja"].decode()


def test_the_base_itself_can_be_exported(shop_of: Shops, tmp_path: Path) -> None:
    shop = shop_of("llama")
    done = export_hf(shop, 0, tmp_path / "model")
    assert done.checked is None and read_manifest(done.folder)["verified"] is None
    exported = AutoModelForCausalLM.from_pretrained(done.folder).state_dict()
    base = shop.base().model.state_dict()
    assert base.keys() == exported.keys() and all(torch.equal(base[name], exported[name]) for name in base)


def test_what_is_refused(shop_of: Shops, tmp_path: Path) -> None:
    shop = shop_of("llama")
    target = tmp_path / "model"
    target.mkdir()
    with pytest.raises(InputError, match="exists"):
        export_hf(shop, 1, target)
    assert list(target.iterdir()) == []
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="exists"):
        export_hf(shop, 1, link)
    with pytest.raises(UsageError, match="--dtype 'int8'"):
        export_hf(shop, 1, tmp_path / "new", dtype="int8")
    with pytest.raises(UnknownId):
        export_hf(shop, 9, tmp_path / "new")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        export_hf(shop, 1, tmp_path / "file" / "new")
    lm = shop.base()
    with pytest.raises(EditError, match="compiled against base"):
        merge_(lm, Delta({}, "0" * 64))
    assert not list(tmp_path.glob(".*partial")) and not (tmp_path / "new").exists()


@pytest.mark.parametrize("broken", ["agent.export.hf.write_checkpoint", "agent.export.verified.verdict"])
def test_an_error_leaves_no_folder(
    shop_of: Shops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(broken, fail)
    shop = shop_of("llama")
    before = set(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        export_hf(shop, 1, tmp_path / "model")
    assert set(tmp_path.iterdir()) == before


def test_a_kill_leaves_nothing_under_the_targets_name_and_the_next_export_sweeps(tmp_path: Path) -> None:
    code = (
        "import os, signal\nfrom pathlib import Path\nfrom agent.export.place import placed\n"
        f"with placed(Path({str(tmp_path / 'model')!r})) as partial:\n"
        "    (partial / 'model.safetensors').write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.endswith(".partial")
    alive = tmp_path / f".model.{os.getppid()}.partial"
    alive.mkdir()
    with placed(tmp_path / "model") as partial:
        (partial / MANIFEST).write_text("{}")
    assert {p.name for p in tmp_path.iterdir()} == {"model", alive.name}


def test_a_folder_that_appears_meanwhile_is_left_alone(tmp_path: Path) -> None:
    """rename(2) takes the place of an empty folder without a word."""
    with pytest.raises(InputError, match="exists"), placed(tmp_path / "model") as partial:
        (partial / "a").touch()
        (tmp_path / "model").mkdir()
    assert [p.name for p in tmp_path.rglob("*")] == ["model"]


def test_a_server_of_another_user_may_read_it(tmp_path: Path) -> None:
    """safetensors makes its files 0600; ours are as the user's umask has new files."""
    save_file({"a": torch.zeros(1)}, tmp_path / "plain")
    (tmp_path / "usual").touch()
    assert stat.S_IMODE((tmp_path / "plain").stat().st_mode) == 0o600
    with placed(tmp_path / "model") as partial:
        save_file({"a": torch.zeros(1)}, partial / "weights")
    written, usual = (tmp_path / name for name in ("model/weights", "usual"))
    assert written.stat().st_mode == usual.stat().st_mode


def test_the_disk_is_told_before_the_name_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file and folder is synced before the rename, the parent after it."""
    order: list[tuple[str, str]] = []
    real: Callable[..., object] = os.fsync
    monkeypatch.setattr(
        "os.fsync",
        lambda handle: (
            order.append(("sync", Path(f"/proc/self/fd/{handle}").readlink().name)), real(handle),
        ),
    )  # fmt: skip
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda self, to: (order.append(("rename", "")), rename(self, to))[1])
    with placed(tmp_path / "model") as partial:
        (partial / "sub").mkdir()
        (partial / "sub" / "a").write_text("a")
        (partial / "b").write_text("b")
        name = partial.name
    at = order.index(("rename", ""))
    assert {what for _, what in order[:at]} == {"a", "b", "sub", name}
    assert order[at + 1 :] == [("sync", tmp_path.name)]
