"""The same edits on the same model on the same machine, by EasyEdit and by us: time, memory, and how well they took.

    python -m benchmarks.vs_easyedit --easyedit CHECKOUT [--model pocket|llama-100m|gpt2-100m|PATH] [--edits 100] [--json FILE]

EasyEdit (github.com/zjunlp/EasyEdit) is imported from the checkout that you name, with stand-ins for packages that its three methods
do not use (`benchmarks.versus.easyedit` says which, and what else is arranged so that it is at its best here); nothing of it is in
this repository. Every measurement has a process of its own, on the CPU. Without `--work` everything is made in a temporary folder.

Both sides get the same float32 model, texts for the statistics, facts and first prompt of each fact. One edit is made before the
clock runs, so statistics and whatever else a side caches are there. ROME: each edit alone on the unedited model. MEMIT and AlphaEdit:
all edits at once. Covariance: the second moment of five layers' keys, equal number of texts (the traces in the JSON agree). Memory: resident
memory at its highest while editing, and how much that is above what it was with the model loaded.

"factd, same settings": one prompt a fact, as many contexts, the same layers, steps, learning rate and clamp in our units, nothing
preserved, no carriers, one round, no polish. "factd, quick": eight steps on that bare prompt, one round with carriers and a few preserve
keys, three steps of polishing (`benchmarks.versus.settings.quick_settings`): what our means give in the least time. "factd, as shipped": the checkpoint's own
settings and everything that the daemon hands in.

Quality (not of the models with random weights): known facts are swapped, and everything is asked by free generation after all edits
(`benchmarks.edits`; efficacy is the prompt that all sides were given). ROME's are made in sequence there.

On the pocket model EasyEdit runs with the best hyperparameters of a grid (`--tune 40`, other facts than those of the comparison, by
efficacy plus paraphrase; `benchmarks.versus.grid`), on any other with those of its own files; `--peer KEY=VALUE` changes one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from agent.paths import POCKET
from benchmarks.versus.grid import GRID, peer_settings
from benchmarks.versus.job import Job, Side, Task, write_job
from benchmarks.versus.prepare import RANDOM, About, Plan, read_about
from benchmarks.versus.settings import METHODS, Method, PeerSettings, with_changes
from benchmarks.versus.table import SIDES, costs, failures, goodness, quality, tried

ROOT = Path(__file__).parent.parent
_NEEDED = ("models/rome/rome_main.py", "models/memit/memit_main.py", "models/alphaedit/AlphaEdit_main.py")
_OTHERS = 600  # facts of other subjects that are asked
_OTHER_FACTS = 7  # added to the seed: hyperparameters are not chosen on the facts that they are judged by


def check_checkout(path: Path) -> Path:
    """The folder that holds `easyeditor/`, absolute. Raises ValueError when it is no checkout of EasyEdit."""
    missing = [name for name in _NEEDED if not (path / "easyeditor" / name).is_file()]
    if missing:
        raise ValueError(
            f"{path} is no checkout of EasyEdit: easyeditor/{missing[0]} is not in it; "
            "give the folder that `git clone https://github.com/zjunlp/EasyEdit` made"
        )
    return path.absolute()


def model_folder(name: str, work: Path) -> Path:
    """Where the model is, or (one with random weights) is going to be. Raises ValueError for a folder that is no checkpoint."""
    if name == "pocket":
        return POCKET
    if name in RANDOM:
        return work / name
    if not (Path(name) / "config.json").is_file():
        raise ValueError(f"{name}: no pocket, {', '.join(RANDOM)} or folder with a config.json")
    return Path(name).absolute()


class Comparison:
    """The processes of one comparison: they share `run`, a fresh folder, for what they hand on and for their caches."""

    def __init__(self, options: argparse.Namespace, run: Path, folder: Path) -> None:
        self.options, self.run, self.folder = options, run, folder
        self.about = About("", (), ())

    def prepare(self, sets: Sequence[tuple[str, int, int, int]]) -> None:
        """Texts, edits and the model itself. Raises RuntimeError when that fails."""
        plan = Plan(str(self.folder), str(self.run), self.options.texts, tuple(sets))
        path = self.run / "plan.json"
        path.write_text(json.dumps(asdict(plan)), encoding="utf-8")
        print("texts, edits and the unedited answers", file=sys.stderr, flush=True)
        if why := self._child("prepare", path):
            raise RuntimeError(f"there is nothing to compare on: {why}")
        self.about = read_about(self.run)

    def peer(self, method: Method) -> PeerSettings:
        """EasyEdit's hyperparameters, with those of the command line."""
        pocket = self.folder == POCKET
        settings = peer_settings(self.about.model_type, method, self.about.layers, pocket)
        return with_changes(settings, method, self.options.peer)

    def measure(
        self, side: Side, task: Task, edits: str, method: Method = "memit", grid: Sequence[dict[str, str]] = ()
    ) -> dict[str, Any]:  # fmt: skip
        """What one side's process found, or `{"failed": why}`."""
        work = self.run / ("easyedit" if side == "easyedit" else "factd")
        work.mkdir(exist_ok=True)
        job, out = self.run / "job.json", self.run / "out.json"
        write_job(job, Job(
            side=side, task=task, model=str(self.folder), edits=str(self.run / f"{edits}.json"),
            texts=str(self.run / "texts.json"), layers=self.about.statistics, work=str(work),
            peer=self.peer(method), easyedit=str(self.options.easyedit), grid=tuple(grid),
        ))  # fmt: skip
        print(f"{SIDES[side]}: {task}", file=sys.stderr, flush=True)
        why = self._child("easyedit" if side == "easyedit" else "factd", job, out)
        found: dict[str, Any] = {"failed": why} if why else json.loads(out.read_text(encoding="utf-8"))
        return found

    def _child(self, module: str, *arguments: Path) -> str:
        """Run `benchmarks.versus.<module>`: nothing, or why it failed (the last line of its complaint)."""
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(self.options.threads),
            "MKL_NUM_THREADS": str(self.options.threads),
            "TOKENIZERS_PARALLELISM": "false",
            "CUDA_VISIBLE_DEVICES": "",
        }
        command = [sys.executable, "-m", f"benchmarks.versus.{module}", *map(str, arguments)]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, errors="replace", check=False
        )
        with (self.run / f"{module}.log").open("a", encoding="utf-8") as log:
            log.write(done.stdout + done.stderr)
        if done.returncode < 0:
            return f"ended by signal {-done.returncode}"
        lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        return lines[-1] if done.returncode else ""


