"""Key statistics that somebody has already: the .npz files of memit's and EasyEdit's `layer_stats`.

One file a layer, `<module path>_<dtype>_mom2_<documents>.npz`, with `mom2.mom2` (d_in, d_in), the sum of
k kᵀ, and `mom2.count`, the tokens in it. Nothing in it tells of which weights it was measured.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy
import torch

from agent.editing.statfile import KeyStatistics
from agent.errors import InputError
from agent.lm.arch import as_out_in, down_module, down_name
from agent.lm.load import LM

Tensor = torch.Tensor
_NAME = re.compile(r"(?P<module>.+?)_float\d+_.*mom2.*\.npz")
_SUM, _COUNT = "mom2.mom2.npy", "mom2.count.npy"
_UNKNOWN = (
    "the statistics are from files that do not say on which weights, texts and precision they were "
    "measured; their shapes fit this model, more cannot be checked"
)


@dataclass(frozen=True, slots=True)
class _Moment:
    """One layer's file: how many tokens are in it, and the hash of its bytes."""

    path: Path
    count: int
    sha: str


class NpzMatrices(Mapping[int, Tensor]):
    """C by layer, (d_in, d_in) float32, read from its file at every access and divided by its count.

    An access raises InputError when the numbers are not finite or not symmetric.
    """

    def __init__(self, moments: Mapping[int, _Moment]) -> None:
        self._moments = dict(moments)

    def __getitem__(self, layer: int) -> Tensor:
        moment = self._moments[layer]
        with _member(moment.path, _SUM) as stream:
            summed = numpy.lib.format.read_array(stream, allow_pickle=False)
        summed = summed.astype(
            numpy.result_type(summed, numpy.float32), copy=False
        )  # a half cannot be divided
        matrix = torch.from_numpy(summed / summed.dtype.type(moment.count)).float()
        if not bool(matrix.isfinite().all()):
            raise InputError(f"{moment.path}: mom2.mom2 holds numbers that are not finite; measure it again")
        if not torch.allclose(matrix, matrix.T, rtol=1e-2, atol=1e-4 * float(matrix.diagonal().mean())):
            raise InputError(f"{moment.path}: mom2.mom2 is not symmetric, so it is no sum of k kᵀ")
        return matrix

    def __iter__(self) -> Iterator[int]:
        return iter(self._moments)

    def __len__(self) -> int:
        return len(self._moments)


def read_npz(lm: LM, layers: Sequence[int], where: Path) -> KeyStatistics:
    """The statistics of `layers` from a folder of such files, one file, or a pattern (`stats/*_100000.npz`).

    The layer is what the file's name says; names and shapes must be those of this model's down projections.
    `key` holds the files' hashes, `warning` what they cannot tell. Raises InputError for a layer without a
    file or with several, a file that is none of these, another d_in, and a count that is none.
    """
    found = _by_module(where)
    moments = {}
    for layer in sorted(layers):
        module = down_name(lm.arch, layer).removesuffix(".weight")
        d_in = as_out_in(down_module(lm.model, lm.arch, layer)).shape[1]
        paths = found.get(module, [])
        if len(paths) > 1:
            raise InputError(
                f"{where}: several files for layer {layer}: {', '.join(path.name for path in paths)}; "
                "say which by a pattern: editing.statistics: <folder>/*_100000.npz"
            )
        if not paths:
            raise InputError(
                f"{where}: no file for layer {layer}, it would be named {module}_float32_mom2_*.npz; "
                f"there is {', '.join(sorted(found)) or 'none of that kind'}"
            )
        moments[layer] = _checked(paths[0], d_in)
    named = json.dumps(["npz", [[layer, moment.sha] for layer, moment in moments.items()]])
    tokens = min(moment.count for moment in moments.values())
    key = hashlib.sha256(named.encode()).hexdigest()[:32]
    return KeyStatistics(key, tokens, NpzMatrices(moments), None, where, _UNKNOWN)


def _by_module(where: Path) -> dict[str, list[Path]]:
    if where.is_dir():
        paths = sorted(where.rglob("*.npz"))
    elif where.is_file():
        paths = [where]
    else:
        paths = sorted(where.parent.glob(where.name)) if where.name else []
    found: dict[str, list[Path]] = {}
    for path in paths:
        if match := _NAME.fullmatch(path.name):
            found.setdefault(match["module"], []).append(path)
    return found


def _checked(path: Path, d_in: int) -> _Moment:
    """The file's count and hash, after a look at its headers only."""
    with _member(path, _COUNT) as stream:
        shape, dtype = _header(stream)
    if math.prod(shape) != 1:  # before it is read: a header can promise terabytes
        raise InputError(f"{path}: mom2.count is {shape} {dtype}, not a number of tokens; measure it again")
    with _member(path, _COUNT) as stream:
        raw = numpy.lib.format.read_array(stream, allow_pickle=False)
    with _member(path, _SUM) as stream:
        shape, dtype = _header(stream)
    if shape != (d_in, d_in) or dtype.kind != "f":
        raise InputError(
            f"{path}: mom2.mom2 is {'x'.join(map(str, shape))} {dtype}, but this model's keys have {d_in} "
            "dimensions there; these are the statistics of another model"
        )
    if raw.size != 1 or raw.dtype.kind not in "iuf" or not raw.item() >= 1 or raw.item() % 1 != 0:
        raise InputError(f"{path}: mom2.count is {raw.tolist()!r}, not a number of tokens; measure it again")
    return _Moment(path, int(raw.item()), _sha(path))


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], numpy.dtype[Any]]:
    """Shape and type of an array, without its numbers."""
    form = numpy.lib.format
    version = form.read_magic(stream)
    read = form.read_array_header_1_0 if version == (1, 0) else form.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, dtype


@contextmanager
def _member(path: Path, name: str) -> Iterator[IO[bytes]]:
    """One array of the file, as a stream; pickled ones are never read."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(name) as stream:
            yield stream
    except KeyError as error:
        raise InputError(
            f"{path}: no array {name.removesuffix('.npy')} in it; no file of layer_stats"
        ) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot be read as .npz ({error}); copy it again") from error


def _sha(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
