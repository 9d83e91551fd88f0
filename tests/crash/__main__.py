"""The whole crash matrix: `python -m tests.crash [--first] [--processes N] [STAGE...]`. Every stage, killed at every passing of every point;
prints a table by stage. `--first`: only at the first passing. The cases are dealt to processes, one for each core.

A passing beyond the third of one point in one run is left out: it is the same line of code with another file.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from agent.faults import POINTS
from tests.crash.conftest import MEMORY
from tests.crash.shares import Row, Share, tried

PASSINGS = 3
EXAMPLES = 100


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    if options.share:
        return _one_share(options)
    rows, broken = _all_shares(options)
    failures = [failure for row in rows for failure in row.failures] + broken
    if not options.stages:
        failures += _machine()
    return _told(rows, failures, whole=not options.stages)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument(
        "stages", nargs="*", metavar="STAGE", help="apply, 'store: publish'... (default: all)"
    )
    parser.add_argument("--first", action="store_true", help="only the first passing of each point")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--share", help=argparse.SUPPRESS)  # what one of the processes does: 0/2
    return parser.parse_args(arguments)


def _one_share(options: argparse.Namespace) -> int:
    """In a process of its own: rows as JSON, a line each."""
    nth, of = map(int, options.share.split("/"))
    share = Share(nth, of, 1 if options.first else PASSINGS)
    folder = Path(tempfile.mkdtemp(prefix="factd-crash-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        tried(folder, options.stages, share, _tell)
    finally:
        shutil.rmtree(folder)
    return 0


def _tell(row: Row) -> None:
    print(json.dumps(asdict(row)), flush=True)
    print(f"{row.name}: {row.cases} cases, {len(row.failures)} failed", file=sys.stderr, flush=True)


def _all_shares(options: argparse.Namespace) -> tuple[list[Row], list[str]]:
    """The rows of all processes, added up by stage, and which of the processes broke off."""
    first = ["--first"] if options.first else []
    rows: dict[str, Row] = {}
    broken = []
    with ExitStack() as opened:
        shares = []
        for nth in range(options.processes):
            said = opened.enter_context(tempfile.TemporaryFile("w+"))
            share = [*first, "--share", f"{nth}/{options.processes}", *options.stages]
            command = [sys.executable, "-m", "tests.crash", *share]
            shares.append((subprocess.Popen(command, stdout=said), said))
        for process, said in shares:
            if process.wait():
                broken.append(f"a share of the cases broke off with {process.returncode}")
            said.seek(0)
            for line in said:
                _add(rows, Row(**json.loads(line)))
    return list(rows.values()), broken


def _add(rows: dict[str, Row], row: Row) -> None:
    of = rows.setdefault(row.name, Row(row.name, []))
    of.met = sorted({*of.met, *row.met})
    of.cases += row.cases
    of.mended += row.mended
    of.seconds += row.seconds
    of.failures += row.failures


def _machine() -> list[str]:
    """The machine of tests/crash/test_machine.py, for longer than the test suite has time."""
    from hypothesis import settings
    from hypothesis.stateful import run_state_machine_as_test

    from tests.crash.test_machine import SETTINGS, CrashMachine

    try:
        run_state_machine_as_test(CrashMachine, settings=settings(SETTINGS, max_examples=EXAMPLES))
    except AssertionError as error:
        return [f"the machine of two workers: {error}"]
    print(f"the machine of two workers: {EXAMPLES} runs", file=sys.stderr, flush=True)
    return []


def _told(rows: list[Row], failures: list[str], *, whole: bool) -> int:
    """The table; the exit code."""
    met = {point for row in rows for point in row.met}
    print(f"\n{'stage':<24}{'points':>8}{'cases':>8}{'mended':>8}{'seconds':>9}")
    cases, mended = sum(row.cases for row in rows), sum(row.mended for row in rows)
    for row in rows:
        print(f"{row.name:<24}{len(row.met):>8}{row.cases:>8}{row.mended:>8}{row.seconds:>9.1f}")
    print(f"{'all':<24}{len(met):>8}{cases:>8}{mended:>8}{sum(row.seconds for row in rows):>9.1f}")
    unmet = [point for point in POINTS if point not in met]
    if whole:
        print(f"points of agent/faults.py: {len(POINTS)}, never met: {', '.join(unmet) or 'none'}")
    for failure in failures:
        print(f"FAILED {failure}")
    print(f"{cases} cases, {len(failures)} failed")
    return 1 if failures or (unmet and whole) else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
