"""What `factd locate` found of a model, as a file: one for each model, the last result.

`located(folder, lm)` is what a compilation asks for layers when nobody set any.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.editing.choice import recommended
from agent.editing.trace import GROUPS, SUBJECT_LAST, Table
from agent.lm.load import LM
from agent.private import FILE, make_folder
from agent.whole import write_whole

VERSION = 1


@dataclass(frozen=True, slots=True)
class Located:
    """One measurement. `key`: hash of everything it depends on. `facts`: how many were traced, of `asked`. `clean`, `lost`, `states` and
    `mlp` as in `agent.editing.trace.Trace`, `window` the widest span of MLPs put back together; `flips` by layer, as in `agent.editing.flips`.
    """

    key: str
    base_sha: str
    facts: int
    asked: int
    clean: float
    lost: float
    window: int
    states: Table
    mlp: Table
    flips: tuple[float, ...]

    @property
    def layers(self) -> tuple[int, ...]:
        """The recommendation; empty where there is none."""
        return recommended([row[SUBJECT_LAST] for row in self.states], self.flips)

    def to_json(self) -> dict[str, Any]:
        return {"version": VERSION, **asdict(self), "groups": GROUPS, "layers": self.layers}


def located(folder: Path, lm: LM) -> tuple[int, ...] | None:
    """The layers that were found best for this model; None when nobody looked yet, nothing was found, or the file cannot be read."""
    found = load_located(folder, lm)
    return (found.layers or None) if found else None


def load_located(folder: Path, lm: LM) -> Located | None:
    """The last result for these weights. A file that is damaged, or of another version, counts as absent: it is measured again."""
    try:
        document = json.loads(_path(folder, lm).read_bytes())
        if document["version"] != VERSION or document["base_sha"] != lm.sha:
            return None
        return _parse(document, lm.n_layers)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def save_located(folder: Path, lm: LM, found: Located) -> None:
    """Keep it, in place of the one before. Raises OSError when it cannot be written."""
    make_folder(folder)
    content = json.dumps(found.to_json(), indent=1, allow_nan=False) + "\n"
    write_whole(_path(folder, lm), content, mode=FILE)


def _path(folder: Path, lm: LM) -> Path:
    return folder / f"located-{lm.sha[:24]}.json"


def _parse(document: Mapping[str, Any], n_layers: int) -> Located:
    """Raises ValueError, TypeError or KeyError for what is no result about so many layers."""
    flips = tuple(_number(share) for share in document["flips"])
    states, mlp = (_table(document[name], n_layers) for name in ("states", "mlp"))
    if len(flips) != n_layers:
        raise ValueError("flips of another model")
    return Located(
        key=str(document["key"]),
        base_sha=str(document["base_sha"]),
        facts=int(document["facts"]),
        asked=int(document["asked"]),
        clean=_number(document["clean"]),
        lost=_number(document["lost"]),
        window=int(document["window"]),
        states=states,
        mlp=mlp,
        flips=flips,
    )


def _table(rows: list[list[Any]], n_layers: int) -> Table:
    table = tuple(tuple(None if share is None else _number(share) for share in row) for row in rows)
    if len(table) != n_layers or any(len(row) != len(GROUPS) for row in table):
        raise ValueError("a table of another model")
    return table


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is no share")
    return number