def compare(comparison: Comparison, options: argparse.Namespace) -> dict[str, Any]:
    """Every method on every side. A side that fails is told of in the table, the others go on."""
    sets = (("many", options.edits), ("few", options.singles))
    comparison.prepare([(name, count, options.seed, _OTHERS) for name, count in sets])
    found: dict[str, Any] = {
        "peer": {m: asdict(comparison.peer(m)) for m in METHODS},
        "results": {task: {} for task in options.tasks},
    }
    for task, sides in found["results"].items():
        for side in options.sides:
            if task != "statistics" or side in ("easyedit", "same"):
                edits = "few" if task == "rome" else "many"
                sides[side] = comparison.measure(side, task, edits, "memit" if task == "statistics" else task)
                save(comparison, options, found)
    layers = ", ".join(map(str, comparison.about.layers))
    title = f"### {options.model}, {options.threads} thread(s), CPU; layers {layers}"
    results = found["results"]
    parts = [title, costs(results, options.edits), quality(results), failures(results)]
    print("\n\n".join(part for part in parts if part))
    return found


def tune(comparison: Comparison, options: argparse.Namespace) -> dict[str, Any]:
    """EasyEdit's grid, by its scores after `options.tune` edits that are not those of the comparison."""
    comparison.prepare([("tune", options.tune, options.seed + _OTHER_FACTS, _OTHERS)])
    rows: list[dict[str, Any]] = []
    for method in (m for m in METHODS if m in options.tasks):
        found = comparison.measure("easyedit", "tune", "tune", method, GRID[method])
        if "failed" in found:
            print(f"{method}: {found['failed']}")
        rows += found.get("rows", [])
    print(tried(rows))
    best = {m: max((r for r in rows if r["method"] == m), key=goodness, default=None) for m in METHODS}
    return {"rows": rows, "best": {m: row["changes"] for m, row in best.items() if row}}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line. Ends the process with a message for what cannot be."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.vs_easyedit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--easyedit", type=Path, required=True, metavar="CHECKOUT", help="a clone of EasyEdit")
    add("--model", default="pocket", help="pocket, llama-100m, gpt2-100m or a checkpoint folder")
    add("--edits", type=int, default=100, help="facts that MEMIT and AlphaEdit write at once")
    add("--singles", type=int, default=10, help="facts that ROME writes one by one")
    add("--texts", type=int, default=400, help="texts of the statistics")
    add("--threads", type=int, default=2, help="threads of each process")
    add("--tasks", default="statistics,rome,memit,alphaedit", help="which to measure")
    add("--sides", default=",".join(SIDES), help="and on which sides")
    add(
        "--peer",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="EasyEdit's hyperparameter, e.g. memit.v_lr=0.2",
    )
    add("--tune", type=int, default=0, metavar="EDITS", help="instead, try EasyEdit's grid on so many edits")
    add("--seed", type=int, default=0)
    add("--work", type=Path, help="folder to keep the built models, caches and logs in")
    add("--json", type=Path, help="file for everything that was measured")
    options = parser.parse_args(arguments)
    try:
        return checked(options)
    except ValueError as error:
        parser.error(str(error))


