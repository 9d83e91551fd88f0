"""A revision as a GGUF file, by the converter of the user's own llama.cpp.

The converter changes with every model family that llama.cpp learns, so none is carried here. What it makes is read back with
transformers, where that knows the family's GGUF, and asked: eight bits round, and settings of a model may get lost on the way (of a
Qwen3 with sliding windows, the windows did).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from agent.errors import InputError, ModelError, UsageError
from agent.export.hf import merge_, write_checkpoint
from agent.export.manifest import manifest_of
from agent.export.place import checked_name, placed, told
from agent.export.verified import Checked, Exported, check, finished
from agent.lm.load import LM
from agent.store import revisions
from agent.types import Revision
from agent.workshop import Workshop, delta_of, load_model

OUTTYPES = ("f32", "f16", "bf16", "q8_0")
SCRIPT = "convert_hf_to_gguf.py"
_TAIL = 4  # lines
# What the converter says, and what that means.
_MEANINGS = (
    (r"No module named '(gguf|sentencepiece)'", r"it needs the package \1: pip install 'factd[gguf]'"),
    (r"No module named '(\w+)", r"it needs the package \1: pip install \1"),
    (r"pre-tokenizer was not recognized", "llama.cpp does not know this model's tokenizer"),
    (r"is not supported|not supported!", "llama.cpp does not know this model's architecture"),
)


def export_gguf(
    shop: Workshop,
    revision_id: int,
    folder: Path,
    llama_cpp: Path,
    *,
    outtype: str = "f16",
    verify: bool = True,
) -> Exported:
    """Write base and delta as `<name of folder>.gguf` into the new `folder`, through a checkpoint in float32 that is removed again.

    Raises UnknownId, UsageError, InputError when `folder` exists or `llama_cpp` is no checkout, ModelError when the converter fails.
    """
    if outtype not in OUTTYPES:
        raise UsageError(f"--outtype {outtype!r}: give {', '.join(OUTTYPES)}")
    script = converter(llama_cpp)
    name = f"{checked_name(folder.absolute().name, 'the folder')}.gguf"
    revision = revisions.get(shop.store, revision_id)
    with placed(folder) as partial:
        base_sha = _converted(shop, revision, script, partial / name, outtype)
        manifest = manifest_of("gguf", revision, base_sha, outtype, shop.clock())
        checked, why_not = _checked(shop, revision, partial / name) if verify else (None, "")
        details = {"file": name, **({"not_verified": why_not} if why_not else {})}
        manifest = finished(partial, manifest, checked, details)
    return Exported(folder, manifest, checked)


def converter(llama_cpp: Path) -> Path:
    """The conversion script of a llama.cpp checkout. Raises InputError."""
    script = llama_cpp.expanduser().absolute() / SCRIPT
    if not script.is_file():
        raise InputError(
            f"{llama_cpp} holds no {SCRIPT}; give the folder of a llama.cpp checkout (git clone of ggml-org/llama.cpp)"
        )
    return script


def _converted(shop: Workshop, revision: Revision, script: Path, file: Path, outtype: str) -> str:
    """Write the GGUF; gives the base's hash. The checkpoint between is in float32, so that the converter rounds once."""
    checkpoint = file.parent / "checkpoint"
    with told(checkpoint):
        checkpoint.mkdir()
    lm = load_model(replace(shop.settings, model=replace(shop.settings.model, dtype="auto")))
    merge_(lm, delta_of(shop.store, revision.id, lm), torch.float32)
    write_checkpoint(lm, checkpoint)
    base_sha = lm.sha
    del lm
    run_converter(script, checkpoint, file, outtype, f"factd-r{revision.id}")
    shutil.rmtree(checkpoint)
    return base_sha


def run_converter(script: Path, checkpoint: Path, file: Path, outtype: str, name: str) -> None:
    """Run the script with this Python, without a shell and without the network. Raises ModelError with its last lines."""
    command = [sys.executable, str(script), str(checkpoint), "--outfile", str(file), "--outtype", outtype]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    done = subprocess.run(
        [*command, "--model-name", name], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=offline, text=True, errors="replace", check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise ModelError(f"{script} ended with {done.returncode}: {_meaning(done.stdout)}")
    if not _begins_like_gguf(file):
        raise ModelError(f"{script} ended well and left no GGUF file; is it a llama.cpp of today?")


def _begins_like_gguf(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return stream.read(4) == b"GGUF"


def _meaning(said: str) -> str:
    """What a failed converter's output comes to, and its last lines, but for the marks under a traceback's code."""
    lines = [line.strip() for line in said.splitlines() if line.strip(" ^~")]
    found = (match.expand(meaning) for sign, meaning in _MEANINGS if (match := re.search(sign, said)))
    return f"{next(found, 'its last lines tell why')}. It said: {' / '.join(lines[-_TAIL:]) or 'nothing'}"


def _checked(shop: Workshop, revision: Revision, file: Path) -> tuple[Checked | None, str]:
    """The verification, or why there is none."""
    if find_spec("gguf") is None:
        return None, "reading the file back needs the package gguf: pip install 'factd[gguf]'"
    base = shop.base()
    try:
        model = _read(file).to(base.device)
    except Exception as error:  # the converter's newest forms may be anything to this reader
        return None, f"transformers cannot read this GGUF back ({error})"
    return check(shop, revision, lambda: _wearing(base, model)), ""


def _read(file: Path) -> Any:
    """The model in the file, every weight as float32."""
    return AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32, trust_remote_code=False
    ).eval()


@contextmanager
def _wearing(base: LM, model: Any) -> Iterator[LM]:
    """The base's tokenizer with the file's weights: the tokenizer in the file is llama.cpp's matter."""
    yield replace(base, model=model)
