"""A revision as an adapter: PEFT itself loads it, and the model with it on is the revision in memory."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from agent.editing.delta import Delta, LowRank
from agent.errors import EditError, InputError, UsageError
from agent.export import peft as exporting
from agent.export.lowrank import padded, relative_error, truncated
from agent.export.manifest import read_manifest
from agent.export.peft import VLLM_RANKS, export_peft, pack, read_adapter, vllm_note, vllm_rank, worn
from agent.lm.generate import generate
from agent.settings import VerifySettings
from agent.store import queue
from agent.store.revisions import publish, rollback
from tests.export.conftest import LENIENT, Shops
from tests.export.test_hf import PROMPTS, logits
from tests.models import snapshot, unchanged
from tests.store import samples


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_with_the_adapter_on_the_base_is_the_revision(shop_of: Shops, tmp_path: Path, name: str) -> None:
    shop = shop_of(name)
    before = snapshot(shop.base())
    done = export_peft(shop, 1, tmp_path / "adapter")
    assert unchanged(shop.base(), before)
    assert done.checked is not None and done.checked.passed
    assert {p.name for p in done.folder.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "factd.json",
    }  # fmt: skip
    with shop.served() as served:
        wanted, said = logits(served.model, served.tokenizer), generate(served, PROMPTS)
    model = AutoModelForCausalLM.from_pretrained(shop.settings.model.path)
    tokenizer = AutoTokenizer.from_pretrained(shop.settings.model.path)
    bare = logits(model, tokenizer)
    adapted = PeftModel.from_pretrained(model, done.folder)
    assert torch.allclose(logits(adapted, tokenizer), wanted, atol=1e-5, rtol=0)
    assert generate(replace(shop.base(), model=adapted.eval()), PROMPTS) == said
    merged = adapted.merge_and_unload()
    assert torch.allclose(logits(merged, tokenizer), wanted, atol=1e-5, rtol=0)
    assert (bare - wanted).abs().max() > 0.1


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_only_the_edited_layers_get_an_adapter(
    shop_of: Shops, tmp_path: Path, capital_deltas: dict[str, Delta], name: str
) -> None:
    """The models have four layers, the delta edits two of them."""
    done = export_peft(shop_of(name), 1, tmp_path / "adapter", verify=False)
    modules = sorted(weight.removesuffix(".weight") for weight in capital_deltas[name].updates)
    config = json.loads((done.folder / "adapter_config.json").read_text())
    assert config["target_modules"] == modules and len(modules) == 2
    assert config["fan_in_fan_out"] == (name == "gpt2")
    assert config["lora_alpha"] == config["r"] == max(u.rank for u in capital_deltas[name].updates.values())
    tensors = load_file(done.folder / "adapter_model.safetensors")
    assert set(tensors) == {f"base_model.model.{m}.lora_{part}.weight" for m in modules for part in "AB"}
    model = AutoModelForCausalLM.from_pretrained(load_lm_path(done.folder))
    adapted = PeftModel.from_pretrained(model, done.folder)
    found = {
        n.split(".lora_A")[0].removeprefix("base_model.model.")
        for n, _ in adapted.named_parameters()
        if ".lora_A" in n
    }
    assert found == set(modules)


def load_lm_path(adapter: Path) -> str:
    """The base that the adapter names, as PEFT's own loader takes it."""
    path = json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert Path(path).is_absolute()
    return str(path)


