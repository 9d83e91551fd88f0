"""A revision as a LoRA adapter in PEFT's form: the base stays as it is, the delta stands beside it.

A delta is `left (d_out, r) @ right (d_in, r).T` per weight, and so is LoRA's `B @ A`: B is `left`, A is `right.T`, and with
`lora_alpha = r` the scale is one. The form is kept plain, one rank for all weights (filled up with zeros) and nothing but A and B, since
not every server reads more than that.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from agent.editing.delta import Delta, LowRank, applied, module_of
from agent.errors import EditError, UsageError
from agent.export.lowrank import padded, relative_error, truncated
from agent.export.manifest import manifest_of
from agent.export.place import placed, told
from agent.export.verified import Exported, check, finished
from agent.lm.arch import is_transposed
from agent.lm.load import LM
from agent.store import revisions
from agent.types import Revision
from agent.workshop import Workshop, delta_of

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
# The values that vLLM's --max-lora-rank takes.
VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
_VLLM_FAMILIES = ("llama", "mistral", "qwen", "gemma", "phi")
_PREFIX = "base_model.model."


@dataclass(frozen=True, slots=True)
class Packed:
    """A delta at one rank. `errors`: per weight the relative Frobenius error of what was left out, `ranks` what it had before."""

    updates: Mapping[str, LowRank]
    rank: int
    errors: Mapping[str, float]
    ranks: Mapping[str, int]


def export_peft(
    shop: Workshop,
    revision_id: int,
    folder: Path,
    *,
    max_rank: int | None = None,
    rank_for_vllm: bool = False,
    verify: bool = True,
) -> Exported:
    """Write the revision's delta as an adapter into the new `folder`, and ask it. `max_rank` compresses; `rank_for_vllm` makes the rank
    one that vLLM allows.

    Raises UsageError for the base and for a rank that cannot be, InputError when `folder` exists, ModelError, EditError, StoreError.
    """
    revision = adaptable(shop, revision_id)
    with placed(folder) as partial:
        lm = shop.base()
        packed = pack(delta_of(shop.store, revision.id, lm), max_rank, rank_for_vllm=rank_for_vllm)
        write_adapter(lm, packed, partial)
        manifest = manifest_of("peft", revision, lm.sha, "float32", shop.clock())
        checked = check(shop, revision, lambda: worn(lm, partial)) if verify else None
        details: dict[str, Any] = {"rank": packed.rank, "ranks": packed.ranks, "errors": packed.errors}
        if checked is not None:
            details["asked_through"] = "peft" if peft_installed() else "factd"
        manifest = finished(partial, manifest, checked, details)
    return Exported(folder, manifest, checked)


def adaptable(shop: Workshop, revision_id: int) -> Revision:
    """Raises UsageError for a revision that no adapter can be made of, UnknownId."""
    if revision_id == revisions.BASE:
        raise UsageError(
            "the base has no delta to make an adapter of; name a revision, or use the base as it is"
        )
    revision = revisions.get(shop.store, revision_id)
    if not revision.compiled:
        raise UsageError(
            f"revision {revision_id} has no fact in its weights, only beside them; `factd export overlay` writes those"
        )
    return revision


def vllm_note(model_type: str) -> str:
    """A warning for a family that vLLM, as far as we know, takes no adapters for; "" for those it does."""
    if model_type.startswith(_VLLM_FAMILIES):
        return ""
    return (
        f"vLLM takes adapters for Llama, Qwen, Mistral, Gemma, Phi and families like them; {model_type} may not be among them: see the "
        "column LoRA in its list of supported models"
    )


def pack(delta: Delta, max_rank: int | None = None, *, rank_for_vllm: bool = False) -> Packed:
    """All updates at one rank: the largest of them, at most `max_rank`, rounded up to one of vLLM's. Raises UsageError."""
    if max_rank is not None and max_rank < 1:
        raise UsageError(f"--max-rank must be at least 1, got {max_rank}")
    limit = max_rank or max(update.rank for update in delta.updates.values())
    kept = {name: truncated(update, limit) for name, update in delta.updates.items()}
    rank = max(update.rank for update in kept.values())
    if rank_for_vllm:
        rank = vllm_rank(rank)
    whole = {name: padded(update, rank) for name, update in kept.items()}
    errors = {
        name: relative_error(update, kept[name]) if kept[name] is not update else 0.0
        for name, update in delta.updates.items()
    }
    return Packed(whole, rank, errors, {name: update.rank for name, update in delta.updates.items()})


