"""A revision as a full checkpoint, which `AutoModelForCausalLM.from_pretrained` loads like any other."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from agent.editing.delta import Delta, module_of
from agent.errors import EditError, ModelError, UsageError
from agent.export.manifest import manifest_of
from agent.export.place import placed, told
from agent.export.verified import Exported, check, finished
from agent.lm.arch import as_out_in
from agent.lm.load import DTYPES, LM, folder_of
from agent.store import revisions
from agent.workshop import Workshop, delta_of, load_model

SHARD_SIZE = "5GB"
# What a tokenizer and a generation may be made of. The base's own files are taken as they are: saving them again would write
# the padding token that we set, and drop what this version of transformers does not use (`tokenizer.model`).
_COPIED = (
    "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "vocab.txt", "merges.txt", "spiece.model", "chat_template.jinja", "chat_template.json",
    "generation_config.json", "preprocessor_config.json", "processor_config.json",
)  # fmt: skip


def export_hf(
    shop: Workshop,
    revision_id: int,
    folder: Path,
    *,
    dtype: str = "auto",
    shard_size: str = SHARD_SIZE,
    verify: bool = True,
) -> Exported:
    """Write base and delta as one checkpoint into the new `folder`, and ask it. `dtype`: of the weights, auto for the base's own.

    Raises UnknownId, UsageError, InputError when `folder` exists, ModelError, EditError, StoreError.
    """
    if dtype != "auto" and dtype not in DTYPES:
        raise UsageError(f"--dtype {dtype!r}: give auto, {', '.join(DTYPES)}")
    revision = revisions.get(shop.store, revision_id)
    with placed(folder) as partial:
        # From the files once more: the settings may load the base in another dtype, which has lost some of it.
        lm = load_model(replace(shop.settings, model=replace(shop.settings.model, dtype="auto")))
        merge_(lm, delta_of(shop.store, revision.id, lm), DTYPES.get(dtype))
        write_checkpoint(lm, partial, shard_size)
        manifest = manifest_of("hf", revision, lm.sha, _dtype_name(lm), shop.clock())
        del lm
        checked = check(shop, revision, lambda: nullcontext(_loaded(shop, partial))) if verify else None
        manifest = finished(partial, manifest, checked)
    return Exported(folder, manifest, checked)


def merge_(lm: LM, delta: Delta, dtype: torch.dtype | None = None) -> None:
    """Put the delta into the model's weights for good, and the model into `dtype` (None: as it is). Each edited weight is summed in
    float32 and rounded once. Raises EditError for another model's delta.
    """
    if delta.base_sha != lm.sha:
        raise EditError(
            f"this delta was compiled against base {delta.base_sha[:12]}, the model here is {lm.sha[:12]}"
        )
    sums = {}
    for name, update in delta.updates.items():
        weight = as_out_in(module_of(lm, name))
        sums[name] = weight.float() + update.left.to(weight.device) @ update.right.to(weight.device).T
    if dtype is not None:
        lm.model.to(dtype)
    with torch.no_grad():
        for name, summed in sums.items():
            as_out_in(module_of(lm, name)).copy_(summed)


def write_checkpoint(lm: LM, folder: Path, shard_size: str = SHARD_SIZE) -> None:
    """The model as it is in memory, its tokenizer and generation settings, into an existing folder.

    Raises StoreError when it cannot be written, ModelError when transformers refuses.
    """
    with told(folder):
        try:
            lm.model.save_pretrained(folder, max_shard_size=shard_size)
            lm.tokenizer.save_pretrained(folder)
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{folder}: the checkpoint cannot be written ({error})") from error
        if lm.path:
            own = folder_of(lm.path)
            for name in _COPIED:
                if (own / name).is_file():
                    shutil.copyfile(own / name, folder / name)


def _loaded(shop: Workshop, folder: Path) -> LM:
    """The checkpoint as its user loads it: in its own dtype."""
    model = replace(shop.settings.model, path=str(folder), dtype="auto")
    return load_model(replace(shop.settings, model=model))


def _dtype_name(lm: LM) -> str:
    return str(lm.model.dtype).removeprefix("torch.")