def test_the_same_revision_gives_the_same_bytes(shop_of: Shops, tmp_path: Path) -> None:
    shop = shop_of("llama")
    one, two = (export_peft(shop, 1, tmp_path / n, verify=False).folder for n in ("one", "two"))
    for name in ("adapter_config.json", "adapter_model.safetensors", "factd.json"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_a_compressed_adapter_says_what_it_lost(
    shop_of: Shops, tmp_path: Path, capital_deltas: dict[str, Delta]
) -> None:
    shop = shop_of("llama")
    done = export_peft(shop, 1, tmp_path / "adapter", max_rank=1)
    details = read_manifest(done.folder)["details"]
    assert details["rank"] == 1 and details["asked_through"] == "peft"
    kept = read_adapter(done.folder, "sha")
    for name, update in capital_deltas["llama"].updates.items():
        assert (details["ranks"][name], kept.updates[name].rank) == (2, 1)
        gone = (update.dense().double() - kept.updates[name].dense().double()).norm()
        measured = float(gone / update.dense().double().norm())
        assert details["errors"][name] == pytest.approx(measured, rel=1e-4)
        assert 0.05 < measured < 1
    assert done.checked is not None
    # one of two capitals, or none, is left of two facts in one direction
    assert done.checked.memory.passed and not done.checked.passed
    assert done.checked.artefact.after["efficacy"] < done.checked.memory.after["efficacy"] == 1.0
    assert read_manifest(done.folder)["verified"] is False


def test_without_peft_the_adapter_is_asked_through_our_own_reader(
    shop_of: Shops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = shop_of("gpt2")
    through_peft = export_peft(shop, 1, tmp_path / "one", max_rank=1)
    monkeypatch.setattr(exporting, "peft_installed", lambda: False)
    done = export_peft(shop, 1, tmp_path / "two", max_rank=1)
    assert read_manifest(done.folder)["details"]["asked_through"] == "factd"
    assert done.checked is not None and through_peft.checked is not None
    assert done.checked.artefact.after["efficacy"] == through_peft.checked.artefact.after["efficacy"]


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_on_a_base_in_half_precision(shop_of: Shops, tmp_path: Path, name: str) -> None:
    """As it is served: the base in bfloat16, the adapter's factors not rounded into it."""
    shop = shop_of(name, dtype="bfloat16")
    before = snapshot(shop.base())
    done = export_peft(shop, 1, tmp_path / "adapter")
    assert done.checked is not None and done.checked.passed
    assert unchanged(shop.base(), before)
    assert {t.dtype for t in load_file(done.folder / "adapter_model.safetensors").values()} == {torch.float32}


def test_the_base_is_given_back_bare(shop_of: Shops, tmp_path: Path) -> None:
    shop = shop_of("gpt2")
    done = export_peft(shop, 1, tmp_path / "adapter", verify=False)
    lm = shop.base()
    before, names = snapshot(lm), [n for n, _ in lm.model.named_modules()]
    with pytest.raises(RuntimeError, match="interrupted"), worn(lm, done.folder) as adapted:
        assert adapted.model is not lm.model
        raise RuntimeError("interrupted")
    assert unchanged(lm, before) and [n for n, _ in lm.model.named_modules()] == names
    assert not hasattr(lm.model, "peft_config")


def test_a_damaged_adapter_is_an_error(shop_of: Shops, tmp_path: Path) -> None:
    shop = shop_of("llama")
    done = export_peft(shop, 1, tmp_path / "adapter", verify=False)
    (done.folder / "adapter_model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(EditError, match="cannot be read as an adapter"):
        read_adapter(done.folder, "sha")
    other = export_peft(shop, 1, tmp_path / "other", verify=False)
    config = json.loads((other.folder / "adapter_config.json").read_text())
    (other.folder / "adapter_config.json").write_text(json.dumps({**config, "r": 5}))
    lm = shop.base()
    before, names = snapshot(lm), [n for n, _ in lm.model.named_modules()]
    with pytest.raises(EditError, match="PEFT cannot use this adapter"), worn(lm, other.folder):
        pass
    assert unchanged(lm, before) and [n for n, _ in lm.model.named_modules()] == names


def test_what_no_adapter_can_be_made_of(shop_of: Shops, tmp_path: Path) -> None:
    shop = shop_of("llama")
    with pytest.raises(UsageError, match="the base has no delta"):
        export_peft(shop, 0, tmp_path / "adapter")
    with pytest.raises(UsageError, match="--max-rank must be at least 1"):
        export_peft(shop, 1, tmp_path / "adapter", max_rank=0)
    (tmp_path / "there").write_text("")
    with pytest.raises(InputError, match="exists"):
        export_peft(shop, 1, tmp_path / "there")
    assert not (tmp_path / "adapter").exists()
    # all facts beside the weights
    rollback(shop.store, 0, reason="to start anew", who="t", now=samples.NOW)
    ids = samples.verified(
        shop.store, samples.approved(shop.store, samples.fact("Kelto", subject="Tallisk", relation="capital"))
    )
    publish(shop.store, replace(samples.candidate(ids), overlay=ids), now=samples.NOW)
    assert queue.get(shop.store, ids[0]).status == "live"
    with pytest.raises(UsageError, match="no fact in its weights"):
        export_peft(shop, 2, tmp_path / "adapter")


def test_ranks_for_vllm(shop_of: Shops, tmp_path: Path, capital_deltas: dict[str, Delta]) -> None:
    done = export_peft(shop_of("llama"), 1, tmp_path / "adapter", rank_for_vllm=True)
    config = json.loads((done.folder / "adapter_config.json").read_text())
    assert config["r"] == config["lora_alpha"] == 8
    assert done.checked is not None and done.checked.passed
    assert [vllm_rank(n) for n in (1, 2, 9, 129, 257, 512)] == [1, 8, 16, 256, 320, 512]
    assert all(vllm_rank(n) == n for n in VLLM_RANKS)
    with pytest.raises(UsageError, match="--max-rank 512"):
        vllm_rank(513)
    assert vllm_note("qwen3") == vllm_note("gemma3_text") == "" and "gpt2" in vllm_note("gpt2")


def test_updates_of_different_ranks_become_one() -> None:
    generator = torch.Generator().manual_seed(0)
    updates = {
        f"layer{rank}.weight": LowRank(
            torch.randn(6, rank, generator=generator), torch.randn(9, rank, generator=generator)
        )
        for rank in (1, 3)
    }
    packed = pack(Delta(updates, "sha"))
    assert packed.rank == 3 and set(packed.errors.values()) == {0.0}
    for name, update in updates.items():
        assert packed.updates[name].rank == 3
        assert torch.equal(packed.updates[name].dense(), update.dense())


sizes = st.integers(1, 12)


@given(st.integers(0, 1000), sizes, sizes, st.integers(1, 16), st.integers(1, 16))
def test_truncation_is_the_best_of_its_rank(seed: int, d_out: int, d_in: int, rank: int, to: int) -> None:
    """Eckart-Young: the error is what the dropped singular values hold, and no rank has less."""
    generator = torch.Generator().manual_seed(seed)
    update = LowRank(
        torch.randn(d_out, rank, generator=generator), torch.randn(d_in, rank, generator=generator)
    )
    small = truncated(update, to)
    assert small.rank <= max(to, 1)
    s = torch.linalg.svdvals(update.left.double() @ update.right.double().T)
    best = float(s[to:].norm() / s.norm())
    assert relative_error(update, small) == pytest.approx(best, abs=1e-5)
    if small is not update:
        assert torch.allclose(small.left.norm(dim=0), small.right.norm(dim=0), atol=1e-4)
    assert relative_error(update, padded(small, 20)) == pytest.approx(best, abs=1e-5)


def test_an_update_of_nothing() -> None:
    nothing = LowRank(torch.zeros(4, 3), torch.zeros(5, 3))
    assert relative_error(nothing, truncated(nothing, 1)) == 0.0
    assert relative_error(nothing, LowRank(torch.ones(4, 1), torch.ones(5, 1))) == float("inf")


@pytest.mark.parametrize(
    ("strict", "reason"),
    [
        (VerifySettings(paraphrase=0.0, same_subject=0.0, others=0.0, ppl_ratio=1.0), "perplexity"),
        (replace(LENIENT, norm=1e-6), "norm: the update of"),
    ],
    ids=["perplexity", "norm"],
)
def test_a_stricter_gate_refuses_the_same_adapter(
    shop_of: Shops, tmp_path: Path, strict: VerifySettings, reason: str
) -> None:
    """The verdict is the settings' gate's, not a threshold of its own."""
    done = export_peft(shop_of("llama", verify=strict), 1, tmp_path / "adapter")
    assert done.checked is not None and not done.checked.passed
    assert any(reason in told for told in done.checked.artefact.reasons)