def vllm_rank(rank: int) -> int:
    """The least rank of vLLM's that holds `rank`. Raises UsageError."""
    if rank > VLLM_RANKS[-1]:
        raise UsageError(
            f"the adapter has rank {rank}, and vLLM takes at most {VLLM_RANKS[-1]}; add --max-rank {VLLM_RANKS[-1]} or less"
        )
    return next(r for r in VLLM_RANKS if r >= rank)


def write_adapter(lm: LM, packed: Packed, folder: Path) -> None:
    """`adapter_config.json` and `adapter_model.safetensors` into an existing folder. Raises StoreError, EditError."""
    tensors: dict[str, torch.Tensor] = {}
    for name, update in sorted(packed.updates.items()):
        module = _PREFIX + name.removesuffix(".weight")
        tensors[f"{module}.lora_A.weight"] = update.right.T.contiguous().cpu()
        tensors[f"{module}.lora_B.weight"] = update.left.contiguous().cpu()
    with told(folder):
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
        text = json.dumps(_config(lm, packed), indent=2)
        (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def _config(lm: LM, packed: Packed) -> dict[str, Any]:
    """Module names in full: a bare `down_proj` would put empty adapters on every other layer."""
    transposed = {is_transposed(module_of(lm, name)) for name in packed.updates}
    if len(transposed) > 1:
        raise EditError(
            "the edited weights are stored in two orientations, and an adapter has one for all of them"
        )
    local = Path(lm.path).expanduser()
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(local.absolute()) if lm.path and local.is_dir() else lm.path,
        "inference_mode": True,
        "r": packed.rank,
        "lora_alpha": packed.rank,
        "target_modules": [name.removesuffix(".weight") for name in sorted(packed.updates)],
        "fan_in_fan_out": transposed.pop(),
        "lora_dropout": 0.0,
        "bias": "none",
        "use_rslora": False,
        "use_dora": False,
        "modules_to_save": None,
    }


def read_adapter(folder: Path, base_sha: str) -> Delta:
    """The delta that an adapter of ours stands for. Raises EditError."""
    try:
        tensors = load_file(folder / WEIGHTS)
        names = [key.removesuffix(".lora_A.weight") for key in tensors if key.endswith(".lora_A.weight")]
        updates = {
            f"{name.removeprefix(_PREFIX)}.weight": LowRank(
                tensors[f"{name}.lora_B.weight"], tensors[f"{name}.lora_A.weight"].T
            )
            for name in names
        }
    except (OSError, KeyError, SafetensorError) as error:
        raise EditError(f"{folder}: cannot be read as an adapter ({error}); export it again") from error
    return Delta(updates, base_sha)


def peft_installed() -> bool:
    return find_spec("peft") is not None


@contextmanager
def worn(lm: LM, folder: Path) -> Iterator[LM]:
    """The base with the adapter on: as PEFT puts it on where it is installed, else added to the weights. The base is as before
    afterwards. Raises EditError when the adapter does not fit.
    """
    delta = read_adapter(folder, lm.sha)
    if not peft_installed():
        with applied(lm, delta) as edited:
            yield edited
        return
    names = [name.removesuffix(".weight") for name in delta.updates]
    bare = {name: lm.model.get_submodule(name) for name in names}
    try:
        yield replace(lm, model=_peft_model(lm, folder))
    finally:
        # PEFT's own unloading needs a model that it has finished loading.
        for name, module in bare.items():
            lm.model.set_submodule(name, module)
        if hasattr(lm.model, "peft_config"):
            del lm.model.peft_config


def _peft_model(lm: LM, folder: Path) -> Any:
    from peft import PeftModel

    try:
        with warnings.catch_warnings():
            # PEFT 0.21 asks transformers 5 for an attribute by its old name.
            warnings.simplefilter("ignore", FutureWarning)
            return PeftModel.from_pretrained(lm.model, str(folder)).eval()
    except (ValueError, KeyError, RuntimeError) as error:
        raise EditError(f"{folder}: PEFT cannot use this adapter ({error})") from error
