"""Key statistics as a value and as a file, and the sums of an unfinished run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from agent.errors import EditError
from agent.faults import step
from agent.private import FILE, make_folder
from agent.whole import sync

Tensor = torch.Tensor
# safetensors writes the entries of its metadata in random order: one entry keeps equal files equal.
_ENTRY = "factd"


@dataclass(frozen=True, slots=True)
class KeyStatistics:
    """C = E[k kᵀ], uncentred, of the keys of some layers (ROME, 2202.05262, section 3.1).

    `key` names everything the numbers depend on, and nothing else: equal keys, equal matrices. `matrices` by
    layer: (d_in, d_in) float32 on the CPU, symmetric; from a file each is read when it is asked for and not
    kept. `tokens`: how many keys were averaged. `change`: how much the inverse norm of unseen keys still
    moved when the tokens were doubled last, None where nobody looked. `warning`: what one should know.
    """

    key: str
    tokens: int
    matrices: Mapping[int, Tensor]
    change: float | None = None
    file: Path | None = None
    warning: str = ""


class StoredMatrices(Mapping[int, Tensor]):
    """The matrices of a file, by layer, each read at every access: five of a 7B model are 2.4 GB."""

    def __init__(self, path: Path, layers: Sequence[int]) -> None:
        self._path = path
        self._layers = tuple(layers)

    def __getitem__(self, layer: int) -> Tensor:
        if layer not in self._layers:
            raise KeyError(layer)
        try:
            with safe_open(self._path, "pt") as stored:
                matrix: Tensor = stored.get_tensor(str(layer))
        except (OSError, SafetensorError) as error:
            raise EditError(f"{self._path}: cannot be read any more ({error}); run it again") from error
        return matrix

    def __iter__(self) -> Iterator[int]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)


def load_statistics(path: Path, key: str) -> KeyStatistics | None:
    """What `save_statistics` wrote under this key; None where there is nothing, or nothing whole."""
    try:
        with safe_open(path, "pt") as stored:
            record = json.loads(stored.metadata()[_ENTRY])
            layers = [int(name) for name in stored.keys()]  # noqa: SIM118 (not a mapping)
        if record["key"] != key:
            return None
        matrices = StoredMatrices(path, sorted(layers))
        return KeyStatistics(key, record["tokens"], matrices, record["change"], path, record["warning"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None  # cut short by a full disk or a power cut: computed again


def save_statistics(path: Path, found: KeyStatistics) -> KeyStatistics:
    """Write the statistics, whole or not at all; the same ones, read from there. Raises EditError."""
    record = {"key": found.key, "tokens": found.tokens, "change": found.change, "warning": found.warning}
    save_tensors(path, {str(layer): matrix for layer, matrix in found.matrices.items()}, record)
    return KeyStatistics(
        found.key,
        found.tokens,
        StoredMatrices(path, sorted(found.matrices)),
        found.change,
        path,
        found.warning,
    )


def save_tensors(path: Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    """A safetensors file that is there whole or not at all, also after a power cut.

    Raises EditError when it cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        make_folder(path.parent)
        with step("statistics", "write"):
            save_file(dict(tensors), partial, {_ENTRY: json.dumps(record, sort_keys=True)})
        partial.chmod(FILE)
        with step("statistics", "sync"):
            sync(partial)
        with step("statistics", "rename"):
            partial.replace(path)
        with step("statistics", "sync-folder"):
            sync(path.parent)
    except (SafetensorError, OSError) as error:  # the first is how safetensors tells of a full disk
        with suppress(OSError):
            partial.unlink()
        raise EditError(
            f"{partial}: cannot be written ({error}); free some space on the disk and run it again"
        ) from error


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """What `save_tensors` wrote; None where there is nothing, or nothing whole."""
    try:
        with safe_open(path, "pt") as stored:
            record = json.loads(stored.metadata()[_ENTRY])
            names = stored.keys()
            # Copies: a tensor of the file's own is the file, mapped into memory, and must not be added to.
            return {name: stored.get_tensor(name).clone() for name in names}, record
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None
