"""The only place that loads a model: any causal LM of the Hugging Face hub or of a local folder, weights as
safetensors only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as hf_logging

from agent.errors import ModelError
from agent.lm.arch import Arch, arch_of, decoder_layers
from agent.lm.chat import Chat, ChatMode, chat_of
from agent.lm.fused import fuse

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_HASHED = ("*.safetensors", "config.json", "tokenizer.json")
_FETCHED = ["*.safetensors", "*.json", "*.model", "*.txt", "*.jinja"]


@dataclass(frozen=True, slots=True)
class LM:
    """A loaded model with what everybody needs to know about it.

    `sha` identifies its files: weights, config and tokenizer. `tuple_layers` tells whether its decoder layers
    return a tuple (GPT-J, BLOOM, Falcon) or a bare tensor (most families of transformers 5). `chat`: how prompts are put to a
    chat model; None where they are plain text.
    """

    model: Any
    tokenizer: Any
    arch: Arch
    sha: str
    path: str
    tuple_layers: bool = False
    chat: Chat | None = None

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def n_layers(self) -> int:
        return len(self.model.get_submodule(self.arch.layers))


def load_lm(
    path: str, *, dtype: str = "auto", device: str = "auto", arch: Mapping[str, Arch] | None = None,
    chat: ChatMode = "auto",
) -> LM:  # fmt: skip
    """Load a checkpoint folder or hub id for inference. `dtype` is auto (the checkpoint's own), float32,
    bfloat16 or float16. `chat`: whether prompts go through the chat template; auto where there is one.

    Raises ModelError when there is no such model, its weights are pickled, its family is unknown, or its template unusable.
    """
    if dtype != "auto" and dtype not in DTYPES:
        raise ModelError(f"model.dtype must be auto, {', '.join(DTYPES)}; got {dtype!r}")
    folder = folder_of(path)
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=DTYPES.get(dtype, "auto"),
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"model {path!r} cannot be loaded: {_first_line(error)}") from error
    model, found = loaded
    if missing := sorted(found["missing_keys"]):
        # transformers would fill them with random numbers
        raise ModelError(
            f"model {path!r} lacks {len(missing)} of its weights, {missing[0]} first; copy it again"
        )
    fuse(model)
    return wrap(
        model.to(_device(device)), tokenizer, sha=fingerprint(folder), path=path, arch=arch, chat=chat
    )


def wrap(
    model: nn.Module, tokenizer: Any, *, sha: str, path: str = "", arch: Mapping[str, Arch] | None = None,
    chat: ChatMode = "auto",
) -> LM:  # fmt: skip
    """An `LM` around a model that is in memory already: evaluation mode, no gradients on its parameters."""
    model.eval()
    model.requires_grad_(False)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    family = arch_of(model, arch)
    tuples = _returns_tuple(model, decoder_layers(model, family)[0])
    return LM(model, tokenizer, family, sha, path, tuples, chat_of(tokenizer, chat))


def _returns_tuple(model: nn.Module, layer: nn.Module) -> bool:
    """Asked of the model itself, with one token: annotations and documentation of the families are not
    reliable.
    """
    kinds: list[bool] = []
    handle = layer.register_forward_hook(
        lambda _module, _args, output: kinds.append(isinstance(output, tuple))
    )
    try:
        with torch.inference_mode():
            model(input_ids=torch.zeros((1, 1), dtype=torch.long, device=next(model.parameters()).device))
    finally:
        handle.remove()
    return kinds[0]


def fingerprint(folder: Path) -> str:
    """SHA-256 (hex) over the names and bytes of the weights, config and tokenizer files of a checkpoint
    folder.
    """
    digest = hashlib.sha256()
    files = sorted({file for pattern in _HASHED for file in folder.glob(pattern)})
    for file in files:
        digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def folder_of(path: str) -> Path:
    """The local folder of a checkpoint; a hub id is fetched into the hub's cache first. Raises ModelError."""
    try:
        local = Path(path).expanduser()
        here = local.is_dir()
    except (OSError, RuntimeError) as error:  # a name that is too long, a home that nobody has
        raise ModelError(f"model {path[:200]!r} cannot be looked for: {_first_line(error)}") from error
    if here:
        if not (local / "config.json").is_file():
            raise ModelError(f"{local} holds no config.json; give the folder of a Hugging Face checkpoint")
        if not any(local.glob("*.safetensors")):
            raise ModelError(
                f"{local} holds no *.safetensors weights; pickled weights are refused, convert them first"
            )
        _check_index(local)
        return local
    if local.is_absolute() or path.startswith(".") or path.count("/") != 1:
        raise ModelError(f"model {path!r} is no folder here, and no hub id of the form owner/name")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        fetched = Path(snapshot_download(path, allow_patterns=_FETCHED))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"model {path!r} is neither a folder here nor to be had from the hub: {_first_line(error)}"
        ) from error
    _check_index(fetched)
    return fetched


def _check_index(folder: Path) -> None:
    """transformers reads whatever files an index names, pickles and those of other folders too. Raises ModelError for such a name."""
    for index in folder.glob("*.safetensors.index.json"):
        try:
            files = set(json.loads(index.read_bytes())["weight_map"].values())
            strange = sorted(n for n in files if Path(n).name != n or not n.endswith(".safetensors"))
        except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                f"{index}: cannot be read as an index of weights; copy the model again"
            ) from error
        if strange:
            raise ModelError(
                f"{index}: names {strange[0][:100]!a}, which is no *.safetensors beside it; only those are read"
            )


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"model.device {name!r} is no device: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
