"""A share of the whole matrix: every stage is run undisturbed, and every `of`-th of its cases is tried here."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash import commands, matrix
from tests.crash.stages import STAGES
from tests.forks import Forks
from tests.store.samples import tree
from tests.test_end_to_end import PAPERS, rss

Point = tuple[str, int]


@dataclass(frozen=True)
class Share:
    """The `nth` (from 0) of `of` shares; no more than `passings` of one point in a stage."""

    nth: int
    of: int
    passings: int

    def cases(self, points: tuple[Point, ...]) -> list[Point]:
        return [point for point in points if point[1] <= self.passings][self.nth :: self.of]


@dataclass
class Row:
    """What became of one stage. `met`: the points that the undisturbed run passed."""

    name: str
    met: list[str]
    cases: int = 0
    mended: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)


def tried(folder: Path, wanted: list[str], share: Share, tell: Callable[[Row], None]) -> None:
    """All stages, or those `wanted`; `tell` hears each row when its stage has ended."""
    _store(folder / "store", wanted, share, tell)
    _commands(folder, wanted, share, tell)


def _store(place: Path, wanted: list[str], share: Share, tell: Callable[[Row], None]) -> None:
    """The stages of the store, without a model."""
    place.mkdir()
    forks = Forks(place, None)
    for name in STAGES:
        if name == "litter" or (wanted and f"store: {name}" not in wanted):
            continue
        begun, at = time.monotonic(), place / name
        at.mkdir()
        of = matrix.undisturbed(name, forks, at)

        def one(point: Point, at: Path = at, of: matrix.Undisturbed = of) -> bool:
            return bool(matrix.check_case(of, point, forks, at / "case").err)

        tell(_stage(f"store: {name}", of.points, one, at / "case", begun, share))
    forks.close()


def _commands(folder: Path, wanted: list[str], share: Share, tell: Callable[[Row], None]) -> None:
    """The stages as a person runs them, on a tiny model."""
    needed = commands.with_beginnings(wanted or list(commands.STAGES))
    if not needed:
        return
    place = folder / "commands"
    place.mkdir()
    model = _taught(folder / "model")
    before = tree(model)
    forks = Forks(folder, model)
    ground = commands.Ground(place, model, forks)
    (place / "courier.xml").write_text(rss("courier", *PAPERS["courier"]))
    for name in needed:
        begun = time.monotonic()
        of = commands.undisturbed(ground, name)
        if wanted and name not in wanted:
            continue
        work = place / name / "case"

        def one(
            point: Point, name: str = name, of: commands.Undisturbed = of, work: Path = work
        ) -> bool | None:
            said = commands.check_case(ground, name, of, point, work)
            assert tree(model) == before, "the base model was written to"
            return None if said is None else bool(said)

        tell(_stage(name, of.points, one, work, begun, share))
    forks.close()


def _stage(
    name: str,
    points: tuple[Point, ...],
    one: Callable[[Point], bool | None],
    work: Path,
    begun: float,
    share: Share,
) -> Row:
    """The share's cases of one stage. `one` raises where a case fails, says whether something was mended, or None where nothing was killed."""
    row = Row(name, sorted({point for point, _ in points}))
    for point in share.cases(points):
        try:
            said = one(point)
            row.cases += said is not None
            row.mended += bool(said)
        except AssertionError as error:
            row.cases += 1
            row.failures.append(f"{name} at {point[0]} ({point[1]}): {error}")
            print(f"FAILED {row.failures[-1]}", file=sys.stderr, flush=True)
        with suppress(FileNotFoundError):
            shutil.rmtree(work)
    row.seconds = time.monotonic() - begun
    return row


def _taught(folder: Path) -> Path:
    """The tiny Llama of the test suite, as a checkpoint."""
    import torch

    from tests.models import build, teach

    torch.set_num_threads(1)
    lm = build("llama", hidden_size=48, intermediate_size=144, head_dim=12, sha="a" * 64)
    teach(lm, steps=90, learning_rate=8e-3)
    lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
    return folder
