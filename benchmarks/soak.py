"""A soak: 2,000 simulated hours of a daemon on an injected clock, fed by publishers on loopback of which much goes wrong.

    python -m benchmarks.soak [--hours 2000] [--seed 0] [--model FOLDER] [--state FOLDER] [--json FILE]

Some dozens of feeds tell twenty true changes, each by three papers, and false ones in nine ways: hoax, flood, copied wire story, rumour, announcement, papers that
credit each other, errors that are corrected, old news, undated news. A quarter of the answers are faults. A written rule approves; nobody else does.
Ends with an error when a true change is not live, when a false one ever was, when the ledger does not verify, when a round failed, when memory grew by
more than 5 %, or descriptors or threads at all. Prints what was thrown.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from agent.catalogue import Catalogue, load_catalogue
from agent.config import of_checkpoint
from agent.paths import POCKET
from agent.policy import AutoRule, Policy
from agent.settings import DaemonSettings, ModelSettings, Settings, VerifySettings
from agent.store import articles
from agent.store.audit import audit
from agent.store.db import read_store
from agent.store.published import places, pointer, revisions
from benchmarks.outcome import finish
from benchmarks.soak_news import News, Plan, Topic, draw
from benchmarks.soak_run import Life, SimulatedClock, Soak
from benchmarks.soak_server import FAULTS, GONE, PAGE_FAULT, Publishers

GROWTH = 0.05


def shipped(model: str, seed: int) -> tuple[Settings, tuple[Topic, ...]]:
    """Settings that edit quickly and gate what they edit, and what may change: capitals and chief executives of the shipped catalogue."""
    settings = of_checkpoint(model)
    known = load_catalogue(settings.catalogue)
    rng = random.Random(seed)
    capitals = _known(known, "country", "capital")
    chiefs = _known(known, "company", "ceo")
    towns = sorted(set(capitals.values()))
    # Names that the model knows: others it cannot always be made to say, not even where it is told (`failed`).
    people = sorted(set(chiefs.values()))
    some = {s: capitals[s] for s in rng.sample(sorted(capitals), 14)}
    led = {s: chiefs[s] for s in rng.sample(sorted(chiefs), 14)}
    return replace(
        settings,
        model=ModelSettings(path=model, dtype="float32", device="cpu"),
        editing=replace(settings.editing, polish=0, steps=16),
        preserve_limit=200,
        verify=VerifySettings(efficacy=0.9, paraphrase=0.5, same_subject=0.9, others=0.95, ppl_ratio=1.1,
                              same_relation=2, same_subject_prompts=1, canary=20, max_trials=6),
        policy=Policy(auto_approve=(AutoRule(min_publishers=2, min_age_h=6.0, name="soak"),)),
        daemon=DaemonSettings(poll_minutes=60),
    ), (Topic("capital", some, towns), Topic("ceo", led, people))  # fmt: skip


def _known(catalogue: Catalogue, kind: str, relation: str) -> dict[str, str]:
    """Subject -> object, of names that are one plain word each, or people's."""
    facts = [
        (e.name, catalogue.facts[e.name, relation].objects[0])
        for e in catalogue.entities.values()
        if e.kind == kind and not e.article and (e.name, relation) in catalogue.facts
    ]
    return {s: o for s, o in facts if f"{s}{o}".replace(" ", "").isalpha() and s.isascii() and " " not in s}


def soaked(
    settings: Settings,
    topics: Sequence[Topic],
    plan: Plan,
    share: float = 0.25,
    *,
    tell: Callable[[str], None] = lambda _line: None,
) -> dict[str, Any]:
    """A whole soak and what is to be said of it; `wrong` is empty when all is as it should be."""
    news, clock = draw(plan, topics), SimulatedClock()
    site = Publishers(news, lambda: clock.hour, plan.seed, share)
    life = Soak(settings, news, plan.hours, site, clock, plan.seed, tell=tell).run()
    with read_store(settings.state) as store:
        findings = [f"{found.where}: {found.what}" for found in audit(store)]
        where = Counter(places(store, pointer(store)).values())
        served = {(fact.key, fact.object) for fact in revisions(store)[-1].facts} if pointer(store) else set()
        numbers = {"revisions": len(revisions(store)), "articles": articles.count(store), "in the weights": where["weights"],
                   "beside the weights": where["overlay"]}  # fmt: skip
    wrong = [*life.wrong, *findings, *missing(news, life, served), *leaks(life), *unasked(site)]
    waits = [
        life.live_h[c.key, c.object] - c.known_h for c in news.changes if (c.key, c.object) in life.live_h
    ]
    return {
        "hours": plan.hours,
        "seed": plan.seed,
        "seconds": round(life.seconds, 1),
        "feeds": len(news.feeds),
        "changes": len(news.changes),
        "changes live": len(waits),
        "false stories": len(news.false),
        "hours from the second paper to live": {
            "median": round(statistics.median(waits), 1) if waits else None,
            "longest": round(max(waits), 1) if waits else None,
        },
        **numbers,
        "did": dict(sorted(life.did.items())),
        "stages": dict(sorted(life.stages.items())),
        "thrown": dict(sorted(site.thrown.items())),
        "items": dict(sorted(_items(site).items())),
        "warm": {"hour": round(life.warm_h, 1), **asdict(life.warm)} if life.warm else None,
        "end": asdict(life.end) if life.end else None,
        "wrong": wrong,
    }


