"""What passes between the processes of the comparison, as JSON files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from agent.types import EditRequest
from benchmarks.edits import Ask
from benchmarks.versus.settings import PeerSettings

Side = Literal["easyedit", "same", "quick", "shipped"]
Task = Literal["statistics", "rome", "memit", "alphaedit", "tune"]


@dataclass(frozen=True, slots=True)
class EditSet:
    """Edits and what is asked after them; `before` are the unedited model's answers. Without `asks` only time and memory count.

    `preserve`: (text, subject) of what must not move; of the sides only ours, quick and as shipped, read it.
    """

    requests: tuple[EditRequest, ...]
    preserve: tuple[tuple[str, str], ...] = ()
    asks: tuple[Ask, ...] = ()
    before: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """One measurement of one side in one process. Paths are absolute.

    `edits`: file of an `EditSet`; `texts`: file with a list of texts for the statistics; `layers`: of the statistics; `work`: folder
    for the side's caches; `grid`: of a `tune` task, what to change in `peer` one after the other, by method.
    """

    side: Side
    task: Task
    model: str
    edits: str
    texts: str
    layers: tuple[int, ...]
    work: str
    peer: PeerSettings
    easyedit: str
    grid: tuple[dict[str, str], ...] = ()


def write_job(path: Path, job: Job) -> None:
    path.write_text(json.dumps(asdict(job), indent=1), encoding="utf-8")


def read_job(path: Path) -> Job:
    row = json.loads(path.read_text(encoding="utf-8"))
    peer = PeerSettings(**{**row["peer"], "layers": tuple(row["peer"]["layers"])})
    return Job(**{**row, "peer": peer, "layers": tuple(row["layers"]), "grid": tuple(row["grid"])})


def write_edits(path: Path, edits: EditSet) -> None:
    path.write_text(json.dumps(asdict(edits)), encoding="utf-8")


def read_edits(path: Path) -> EditSet:
    row = json.loads(path.read_text(encoding="utf-8"))
    return EditSet(
        requests=tuple(
            EditRequest(**{**r, "prompts": tuple(r["prompts"]), "keep": tuple(r["keep"])})
            for r in row["requests"]
        ),
        preserve=tuple((text, subject) for text, subject in row["preserve"]),
        asks=tuple(Ask(**a) for a in row["asks"]),
        before=tuple(row["before"]),
    )


def read_texts(path: Path) -> list[str]:
    texts: list[str] = json.loads(path.read_text(encoding="utf-8"))
    return texts


class Clock:
    """Seconds of each `with clock.running():`."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        started = perf_counter()
        yield
        self.seconds.append(perf_counter() - started)


def outcome(seconds: Sequence[float], base: float, peak: float, quality: dict[str, Any]) -> dict[str, Any]:
    """What a process writes: every timing, the model's resident memory and the highest while editing (MiB), and the scores."""
    return {
        "seconds": [round(s, 4) for s in seconds],
        "model_mib": round(base, 1),
        "peak_mib": round(peak, 1),
        "above_mib": round(peak - base, 1),
        "quality": quality,
    }


def write_outcome(path: Path, found: dict[str, Any]) -> None:
    path.write_text(json.dumps(found, indent=1), encoding="utf-8")
