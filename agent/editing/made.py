"""What, besides base, facts and settings, decides the last bits of a delta: the code and the machine."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

import torch

from agent.lm.load import LM
from agent.versions import installed, own_version

_ROOMS = ("editing", "lm")
_NOT_INSTALLED = "not installed"


def made_with(lm: LM) -> dict[str, str]:
    """Names and values, to be kept with a revision and compared when it is compiled again."""
    kind = torch.backends.cpu.get_cpu_capability()
    return {
        "factd": own_version() or _NOT_INSTALLED,
        "code": _code_sha(),
        "torch": torch.__version__,
        "transformers": installed("transformers") or _NOT_INSTALLED,
        "python": platform.python_version(),
        "machine": f"{platform.machine()} {kind}" if lm.device.type == "cpu" else _accelerator(lm),
        "threads": str(torch.get_num_threads()),
        "dtype": str(next(lm.model.parameters()).dtype).removeprefix("torch."),
    }


def _code_sha() -> str:
    """SHA-256 (hex) over the source of the compiler and of what runs the model."""
    found = hashlib.sha256()
    root = Path(__file__).resolve().parent.parent
    for room in _ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            found.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    return found.hexdigest()


def _accelerator(lm: LM) -> str:
    return torch.cuda.get_device_name(lm.device) if lm.device.type == "cuda" else lm.device.type
