"""Value vectors on disk, one small file per key: the expensive part of a compilation is done once per fact
and base.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from agent.faults import fault
from agent.private import FILE, make_folder

_PARTIAL = ".partial-"
_SET = ".set-"


def load_values(folder: Path, keys: Iterable[str]) -> dict[str, Tensor]:
    """The values that are there. A file that cannot be read counts as absent: it is computed again and
    replaced. Only for who holds the worker's lock: what a killed run left half written goes.
    """
    for partial in folder.glob(f"{_PARTIAL}*"):
        shutil.rmtree(partial, ignore_errors=True)
    _settle(folder)
    found = {}
    for key in keys:
        path = folder / f"{key}.safetensors"
        try:
            found[key] = load(path.read_bytes())["value"]
        except (OSError, SafetensorError, KeyError):
            continue
    return found


def value_shas(values: Mapping[str, Tensor]) -> dict[str, str]:
    """SHA-256 (hex) of each value as `save_values` writes it, by its key."""
    return {key: hashlib.sha256(_content(values[key])).hexdigest() for key in sorted(values)}


def _content(value: Tensor) -> bytes:
    return save({"value": value.contiguous()})


def save_values(folder: Path, values: Mapping[str, Tensor]) -> None:
    """Write the values that are not there yet, all or none. Raises OSError when the disk is full.

    All or none, because values that were optimised together are not those optimised one by one to the last
    bit, and a run that was killed in between must come to the same delta when it is started again. The name
    of a complete set is what makes it one; who comes next moves its files to their places.
    """
    make_folder(folder)
    missing = {key: value for key, value in values.items() if not (folder / f"{key}.safetensors").exists()}
    if not missing:
        return
    partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=folder))
    try:
        for key, value in missing.items():
            with (partial / f"{key}.safetensors").open("wb") as stream:
                os.fchmod(stream.fileno(), FILE)
                stream.write(_content(value))
                stream.flush()
                os.fsync(stream.fileno())
            fault("values:after-one")
        partial.rename(folder / f"{_SET}{partial.name.removeprefix(_PARTIAL)}")
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    fault("values:after-set")
    _settle(folder)


def _settle(folder: Path) -> None:
    """Move the files of complete sets to their places; a killed run may have left some half moved."""
    for complete in folder.glob(f"{_SET}*"):
        for path in complete.iterdir():
            with suppress(FileNotFoundError):  # somebody else is at it too
                path.rename(folder / path.name)
            fault("values:after-move")
        with suppress(OSError):
            complete.rmdir()
