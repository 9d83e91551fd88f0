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

from agent.faults import step
from agent.private import FILE, make_folder
from agent.whole import sync

_PARTIAL = ".partial-"
_SET = ".set-"


def mend_values(folder: Path) -> tuple[int, int]:
    """Remove the sets that a killed run left half written and put whole ones in their places; how many of each. Only for who holds the
    worker's lock.
    """
    partial, whole = list(folder.glob(f"{_PARTIAL}*")), list(folder.glob(f"{_SET}*"))
    for path in partial:
        shutil.rmtree(path, ignore_errors=True)
    _settle(folder)
    return len(partial), len(whole)


def load_values(folder: Path, keys: Iterable[str]) -> dict[str, Tensor]:
    """The values that are there. A file that cannot be read counts as absent: it is computed again and
    replaced. Only for who holds the worker's lock: what a killed run left half written goes.
    """
    mend_values(folder)
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
    if not folder.is_dir():
        make_folder(folder)
        sync(folder.parent)
    missing = {key: value for key, value in values.items() if not (folder / f"{key}.safetensors").exists()}
    if not missing:
        return
    with step("values", "folder"):
        partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=folder))
    try:
        for key, value in missing.items():
            with step("values", "write"), (partial / f"{key}.safetensors").open("wb") as stream:
                os.fchmod(stream.fileno(), FILE)
                stream.write(_content(value))
                stream.flush()
                os.fsync(stream.fileno())
        with step("values", "sync"):
            sync(partial)
        with step("values", "rename"):
            partial.rename(folder / f"{_SET}{partial.name.removeprefix(_PARTIAL)}")
        with step("values", "sync-folder"):
            sync(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _settle(folder)


def _settle(folder: Path) -> None:
    """Move the files of complete sets to their places; a killed run may have left some half moved."""
    for complete in folder.glob(f"{_SET}*"):
        for path in sorted(complete.iterdir()):
            with step("values", "move"), suppress(FileNotFoundError):  # somebody else is at it too
                path.rename(folder / path.name)
        # Else a power cut may forget where the files went, and remember that the set is gone.
        with step("values", "sync-moved"):
            sync(folder)
        with step("values", "rmdir"), suppress(OSError):
            complete.rmdir()
