"""The stages as a person runs them: real commands, a real (tiny) model, real files. What `make crash` adds to the matrix of the store."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.store import articles, audit, feeds, ledger, published, queue, revisions
from agent.store.db import read_store
from tests.crash.check import acknowledged, debris, decisions
from tests.crash.hooks import Hook, passed
from tests.forks import Done, Forks
from tests.store.samples import tree
from tests.test_end_to_end import CATALOGUE, PAPERS, RELATIONS, SETTINGS, rss

BY_HAND = "  auto_approve: []\n"
APPLY, WHY = ("apply",), ("--reason", "the test")
EDITS = [
    {
        "requested_rewrite": {
            "prompt": "The capital of {} is", "subject": "Zorland", "target_new": {"str": "Ruvik"},
            "target_true": {"str": "Mipa"},
        },
        "paraphrase_prompts": [], "neighborhood_prompts": [],
    }
]  # fmt: skip
Command = tuple[str, ...]


@dataclass(frozen=True)
class Stage:
    """`begins`: the stage whose end is its beginning, "" for an empty folder; `does`: the command that is killed. `starts`: what a person
    runs next, before the command again (where its end was not reached); `ends`: what both runs end with.
    """

    begins: str
    does: Command
    starts: Command = APPLY
    ends: Command = ()


STAGES: dict[str, Stage] = {
    "init": Stage("", ("--config", "{work}/new.yaml", "--state", "{work}/new", "init"), ()),
    "news": Stage("", ("--config", "{work}/byhand.yaml", "run", "--once"), ()),
    "approve": Stage("news", ("queue", "approve", "1", "2"), ("queue", "list")),
    "reject": Stage("news", ("queue", "reject", "1", *WHY), ("queue", "list")),
    "reopen": Stage("reject", ("queue", "reopen", "1", *WHY), ("queue", "list")),
    "defer": Stage("news", ("queue", "defer", "1", "--until", "2w"), ("queue", "list")),
    "add": Stage(
        "news",
        ("queue", "add", "--subject", "Tallisk", "--relation", "capital", "--object", "Mipa"),
        ("queue", "list"),
    ),
    "run": Stage("", ("run", "--once"), ("run", "--once")),
    "apply": Stage("approve", APPLY),
    "revert": Stage("apply", ("revert", "Zorland", "capital", *WHY, "--apply"), ends=APPLY),
    "rollback": Stage("apply", ("rollback", "0", *WHY)),
    "pin": Stage("apply", ("revisions", "pin", "1", *WHY)),
    "unpin": Stage("pin", ("revisions", "unpin", "1")),
    "gc": Stage("revert", ("revisions", "gc", "--keep", "0", "--yes")),
    "rebuild": Stage("gc", ("revisions", "rebuild", "1")),
    "report": Stage("apply", ("verify", "--stored", "--report", "{work}/report")),
    "export hf": Stage("apply", ("export", "hf", "{work}/hf", "--no-verify")),
    "export peft": Stage("apply", ("export", "peft", "{work}/peft", "--no-verify")),
    "export overlay": Stage("apply", ("export", "overlay", "{work}/overlay")),
    "statistics": Stage("news", ("stats", "--tokens", "300"), ()),
    "bench": Stage(
        "news",
        ("bench", "{model}", "{work}/edits.json", "--json", "{work}/bench.json"),
        (),
    ),
    "feeds": Stage("news", ("feeds", "add", "{ground}/courier.xml", "--publisher", "courier.example"), ()),
}


def with_beginnings(names: list[str]) -> list[str]:
    """These stages and all that they begin with, in an order in which they can be run."""
    needed = {name for name in names if name in STAGES}
    for name, stage in reversed(STAGES.items()):
        if name in needed and stage.begins:
            needed.add(stage.begins)
    return [name for name in STAGES if name in needed]


@dataclass(frozen=True)
class Ground:
    """Where all of it happens: the model, the folder in which every stage's beginning and undisturbed end is kept."""

    folder: Path
    model: Path
    forks: Forks

    def begin(self, name: str, work: Path) -> None:
        """A copy of the folder in which a stage begins."""
        before = STAGES[name].begins
        if before:
            shutil.copytree(self.folder / before / "end", work, symlinks=True)
        else:
            furnish(work, self.model)

    def run(self, work: Path, command: Command, hook: Hook | None = None) -> Done:
        named = [part.format(work=work, model=self.model, ground=self.folder) for part in command]
        settings = [] if "--config" in command else ["--config", str(work / "factd.yaml")]
        place = [] if "--state" in command else ["--state", str(work / "state")]
        return self.forks.run(*settings, *place, *named, hook=hook)


