"""Value vectors on disk, one small file per key: the expensive part of a compilation is done once per fact
and base.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor


def load_values(folder: Path, keys: Iterable[str]) -> dict[str, Tensor]:
    """The values that are there. A file that cannot be read counts as absent: it is computed again and
    replaced.
    """
    found = {}
    for key in keys:
        path = folder / f"{key}.safetensors"
        try:
            found[key] = load(path.read_bytes())["value"]
        except (OSError, SafetensorError, KeyError):
            continue
    return found


def save_values(folder: Path, values: Mapping[str, Tensor]) -> None:
    """Write each value that is not there yet; a file appears whole or not at all. Raises OSError when the
    disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for key, value in values.items():
        path = folder / f"{key}.safetensors"
        if path.exists():
            continue
        partial = folder / f".{key}.{os.getpid()}.partial"
        with partial.open("wb") as stream:
            stream.write(save({"value": value.contiguous()}))
            stream.flush()
            os.fsync(stream.fileno())
        partial.rename(path)