def _items(site: Publishers) -> Counter[str]:
    """Items printed by sort and by what was odd about them, each once."""
    found: Counter[str] = Counter(site.printed.values())
    for own in site.news.stories.values():
        for story in own:
            if story.guid in site.printed:
                found[f"date: {story.dated}"] += story.dated != "right"
                found["printed twice in one feed"] += story.doubled
                found["worded anew later"] += len(story.wordings) > 1
    return found


def missing(news: News, life: Life, served: set[tuple[tuple[str, str], str]]) -> list[str]:
    """Changes that were never live, and facts whose newest object is not what is served."""
    wrong = [
        f"{c.key[0]}, {c.key[1]}: {c.object} was never live"
        for c in news.changes
        if (c.key, c.object) not in life.live_h
    ]
    newest = {c.key: c.object for c in news.changes}
    return wrong + [
        f"{key[0]}, {key[1]}: {o} is not served at the end"
        for key, o in newest.items()
        if (key, o) not in served
    ]


def leaks(life: Life) -> list[str]:
    """What the process held more of at the end than when it was warm."""
    if life.warm is None or life.end is None:
        return ["memory was never weighed: nothing was published in time"]
    wrong = []
    if life.end.rss_mib > (1 + GROWTH) * life.warm.rss_mib:
        wrong.append(f"memory grew from {life.warm.rss_mib:.0f} to {life.end.rss_mib:.0f} MiB")
    for name in ("descriptors", "threads"):
        before, after = getattr(life.warm, name), getattr(life.end, name)
        if after > before:
            wrong.append(f"{name} grew from {before} to {after}")
    return wrong


def unasked(site: Publishers) -> list[str]:
    """A feed that said it is gone is asked no more."""
    return [
        f"{feed} was asked {times} times after it said that it is gone"
        for feed, times in site.late.items()
        if times > 1
    ]


def table(result: Mapping[str, Any]) -> str:
    """The result for people, as Markdown."""
    rows = ["| answers | times |", "|---|---:|"]
    kinds = ["200", "304", *FAULTS, "asked at an old place", GONE, "200 for the page of an item", PAGE_FAULT]
    rows += [f"| {kind} | {result['thrown'].get(kind, 0):,} |" for kind in kinds]
    rows += ["", "| items | printed |", "|---|---:|"]
    rows += [f"| {kind} | {times:,} |" for kind, times in result["items"].items()]
    rows += ["", "| the daemon | |", "|---|---:|"]
    rows += [f"| {name} | {times:,} |" for name, times in result["did"].items()]
    rows += ["", "| | warm | end |", "|---|---:|---:|"]
    for name in ("rss_mib", "objects", "descriptors", "threads", "database_mib"):
        before, after = (result[when][name] if result[when] else 0 for when in ("warm", "end"))
        rows.append(
            f"| {name} | {before:,.1f} | {after:,.1f} |"
            if "mib" in name
            else f"| {name} | {before:,} | {after:,} |"
        )
    keys = (
        "hours",
        "seconds",
        "feeds",
        "changes",
        "changes live",
        "false stories",
        "revisions",
        "articles",
        "in the weights",
        "beside the weights",
    )
    rows += ["", *(f"{key}: {result[key]:,}" for key in keys)]
    waits = result["hours from the second paper to live"]
    return "\n".join(
        [*rows, f"hours from the second paper to live: median {waits['median']}, longest {waits['longest']}"]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=2000.0, help="simulated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--model", default=str(POCKET), help="a checkpoint folder that knows the shipped catalogue"
    )
    parser.add_argument("--state", type=Path, help="an empty folder to keep the state in")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    settings, topics = shipped(options.model, options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        state = (options.state or Path(scratch) / "state").absolute()
        result = soaked(
            replace(settings, state=state),
            topics,
            Plan(hours=options.hours, seed=options.seed),
            tell=lambda line: print(line, file=sys.stderr, flush=True),
        )
    sys.stdout.write(table(result) + "\n")
    return finish(result, options.json)


if __name__ == "__main__":
    sys.exit(main())
