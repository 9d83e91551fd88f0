"""EasyEdit's hyperparameters on the pocket model: what was tried there and what did best. Its own files are for models of billions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any

from benchmarks.versus.settings import Method, PeerSettings, published

# Best by efficacy plus paraphrase: MEMIT and AlphaEdit on 40 facts, of rates .5 and 1 and clamps 1 and 4; ROME on 8, of clamps 1
# and 4. What its own files say writes nothing here with MEMIT (lambda 15,000) or AlphaEdit (threshold .02, L2 10). A lambda of 1,000
# keeps twice as much of the same subject and loses a sixth of the efficacy.
_POCKET: Mapping[Method, Mapping[str, Any]] = {
    "rome": {"layers": (2,), "v_lr": 0.5, "clamp_norm_factor": 4.0, "mom2_adjustment": True},
    "memit": {"v_lr": 1.0, "clamp_norm_factor": 1.0, "mom2_update_weight": 100.0},
    "alphaedit": {"v_lr": 1.0, "clamp_norm_factor": 1.0, "nullspace_threshold": 0.2, "L2": 1.0},
}


def peer_settings(model_type: str, method: Method, layers: tuple[int, ...], pocket: bool) -> PeerSettings:
    """What EasyEdit runs with."""
    settings = published(model_type, method, layers)
    return replace(settings, **_POCKET[method]) if pocket else settings


def _combinations(method: Method, **values: tuple[str, ...]) -> list[dict[str, str]]:
    return [{"method": method, **dict(zip(values, row, strict=True))} for row in product(*values.values())]


# What `--tune` tries. Pushes are optimised once for each rate and clamp, and kept in its own cache.
GRID: Mapping[Method, list[dict[str, str]]] = {
    "rome": _combinations(
        "rome", clamp_norm_factor=("1", "4"), v_lr=("0.2", "0.5"), mom2_adjustment=("false", "true")
    ),
    "memit": _combinations(
        "memit",
        clamp_norm_factor=("0.75", "1", "4"),
        v_lr=("0.2", "0.5", "1"),
        mom2_update_weight=("100", "1000", "15000"),
    ),
    "alphaedit": _combinations(
        "alphaedit",
        clamp_norm_factor=("0.75", "1", "4"),
        v_lr=("0.2", "0.5", "1"),
        nullspace_threshold=("2e-2", "2e-1"),
        L2=("1", "10"),
    ),
}
