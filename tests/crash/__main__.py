"""The whole crash matrix: `python -m tests.crash [--first] [STAGE...]`. Every stage, killed at every passing of every point; prints a table
by stage. `--first`: only at the first passing.

A passing beyond the third of one point in one run is left out: it is the same line of code with another file.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from agent.faults import POINTS
from tests.crash import commands, matrix
from tests.crash.conftest import MEMORY
from tests.crash.stages import STAGES
from tests.crash.test_machine import SETTINGS, CrashMachine
from tests.forks import Forks
from tests.store.samples import tree
from tests.test_end_to_end import PAPERS, rss

PASSINGS = 3
EXAMPLES = 100
Row = tuple[str, int, int, int, float]


@dataclass(frozen=True)
class Tally:
    """Of the whole run: the points that were met, what failed, and how many passings of a point are tried."""

    met: set[str]
    failures: list[str]
    passings: int


def main(arguments: list[str]) -> int:
    wanted = [word for word in arguments if word != "--first"]
    passings = PASSINGS if wanted == arguments else 1
    base = MEMORY if MEMORY.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="factd-crash-", dir=base))
    met: set[str] = set()
    failures: list[str] = []
    try:
        rows = [
            *_store(folder, wanted, Tally(met, failures, passings)),
            *_commands(folder, wanted, Tally(met, failures, passings)),
        ]
        if not wanted:
            _machine(failures)
    finally:
        shutil.rmtree(folder)
    print(f"\n{'stage':<24}{'points':>8}{'cases':>8}{'mended':>8}{'seconds':>9}")
    for name, points, cases, mended, seconds in rows:
        print(f"{name:<24}{points:>8}{cases:>8}{mended:>8}{seconds:>9.1f}")
    print(
        f"{'all':<24}{len(met):>8}{sum(r[2] for r in rows):>8}{sum(r[3] for r in rows):>8}{sum(r[4] for r in rows):>9.1f}"
    )
    unmet = [point for point in POINTS if point not in met]
    if not wanted:
        print(f"points of agent/faults.py: {len(POINTS)}, never met: {', '.join(unmet) or 'none'}")
    for failure in failures:
        print(f"FAILED {failure}")
    print(f"{sum(r[2] for r in rows)} cases, {len(failures)} failed")
    return 1 if failures or (unmet and not wanted) else 0


def _store(folder: Path, wanted: list[str], tally: Tally) -> list[Row]:
    """The stages of the store, without a model."""
    rows = []
    place = folder / "store"
    place.mkdir()
    forks = Forks(place, None)
    for name in STAGES:
        if name == "litter" or (wanted and f"store: {name}" not in wanted):
            continue
        begun, at = time.monotonic(), place / name
        at.mkdir()
        of = matrix.undisturbed(name, forks, at)

        def one(point: tuple[str, int], name: str = name, at: Path = at, of: matrix.Undisturbed = of) -> bool:
            done = matrix.check_case(of, point, forks, at / "case")
            return bool(done.err)

        rows.append(_stage(f"store: {name}", of.points, one, at / "case", begun, tally))
    forks.close()
    return rows


def _commands(folder: Path, wanted: list[str], tally: Tally) -> list[Row]:
    rows = []
    needed = commands.with_beginnings(wanted or list(commands.STAGES))
    if not needed:
        return []
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
            point: tuple[str, int], name: str = name, of: commands.Undisturbed = of, work: Path = work
        ) -> bool | None:
            said = commands.check_case(ground, name, of, point, work)
            assert tree(model) == before, "the base model was written to"
            return None if said is None else bool(said)

        rows.append(_stage(name, of.points, one, work, begun, tally))
    forks.close()
    return rows


def _machine(failures: list[str]) -> None:
    """The machine of tests/crash/test_machine.py, for longer than the test suite has time."""
    try:
        run_state_machine_as_test(CrashMachine, settings=settings(SETTINGS, max_examples=EXAMPLES))
    except AssertionError as error:
        failures.append(f"the machine of two workers: {error}")
    print(f"the machine of two workers: {EXAMPLES} runs", file=sys.stderr, flush=True)


def _stage(
    name: str,
    points: tuple[tuple[str, int], ...],
    one: Callable[[tuple[str, int]], bool | None],
    work: Path,
    begun: float,
    tally: Tally,
) -> Row:
    """All cases of one stage. `one` raises where a case fails, and says whether something was mended."""
    cases = [point for point in points if point[1] <= tally.passings]
    mended = done = 0
    for point in cases:
        tally.met.add(point[0])
        try:
            said = one(point)
            done += said is not None
            mended += bool(said)
        except AssertionError as error:
            done += 1
            tally.failures.append(f"{name} at {point[0]} ({point[1]}): {error}")
            print(f"FAILED {tally.failures[-1]}", file=sys.stderr, flush=True)
        with suppress(FileNotFoundError):
            shutil.rmtree(work)
    row = (name, len({p for p, _ in points}), done, mended, time.monotonic() - begun)
    print(f"{name}: {done} cases, {len(tally.failures)} failed so far", file=sys.stderr, flush=True)
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


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
