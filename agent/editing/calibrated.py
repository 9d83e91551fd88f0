"""What `factd calibrate` chose for a model, as a file: one for each model and algorithm, the last result.

`calibrated(folder, lm)` is what a compilation asks for the settings that nobody gave.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.editing.settings import AlgorithmName
from agent.lm.arch import editable_layers
from agent.lm.load import LM
from agent.private import FILE, make_folder
from agent.whole import write_whole

VERSION = 1


@dataclass(frozen=True, slots=True)
class Setting:
    """The keys of `EditSettings` that are calibrated, in its units."""

    layers: tuple[int, ...]
    clamp: float
    covariance: float
    preserve: float


def calibrated(folder: Path, lm: LM, algorithm: AlgorithmName = "memit") -> dict[str, Any] | None:
    """Keys of `EditSettings` for this model; None when nobody measured it with this algorithm, when nothing better than the settings in
    force was found, or when the file cannot be read: damaged, of another version, or about layers that the model has not.
    """
    try:
        document = json.loads(_path(folder, lm, algorithm).read_bytes())
        if document["version"] != VERSION or document["base_sha"] != lm.sha:
            return None
        if document["algorithm"] != algorithm or document["kept"] is not True:
            return None
        return asdict(_parse(document["best"], lm))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def save_calibrated(folder: Path, lm: LM, document: Mapping[str, Any]) -> None:
    """Keep a result, in place of the one before. `document` has `base_sha`, `algorithm`, `best` and `kept`, and whatever else there is
    to tell. Raises OSError when it cannot be written.
    """
    make_folder(folder)
    content = json.dumps({**document, "version": VERSION}, indent=1, allow_nan=False) + "\n"
    write_whole(_path(folder, lm, document["algorithm"]), content, mode=FILE)


def _path(folder: Path, lm: LM, algorithm: str) -> Path:
    return folder / f"calibrated-{algorithm}-{lm.sha[:24]}.json"


def _parse(best: Mapping[str, Any], lm: LM) -> Setting:
    """Raises ValueError, TypeError or KeyError for what is no setting of this model."""
    layers = tuple(best["layers"])
    if not layers or list(layers) != sorted(set(layers)) or not set(layers) <= set(_editable(lm)):
        raise ValueError(f"{layers!r} are no layers of this model")
    if any(type(layer) is not int for layer in layers):
        raise TypeError(f"{layers!r} are no layers")
    clamp, covariance, preserve = (float(best[name]) for name in ("clamp", "covariance", "preserve"))
    if (
        not all(map(math.isfinite, (clamp, covariance, preserve)))
        or clamp <= 0
        or min(covariance, preserve) < 0
    ):
        raise ValueError("weights that cannot work")
    return Setting(layers, clamp, covariance, preserve)


def _editable(lm: LM) -> tuple[int, ...]:
    return tuple(editable_layers(lm.model, lm.arch))