def checked(options: argparse.Namespace) -> argparse.Namespace:
    """The options with what is named in them found. Raises ValueError."""
    options.easyedit = check_checkout(options.easyedit)
    options.tasks = options.tasks.split(",")
    if unknown := set(options.tasks) - {"statistics", *METHODS}:
        raise ValueError(f"--tasks: {min(unknown)!r} is none of statistics, {', '.join(METHODS)}")
    options.sides = options.sides.split(",")
    if unknown := set(options.sides) - set(SIDES):
        raise ValueError(f"--sides: {min(unknown)!r} is none of {', '.join(SIDES)}")
    for name in ("edits", "singles", "texts", "threads"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name} must be at least 1")
    if any("=" not in item for item in options.peer):
        raise ValueError("--peer takes KEY=VALUE")
    options.peer = dict(item.split("=", 1) for item in options.peer)
    with_changes(PeerSettings(()), "memit", options.peer)
    if options.tune and options.model in RANDOM:
        raise ValueError(f"--tune: {options.model} has random weights, there is nothing to score")
    model_folder(options.model, Path())
    return options


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory(prefix="vs-easyedit-") as scratch:
        work = (options.work or Path(scratch)).absolute()
        work.mkdir(parents=True, exist_ok=True)
        # Caches are made anew in every run: EasyEdit names its files by the model's folder, not by its weights.
        run = Path(tempfile.mkdtemp(prefix="run-", dir=work))
        comparison = Comparison(options, run, model_folder(options.model, work))
        save(comparison, options, (tune if options.tune else compare)(comparison, options))


def save(comparison: Comparison, options: argparse.Namespace, found: dict[str, Any]) -> None:
    """What was found so far: a long comparison may be broken off."""
    if options.json:
        whole = {**described(options, comparison), **found}
        options.json.write_text(json.dumps(whole, indent=1), encoding="utf-8")


def described(options: argparse.Namespace, comparison: Comparison) -> dict[str, Any]:
    """What the figures depend on besides the sides."""
    head = subprocess.run(
        ["git", "-C", str(options.easyedit), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "version": 1, "model": options.model, **asdict(comparison.about), "edits": options.edits,
        "singles": options.singles, "texts": options.texts, "threads": options.threads, "seed": options.seed,
        "easyedit": head.stdout.strip(), "torch": version("torch"), "transformers": version("transformers"),
        "python": platform.python_version(), "machine": platform.machine(), "cpus": os.cpu_count(),
    }  # fmt: skip


if __name__ == "__main__":
    main()