def furnish(work: Path, model: Path) -> None:
    """Settings, feeds and an empty state."""
    work.mkdir()
    (work / "relations.yaml").write_text(RELATIONS)
    (work / "catalogue.yaml").write_text(CATALOGUE)
    (work / "edits.json").write_text(json.dumps(EDITS))
    rows = ""
    for name, texts in PAPERS.items():
        (work / f"{name}.xml").write_text(rss(name, *texts))
        if name != "courier":
            rows += f"  - {{name: {name}, publisher: {name}.example, url: {name}.xml}}\n"
    head = f"model: {{path: {model}}}\nsources:\n{rows}"
    (work / "factd.yaml").write_text(f"{head}\n{SETTINGS}")
    by_hand = SETTINGS.replace("  auto_approve: [{min_publishers: 2, min_age_h: 0}]\n", BY_HAND)
    assert by_hand != SETTINGS
    (work / "byhand.yaml").write_text(f"{head}\n{by_hand}")
    from datetime import UTC, datetime

    from agent.store.db import open_store

    open_store(work / "state", datetime.now(UTC), create_missing=True).close()


def end(work: Path) -> dict[str, Any]:
    """What a stage comes to, without times."""
    return {
        "state": _state(work / "state"),
        "new": (work / "new" / "factd.db").exists(),
        "files": _files(work),
    }


def _state(state: Path) -> dict[str, Any]:
    with read_store(state) as store:
        keepings = published.keepings(store).values()
        return {
            "articles": sorted(a.id for a in articles.articles_of(store, _ids(state))),
            "claims": [c.id for c in articles.claims(store)],
            "feeds": [(f.source, bool(f.etag), f.errors) for f in feeds.states(store)],
            "proposals": [(p.fact, p.status, p.target_old, p.not_before_at is None) for p in queue.proposals(store)
                          if p.fact.publishers],
            "events": decisions(store),
            "revisions": [(r.id, r.delta_sha, r.facts, r.overlay) for r in revisions.revisions(store)],
            "kept": [(k.id, k.pinned_at is None, k.removed_at is None) for k in keepings],
            "served": revisions.pointer(store),
            "told": [entry.kind for entry in ledger.entries(store)],
            "unsound": audit.audit(store),
            "weights": {n: s for n, s in tree(store.revisions_folder).items() if "report" not in n and "answers" not in n},
            "cache": tree(state / "cache"),
        }  # fmt: skip


def _ids(state: Path) -> list[str]:
    with read_store(state) as store:
        return [row["id"] for row in store.rows("SELECT id FROM article")]


def _files(work: Path) -> dict[str, str]:
    """What stands outside the state; reports and manifests tell times, so of those only that they are there."""
    timed = ("report/", "factd.json", "bench.json", "manifest", "README", "facts.md", "facts.jsonl", "new")
    outside = {n: s for n, s in tree(work).items() if not n.startswith(("state/", "new/"))}
    return {n: "there" if any(word in n for word in timed) else s for n, s in outside.items()}


@dataclass(frozen=True)
class Undisturbed:
    points: tuple[tuple[str, int], ...]
    end: dict[str, Any]


def undisturbed(ground: Ground, name: str) -> Undisturbed:
    """Run a stage once, counting; its end is kept for the stages that begin there."""
    stage, work = STAGES[name], ground.folder / name / "end"
    work.parent.mkdir()
    ground.begin(name, work)
    trace = ground.folder / name / "trace"
    done = ground.run(work, stage.does, Hook(trace=str(trace)))
    assert done.code == 0, f"{name}: {done.err}"
    if stage.ends:
        assert ground.run(work, stage.ends).code == 0
    return Undisturbed(tuple(passed(trace)) if trace.exists() else (), end(work))


def check_case(
    ground: Ground, name: str, of: Undisturbed, point: tuple[str, int], work: Path
) -> list[str] | None:
    """Kill, start again, compare. Raises AssertionError; returns what the next start said that it repaired, None where the point was
    not passed so often this time.
    """
    stage, state = STAGES[name], work / "state"
    ground.begin(name, work)
    killed = ground.run(work, stage.does, Hook(*point, "kill"))
    if killed.code == 0:  # how many batches a poll comes in depends on its threads
        return None
    assert killed.code == -signal.SIGKILL, killed.err
    seen, left = acknowledged(state), debris(state)
    said: list[str] = []
    again: list[Command] = [stage.starts] if stage.starts else []
    for command in again:
        said += _started(ground, work, command)
    if end(work) != of.end:
        said += _started(ground, work, stage.does)
    if stage.ends:
        said += _started(ground, work, stage.ends)
    found = end(work)
    for part, wanted in of.end.items():
        assert found[part] == wanted, (part, _differences(found[part], wanted))
    assert seen <= acknowledged(state), "what was acknowledged is gone"
    assert debris(state) == []
    assert not left or said, f"mended in silence: {left}"
    return said


def _started(ground: Ground, work: Path, command: Command) -> list[str]:
    """Which may say that it was done already (1), that a file is there already (1, 2)."""
    done = ground.run(work, command)
    assert done.code in (0, 1, 2) and "our fault" not in done.err, done.err
    return [line for line in done.err.splitlines() if line.startswith("repaired: ")]


def _differences(found: Any, wanted: Any) -> Any:
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = found.keys() | wanted.keys()
        return {k: (found.get(k), wanted.get(k)) for k in keys if found.get(k) != wanted.get(k)}
    return found, wanted
