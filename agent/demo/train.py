"""Train the pocket model: `python -m agent.demo.train --out DIR`. Reproducible by seed on one machine; may be
stopped and resumed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt
import torch
import yaml
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as hf_logging

from agent.demo.corpus import Corpus, blocks, heldout_text, prepare
from agent.demo.forms import World, load_world
from agent.demo.invented import with_invented
from agent.demo.pressure import draw, pressure
from agent.demo.recipe import MAX_BYTES, Recipe, file_bytes, load_recipe
from agent.demo.tokenizer import encoder, train_tokenizer
from agent.demo.training import CHECKPOINT, Run, begin, restore, save, take_step
from agent.errors import ConfigError, InputError

POOL_STEPS = 100
HELDOUT = 200
REPORT_S = 20.0
LINE_EVERY = 100


@dataclass(frozen=True, slots=True)
class Progress:
    """One report of a run: the loss is the mean over the steps since the last report, in nats per token."""

    step: int
    steps: int
    loss: float
    tokens_per_s: float


Report = Callable[[Progress], None]


def train(
    recipe: Recipe,
    world: World,
    out: Path,
    *,
    device: str = "cpu",
    resume: bool = False,
    stop_at: int | None = None,
    checkpoint_s: float = 180.0,
    report_every: int = LINE_EVERY,
    report: Report = lambda progress: None,
    compiled: bool = False,
    start: Path | None = None,
) -> Path:
    """Train and save a model under `out`: weights, tokenizer, `recipe.yaml`, `training.json`. Returns `out`.

    `resume` goes on from the checkpoint in `out`; `start` begins with the weights and the
    tokenizer of a finished model instead of random ones; `stop_at` leaves after that many steps with a checkpoint,
    as an interruption would. Raises InputError when there is nothing to resume or the checkpoint belongs to
    another recipe.
    """
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(recipe, world, start or out, resume or start is not None)
    told = with_invented(world, recipe.invented, recipe.seed)
    corpus = prepare(told, recipe.seed, recipe.person_weight, recipe.name_share)
    torch.manual_seed(recipe.seed)
    run = begin(recipe, tokenizer, device)
    if start is not None:
        run.model.load_state_dict(
            AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32).state_dict()
        )
    if resume:
        restore(run, recipe, out, device)
    (out / "recipe.yaml").write_text(yaml.safe_dump(dataclasses.asdict(recipe), sort_keys=False))
    last = recipe.steps if stop_at is None else min(stop_at, recipe.steps)
    forward = torch.compile(run.model) if compiled else run.model
    batches = _batches(recipe, corpus, tokenizer, run.step, device)
    saved_at = time.monotonic()
    for progress in _steps(run, recipe, forward, batches, last, report_every):
        report(progress)
        if time.monotonic() - saved_at > checkpoint_s and run.step < last:
            save(run, recipe, out)
            saved_at = time.monotonic()
    batches.close()
    if run.step < recipe.steps:
        save(run, recipe, out)
    else:
        _finish(run, recipe, tokenizer, out)
        write_heldout(world, recipe.seed, out)
    return out


def _steps(
    run: Run, recipe: Recipe, forward: Any, batches: Iterator[Tensor], last: int, report_every: int
) -> Iterator[Progress]:
    """Take the steps up to `last`, pausing for a report every `report_every` steps or `REPORT_S` seconds."""
    total: Tensor | float = 0.0
    count, mark = 0, time.monotonic()
    run.model.train()
    with pressure(run.model.model.layers, recipe) as switch:
        while run.step < last:
            switch(draw(recipe, run.step))
            total = total + take_step(run, recipe, forward, next(batches))
            count, run.step = count + 1, run.step + 1
            if run.step % report_every and run.step < last and time.monotonic() - mark < REPORT_S:
                continue
            # Reading the loss waits for the device, so the clock is read after it.
            run.loss = float(total) / count
            elapsed = time.monotonic() - mark
            run.seconds += elapsed
            speed = count * recipe.batch * recipe.length / elapsed
            yield Progress(run.step, recipe.steps, run.loss, speed)
            total, count, mark = 0.0, 0, time.monotonic()


def _tokenizer(recipe: Recipe, world: World, out: Path, resume: bool) -> Any:
    """The one in `out` when going on, else one trained on the real world alone: made-up names get no tokens."""
    if resume and (out / "tokenizer.json").is_file():
        return AutoTokenizer.from_pretrained(out)
    corpus = prepare(world, recipe.seed, recipe.person_weight, recipe.name_share)
    tokenizer = train_tokenizer(corpus, recipe.vocab, recipe.seed, recipe.name_weight)
    tokenizer.model_max_length = recipe.context
    tokenizer.save_pretrained(out)
    return tokenizer


def _batches(
    recipe: Recipe, corpus: Corpus, tokenizer: Any, step: int, device: str
) -> Generator[Tensor, None, None]:
    """Token ids of the steps from `step` on, shape (batch, length), int64. The next pool is made while one is
    used.
    """
    encode = encoder(tokenizer)

    def pool(index: int) -> npt.NDArray[np.uint16]:
        rng = random.Random(f"{recipe.seed}:pool:{index}")
        return blocks(corpus, encode, rng, POOL_STEPS * recipe.batch, recipe.length, tokenizer.eos_token_id)

    with ThreadPoolExecutor(1) as ahead:
        index, offset = divmod(step, POOL_STEPS)
        coming = ahead.submit(pool, index)
        while True:
            rows = torch.from_numpy(coming.result().astype(np.int64)).to(device)
            index += 1
            coming = ahead.submit(pool, index)
            for at in range(offset, POOL_STEPS):
                yield rows[at * recipe.batch : (at + 1) * recipe.batch]
            offset = 0


def _finish(run: Run, recipe: Recipe, tokenizer: Any, out: Path) -> None:
    run.model.eval()
    run.model.to(getattr(torch, recipe.save_dtype)).save_pretrained(out)
    tokenizer.save_pretrained(out)
    facts = {
        "steps": run.step,
        "tokens": run.step * recipe.batch * recipe.length,
        "seconds": round(run.seconds, 1),
        "loss": round(run.loss, 4),
        "seed": recipe.seed,
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "bytes": (out / "model.safetensors").stat().st_size,
        "torch": torch.__version__,
    }
    (out / "training.json").write_text(json.dumps(facts, indent=2) + "\n")
    (out / CHECKPOINT).unlink(missing_ok=True)


def write_heldout(world: World, seed: int, out: Path) -> None:
    """`heldout.txt`: documents that training never uses, one a line, for the perplexity of edited models."""
    (out / "heldout.txt").write_text(
        "".join(f"{text}\n" for text in heldout_text(world, seed, HELDOUT)), encoding="utf-8"
    )


def console(stream: TextIO) -> Report:
    """Reports for a person: one line that renews itself on a terminal, a line each otherwise."""
    live = stream.isatty()
    end = "\r" if live else "\n"

    def report(progress: Progress) -> None:
        done = progress.step == progress.steps
        if not (live or done or progress.step % LINE_EVERY == 0):
            return
        stream.write(
            f"step {progress.step}/{progress.steps}  loss {progress.loss:.3f}"
            f"  {progress.tokens_per_s:,.0f} tokens/s" + ("\n" if done else end)
        )
        stream.flush()

    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit code 2 for a wrong recipe, 1 for a checkpoint that does not fit."""
    parser = argparse.ArgumentParser(prog="python -m agent.demo.train", description=__doc__)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the model (and for the checkpoint meanwhile)"
    )
    parser.add_argument("--recipe", type=Path, help="a recipe file instead of configs/pocket.yaml")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a key of the recipe"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--threads", type=int, help="threads for the CPU (default: torch's choice)")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument(
        "--start", type=Path, help="begin with the weights and the tokenizer of this finished model"
    )
    parser.add_argument("--compile", action="store_true", help="compile the model first (pays off on a GPU)")
    options = parser.parse_args(arguments)
    try:
        recipe = load_recipe(options.recipe, options.set)
        size = file_bytes(recipe)
        if size > MAX_BYTES:
            if not options.recipe and not options.set:
                raise ConfigError(
                    f"the default recipe makes {size:,} bytes, more than {MAX_BYTES:,}; make it smaller"
                )
            sys.stderr.write(
                f"warning: this recipe makes {size:,} bytes, more than the {MAX_BYTES:,} that may ship\n"
            )
        if options.threads:
            torch.set_num_threads(options.threads)
        hf_logging.disable_progress_bar()
        train(
            recipe, load_world(), options.out,
            device=options.device, resume=options.resume, compiled=options.compile,
            start=options.start,
            report=console(sys.stderr),
        )  # fmt: skip
    except (ConfigError, InputError) as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
