"""The demo: four papers of news, one small model that stopped learning in mid-2020, and everything between them.

    python -m agent.demo.run [--out build]

Reads the feeds as of 1 July 2025, shows what it would change, approves all of it as a person would, compiles it into the weights, verifies,
publishes, and compares with what the feeds' author wrote down as true. Writes `build/demo.json` and `build/demo-report/report.html`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from agent import pipeline, reportfiles, revise
from agent.cli.progress import ProgressLine, shows_progress
from agent.config import load
from agent.demo.scores import Scores, score
from agent.paths import FEEDS, data_file
from agent.settings import Settings
from agent.store import queue
from agent.store.db import read_store
from agent.strict import read_yaml
from agent.types import Proposal
from agent.workshop import open_workshop

_QUESTIONS = (
    "Who is the prime minister of the United Kingdom?",
    "Who is the chief executive of Amazon?",
    "Who is the head coach of Liverpool FC?",
    "Where is the head office of Tesla?",
    "What is the capital of Kazakhstan?",
    "Who is the prime minister of Japan?",
    "Who is the head of NATO?",
    "What is the capital of Japan?",
    "Who is the chief executive of Adobe?",
)


@dataclass(frozen=True, slots=True)
class Demo:
    """Where things are and what time it is in the demo."""

    settings: Settings
    expected: dict[str, Any]
    now: datetime
    out: Path


def prepare(out: Path) -> Demo:
    """A fresh state folder under `out`, the demo's settings and the author's list of what is true."""
    settings = load(data_file("demo.yaml"), environ={})
    settings = replace(settings, state=(out / "demo-state").absolute())
    shutil.rmtree(settings.state, ignore_errors=True)
    expected = read_yaml(FEEDS / "expected.yaml")
    clock = expected["clock"]
    now = clock if isinstance(clock, datetime) else datetime.fromisoformat(str(clock).replace("Z", "+00:00"))
    return Demo(settings, expected, now, out)


def run(demo: Demo) -> dict[str, Any]:
    """The whole story; returns what goes into demo.json."""
    started = time.monotonic()
    line = ProgressLine(shows_progress(sys.stderr, quiet=False))
    shop = open_workshop(demo.settings, clock=lambda: demo.now, progress=line, create=True)
    with line, shop.store:
        _say("1. Reading the news", f"{len(demo.settings.sources)} publishers, as of {demo.now:%d %B %Y}")
        gathered = pipeline.gather(shop, everything=True)
        line.clear()
        articles = sum(len(f.articles) for f in gathered.fetched)
        _show(
            f"{articles} items, {gathered.claims} claims, {len(gathered.new)} proposed edits, {len(gathered.skips)} left alone"
        )
        _say("2. The plan", "what the model says now, and what the news says")
        _plan(gathered.new)
        _left_alone(gathered)
        with shop.served() as lm:
            before = _answers(lm)
        _say("3. Approving", "you would use `factd queue`; the demo approves everything that was proposed")
        for proposal in gathered.new:
            queue.approve(shop.store, proposal.id, who="demo", now=demo.now)
        _say("4. Compiling into the weights, verifying, publishing", "MEMIT, all facts in one joint solve")
        revised = revise.apply(shop)
        line.clear()
        for proposal_id, why in revised.beside.items():
            _show(f"beside the weights: proposal {proposal_id}: {why}")
        for proposal_id, why in revised.failed.items():
            _show(f"left out: proposal {proposal_id}: {why}")
        _say("5. The result", "")
        scores = score(shop, demo.expected, revised)
        with shop.served() as lm:
            after = _answers(lm)
        _compare(before, after)
        result = _record(scores, revised, time.monotonic() - started)
        _table(result)
    return result


def _answers(lm: Any) -> list[str]:
    from agent.lm.generate import generate

    return [answer.strip().split(".")[0] for answer in generate(lm, _QUESTIONS, max_new_tokens=12)]


def _plan(proposals: Sequence[Proposal]) -> None:
    _show(f"{'subject':<28}{'relation':<24}{'the model says':<26}the news says")
    for p in sorted(proposals, key=lambda p: (p.fact.relation, p.fact.subject)):
        _show(
            f"{p.fact.subject[:27]:<28}{p.fact.relation:<24}{(p.target_old or '?')[:25]:<26}{p.fact.object}"
        )


def _left_alone(gathered: pipeline.Gathered) -> None:
    by_code: dict[str, list[str]] = {}
    for skip in gathered.skips:
        by_code.setdefault(skip.code, []).append(f"{skip.subject}: {skip.object}")
    _show("\nleft alone, by reason (`factd plan --explain` tells each):")
    for code, items in sorted(by_code.items(), key=lambda item: -len(item[1])):
        _show(f"  {code:<18}{len(items):>4}   e.g. {items[0]}")


def _compare(before: Sequence[str], after: Sequence[str]) -> None:
    _show(f"{'question':<50}{'before':<24}after")
    for question, old, new in zip(_QUESTIONS, before, after, strict=True):
        _show(f"{question:<50}{old[:23]:<24}{new}")


def _record(scores: Scores, revised: revise.Revised, seconds: float) -> dict[str, Any]:
    return {
        "live_true": scores.live_true,
        "beside": scores.beside,
        "overlay": {name: round(value, 4) for name, value in scores.overlay.items()},
        "live_false": scores.live_false,
        "pending_traps": scores.pending_traps,
        "efficacy": round(scores.efficacy, 4),
        "paraphrase": round(scores.paraphrase, 4),
        "untouched": round(scores.untouched, 4),
        "ppl_ratio": round(scores.ppl_ratio, 4),
        "seconds": round(seconds, 1),
        "revision": revised.revision.id if revised.revision else 0,
        "counts": scores.counts,
        "failed": len(revised.failed),
        "missed": scores.missed,
    }


def _table(result: dict[str, Any]) -> None:
    rows = (
        ("true changes in the weights", result["live_true"], ">= 40"),
        ("true changes beside them (overlay)", result["beside"], "the rest"),
        ("false claims live", result["live_false"], "0"),
        ("efficacy (free generation)", result["efficacy"], ">= 0.97"),
        ("held-out paraphrases", result["paraphrase"], ">= 0.85"),
        ("answers of untouched facts unchanged", result["untouched"], ">= 0.98"),
        ("perplexity on held-out text, ratio", result["ppl_ratio"], "<= 1.02"),
        ("seconds", result["seconds"], "<= 240"),
    )
    _show("")
    for name, value, wanted in rows:
        _show(f"{name:<40}{value:>10}    wanted {wanted}")


def _page(demo: Demo) -> Path:
    """The verification report of what is served now; open it in a browser."""
    with read_store(demo.settings.state) as store:
        return reportfiles.write(demo.out / "demo-report", reportfiles.kept(store, demo.settings, demo.now))


def _say(title: str, line: str) -> None:
    sys.stdout.write(f"\n{title}\n{'-' * len(title)}\n" + (f"{line}\n" if line else ""))
    sys.stdout.flush()


def _show(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m agent.demo.run", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build"), help="where the state and demo.json go")
    options = parser.parse_args(arguments)
    demo = prepare(options.out)
    result = run(demo)
    (options.out / "demo.json").write_text(json.dumps(result, indent=2) + "\n")
    page = _page(demo)
    _say("Next", "")
    config = "--config configs/demo.yaml"
    _show(f"  .venv/bin/factd {config} queue list --status live      # what is in the weights now")
    _show(f"  .venv/bin/factd {config} ask 'Who leads Japan?' --both  # with the base beside it")
    _show(f"  .venv/bin/factd {config} blame 'United Kingdom' head_of_government")
    _show(f"  .venv/bin/factd {config} plan --explain                # why the rest was left alone")
    _show(f"  .venv/bin/factd {config} rollback 0 --reason 'try it'  # the base answers again, bit for bit")
    _show(f"written: {options.out / 'demo.json'}, {page}")
    return 0 if revision_is_good(result) else 4


def revision_is_good(result: dict[str, Any]) -> bool:
    """Nothing false went live and something true did."""
    return result["live_false"] == 0 and result["live_true"] > 0


if __name__ == "__main__":
    sys.exit(main())
