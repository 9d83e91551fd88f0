"""A thousand feeds polled by us and by the library `reader` (github.com/lemon24/reader), in turns, on one machine.

    pip install reader sgmllib3k       # reader 3.26 imports sgmllib and does not ask for it
    python -m benchmarks.polling [--feeds 1000] [--hosts 250] [--runs 3] [--latency-ms 20] [--workers 8] [--per-host 2] [--json FILE]

The feeds come from `benchmarks.feed_server`, in a process of its own, on many loopback addresses (127.0.0.1, 127.0.0.2, ...: Linux);
one in ten lives with one large publisher, so that the limit per host binds.
Both sides fetch with the same number of threads, parse, and store into a fresh SQLite database on disk; each run is a process of its
own, and who begins alternates. Ours is what the daemon does: the guard that checks every address, limits of size and time, the limit per
host, articles before state.

    cold    nothing is stored yet
    again   at once again: nine in ten answer 304, the others give the same body, for they know no validators
    news    one in twenty has three new items

Both must end with every article stored and without an error, and no host may have seen more connections of ours at once than --per-host:
else this ends with an error. Nothing of `reader` is in this repository.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.feed_server import ITEMS, NEW_ITEMS, changes
from benchmarks.polling_sides import ROUNDS

ROOT = Path(__file__).parent.parent
_PACKAGES = ("reader", "feedparser", "requests", "httpcore")


@contextmanager
def server(feeds: int, hosts: int, latency_ms: float, unusual: bool = False) -> Iterator[int]:
    """The port of a feed server that lives as long as the block."""
    command = [sys.executable, "-m", "benchmarks.feed_server", "--feeds", str(feeds), "--hosts", str(hosts)]
    with subprocess.Popen(
        [*command, "--latency-ms", str(latency_ms), *(["--unusual"] if unusual else [])],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    ) as process:  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line.strip():
                raise RuntimeError(
                    "the feed server did not start; addresses beyond 127.0.0.1 need Linux, else --hosts 1"
                )
            yield int(line)
        finally:
            process.stdin.close()


def run(side: str, port: int, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One side's three rounds in a process of its own. Raises RuntimeError when it fails or did not do all of the work."""
    folder.mkdir()
    command = [sys.executable, "-m", "benchmarks.polling_sides", "--side", side, "--folder", str(folder)]
    for name in ("feeds", "hosts", "workers", "per_host"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    done = subprocess.run(
        [*command, "--port", str(port)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{side} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    if why := fault(found, options.feeds, options.per_host):
        raise RuntimeError(f"{side}: {why}")
    return found


def fault(found: dict[str, Any], feeds: int, per_host: int) -> str:
    """What makes a run worthless: errors, missing articles, or too many connections of ours to one host; "" if nothing does."""
    cold = feeds * ITEMS
    want = {"cold": cold, "again": cold, "news": cold + NEW_ITEMS * sum(map(changes, range(feeds)))}
    for name in ROUNDS:
        got = found[name]
        if got["errors"] or got["articles"] != want[name]:
            return f"{got['errors']} errors, {got['articles']} articles stored after round {name}, {want[name]} expected"
        if found["side"] == "ours" and got["busiest_host"] > per_host:
            return f"a host saw {got['busiest_host']} connections at once in round {name}; at most {per_host} are allowed"
    return ""


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Medians of each side, and how many times as long `reader` takes, where both have run."""
    found: dict[str, Any] = {}
    for side in sorted({one["side"] for one in runs}):
        mine = [one for one in runs if one["side"] == side]
        found[side] = {f"{name}_s": median(one[name]["s"] for one in mine) for name in ROUNDS}
        found[side] |= {
            f"{name}_processor_s": median(one[name]["processor_s"] for one in mine) for name in ROUNDS
        }
        found[side]["peak_mib"] = median(one["peak_mib"] for one in mine)
        found[side]["busiest_host"] = max(one[name]["busiest_host"] for one in mine for name in ROUNDS)
    if len(found) == 2:
        found["ratio"] = {key: found["reader"][key] / found["ours"][key] for key in found["ours"]}
    return found


def table(found: dict[str, Any]) -> str:
    """`summary` as a Markdown table."""
    names = {f"{name}_s": f"{name}, s" for name in ROUNDS}
    names |= {f"{name}_processor_s": f"{name}, processor s" for name in ROUNDS}
    names |= {"peak_mib": "peak memory, MiB", "busiest_host": "most connections at once to a host"}
    sides = [side for side in ("reader", "ours") if side in found]
    lines = [f"| | {' | '.join(sides)} | ratio |", "|---" * (len(sides) + 2) + "|"]
    for key, label in names.items():
        ratio = f"{found['ratio'][key]:.2f}" if "ratio" in found and key != "busiest_host" else ""
        lines.append(f"| {label} | {' | '.join(f'{found[side][key]:.4g}' for side in sides)} | {ratio} |")
    return "\n".join(lines)


def about(options: argparse.Namespace) -> dict[str, Any]:
    """What the figures depend on."""
    found: dict[str, Any] = {name: getattr(options, name) for name in _OPTIONS}
    found |= {
        "unusual": options.unusual,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg(),
    }
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


_OPTIONS = {"feeds": 1000, "hosts": 250, "runs": 3, "workers": 8, "per_host": 2, "latency_ms": 20.0}


def main() -> None:
    parser = argparse.ArgumentParser(description="Poll many feeds: factd beside reader.")
    for name, value in _OPTIONS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--unusual", action="store_true", help="feeds that we too leave to feedparser")
    parser.add_argument("--only", choices=("ours", "reader"), help="one side alone")
    parser.add_argument("--work", help="a folder on the disk to be measured; a temporary one without")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    facts = about(options)
    sides = [options.only] if options.only else ["reader", "ours"]
    if "reader" in sides and facts["reader"] is None:
        sys.exit("reader is not installed: `pip install reader sgmllib3k`, or --only ours")
    runs: list[dict[str, Any]] = []
    try:
        with (
            tempfile.TemporaryDirectory(prefix="polling-", dir=options.work) as work,
            server(options.feeds, options.hosts, options.latency_ms, options.unusual) as port,
        ):
            for n in range(options.runs):
                for side in sides if n % 2 == 0 else sides[::-1]:
                    runs.append(run(side, port, options, Path(work) / f"{n}-{side}"))
                    times = ", ".join(f"{name} {runs[-1][name]['s']:.2f} s" for name in ROUNDS)
                    print(f"run {n + 1}, {side}: {times}", file=sys.stderr, flush=True)
    except RuntimeError as problem:
        sys.exit(f"error: {problem}")
    found = summary(runs)
    print(table(found))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"about": facts, "summary": found, "runs": runs}, indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
