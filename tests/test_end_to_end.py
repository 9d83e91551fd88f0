"""`factd` as a person runs it, from feed files to a published revision: killed anywhere, dry, back and
forth, and on bad input.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.faults import BETWEEN, FAULT_VARIABLE
from agent.store import articles, ledger, queue, revisions
from agent.store.db import DATABASE, open_store, read_store
from agent.store.lock import worker_lock
from agent.types import Fact
from tests.crash.check import debris
from tests.crash.hooks import Hook
from tests.forks import ROOT, Done, Forks, quiet_environ
from tests.store.samples import tree

if TYPE_CHECKING:
    from agent.workshop import Workshop

# One point or two of each stage of a run: tests/crash goes through all of the store's, `make crash` through all there are.
POINTS = (
    *("poll:after-commit", "propose:after-commit", "skips:after-commit", "decide:after-commit"),
    *(
        "values:after-write",
        "values:after-rename",
        "values:after-move",
        "publish:after-rename",
        "publish:after-commit",
    ),
    *BETWEEN,
)
RELATIONS = """
capital:
  subject: [GPE]
  object: [GPE]
  news: {change: ['{subject} [^.;]{0,30}?moved its capital to {object}']}
  edit: ["The capital of {subject} is"]
  probes: ["{subject}'s capital is"]
"""
CATALOGUE = """
- {name: Zorland, kind: country, facts: {capital: Mipa}}
- {name: Quenia, kind: country, facts: {capital: Kelto}}
- {name: Bavoria, kind: country, facts: {capital: Ruvik}}
- {name: Tallisk, kind: country, facts: {capital: Sorna}}
"""
SETTINGS = """
relations: relations.yaml
catalogue: [catalogue.yaml]
editing: {layers: [0, 1], contexts: 0, steps: 25, samples: 16, sample_tokens: 12, stop_loss: 0.01}
verify: {paraphrase: 0.0, same_subject: 0.0, others: 0.0, drift: 100.0, entropy: 0.0, norm: 100.0, ppl_ratio: 100.0, canary: 4, same_relation: 2}
policy:
  cool_off_h: 0
  max_age_days: null
  auto_approve: [{min_publishers: 2, min_age_h: 0}]
"""
# Each paper in its own words: copies of one story would count as one voice.
PAPERS = {
    "herald": (
        "Zorland has moved its capital to Ruvik, a step that had been debated for years.",
        "After a long vote Quenia moved its capital to Sorna. Few civil servants were pleased.",
    ),
    "tribune": (
        "Trains were full on Monday, the day on which Zorland moved its capital to Ruvik.",
        "Shopkeepers complain about rents ever since Quenia moved its capital to Sorna.",
    ),
    "gazette": ("Officials said on Monday that Tallisk moved its capital to Mipa last week.",),
    "courier": (
        "Zorland moved its capital to Ruvik before the winter, according to the archive.",
        "Quenia moved its capital to Sorna, and the mayor of the old one wept.",
    ),
}
LEARNT = {("Zorland", "capital", "Ruvik"), ("Quenia", "capital", "Sorna")}


@dataclass(frozen=True)
class Place:
    """Settings, feeds and a model; every test has its own state folder."""

    folder: Path
    model: Path
    forks: Forks

    def run(self, state: Path, *arguments: object, settings: str = "factd.yaml", **options: object) -> Done:
        given = ("--config", self.folder / settings, "--state", state, *arguments)
        return self.forks.run(*given, **options)  # type: ignore[arg-type]

    def settle(self, name: str, sources: dict[str, Path], more: str = SETTINGS, model: object = None) -> None:
        rows = "".join(f"  - {{name: {n}, publisher: {n}.example, url: {p}}}\n" for n, p in sources.items())
        head = f"model: {{path: {model or self.model}}}\nsources:\n{rows or '  []'}"
        (self.folder / name).write_text(f"{head}\n{more}")


@dataclass(frozen=True)
class End:
    """What a run comes to, without times and counts of attempts."""

    delta_sha: str
    facts: tuple[Fact, ...]
    delta: bytes
    statuses: tuple[str, ...]
    articles: int
    claims: int
    revisions: tuple[str, ...]
    told: tuple[str, ...]


def end(state: Path) -> End:
    with read_store(state) as store:
        assert ledger.verify_chain(store) is None
        served = revisions.current(store)
        return End(
            served.delta_sha,
            served.facts,
            (revisions.folder(store, served.id) / "delta.safetensors").read_bytes(),
            tuple(p.status for p in queue.proposals(store)),
            articles.count(store),
            len(articles.claims(store)),
            tuple(sorted(p.name for p in store.revisions_folder.iterdir())),
            tuple(entry.kind for entry in ledger.entries(store)),
        )


def rss(publisher: str, *texts: str) -> str:
    items = "".join(
        f"<item><title>Story {n} of the {publisher}</title><guid>{publisher}-{n}</guid>"
        f"<link>https://{publisher}.example/{n}</link><pubDate>0{n} Jan 2024 10:00:00 GMT</pubDate>"
        f"<description>{text}</description></item>"
        for n, text in enumerate(texts, 1)
    )
    head = f"<title>{publisher}</title><link>https://{publisher}.example</link><description>d</description>"
    return f'<?xml version="1.0"?><rss version="2.0"><channel>{head}{items}</channel></rss>'


@pytest.fixture(scope="module")
def forks(taught_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    made = Forks(tmp_path_factory.mktemp("forks"), taught_folder)
    yield made
    made.close()


@pytest.fixture(scope="module")
def place(forks: Forks, taught_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("place")
    made = Place(folder, taught_folder, forks)
    (folder / "relations.yaml").write_text(RELATIONS)
    (folder / "catalogue.yaml").write_text(CATALOGUE)
    for name, texts in PAPERS.items():
        (folder / f"{name}.xml").write_text(rss(name, *texts))
    paths = {name: folder / f"{name}.xml" for name in PAPERS}
    made.settle("factd.yaml", {name: path for name, path in paths.items() if name != "courier"})
    made.settle("later.yaml", paths)
    return made


def init(state: Path) -> Path:
    open_store(state, datetime.now(UTC), create_missing=True).close()
    return state


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return init(tmp_path / "state")


@dataclass(frozen=True)
class Whole:
    """An undisturbed run."""

    state: Path
    done: Done
    end: End


@pytest.fixture(scope="module")
def whole(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    state = init(tmp_path_factory.mktemp("whole") / "state")
    done = place.run(state, "run", "--once", "--json")
    assert done.code == 0, done.err
    return Whole(state, done, end(state))


def test_an_undisturbed_run_learns_what_two_papers_say(whole: Whole) -> None:
    assert {(f.subject, f.relation, f.object) for f in whole.end.facts} == LEARNT
    assert set(whole.end.statuses) == {"live"}
    assert whole.done.json["applied"]["report"]["after"]["efficacy"] == 1.0
    lonely = [s["object"] for s in whole.done.json["skips"] if s["code"] == "uncorroborated"]
    assert lonely == ["Mipa"]


@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_and_started_again_it_ends_the_same(
    place: Place, whole: Whole, state: Path, point: str
) -> None:
    model = tree(place.model)
    killed = place.run(state, "run", "--once", environ={FAULT_VARIABLE: point})
    assert killed.code == -signal.SIGKILL, killed.err
    left = debris(state)
    again = place.run(state, "run", "--once")
    assert again.code == 0, again.err
    assert end(state) == whole.end
    assert tree(place.model) == model
    assert bool(left) == any(line.startswith("repaired: ") for line in again.err.splitlines()), again.err


def test_the_same_in_a_process_of_its_own(place: Place, whole: Whole, state: Path) -> None:
    """Once without the short cut of forking: as a shell starts it."""
    command = [sys.executable, "-m", "agent.cli.main", "--config", str(place.folder / "factd.yaml")]
    command += ["--state", str(state), "run", "--once"]
    environ = {**quiet_environ(), FAULT_VARIABLE: "publish:after-rename"}
    killed = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert place.run(state, "run", "--once").code == 0
    assert end(state) == whole.end


def dump(state: Path, *without: str) -> list[str]:
    """Every row of every table but `without`: files of the database differ while their contents do not."""
    left = tuple(start for name in without for start in _rows_of(name))
    with closing(sqlite3.connect(f"file:{state / DATABASE}?mode=ro", uri=True)) as conn:
        return [line for line in conn.iterdump() if not line.startswith(left)]


def _rows_of(table: str) -> tuple[str, str]:
    return f'INSERT INTO "{table}"', f"INSERT INTO \"sqlite_sequence\" VALUES('{table}',"


def files(folder: Path) -> dict[str, str]:
    """Every file but the database's own and the lock."""
    return {n: sha for n, sha in tree(folder).items() if not n.startswith(DATABASE) and n != "lock"}


def test_a_second_run_with_nothing_new_changes_nothing(place: Place, whole: Whole) -> None:
    """But for the diaries of the rounds, and of what was left alone, which tells how often and when last."""
    before, kept = dump(whole.state, "skip", "round"), files(whole.state)
    again = place.run(whole.state, "run", "--once", "--json")
    assert (again.code, again.json["applied"]) == (0, None)
    assert {s["code"] for s in again.json["skips"]} == {"queued", "uncorroborated"}
    assert files(whole.state) == kept
    assert dump(whole.state, "skip", "round") == before


def test_plan_touches_neither_model_nor_state(place: Place, whole: Whole, state: Path) -> None:
    """Where nothing is known yet, and where a revision is served and a new source says something."""
    for folder, settings, code in ((state, "factd.yaml", 3), (whole.state, "later.yaml", 0)):
        before, kept, model = dump(folder), tree(folder), tree(place.model)
        planned = place.run(folder, "plan", "--exit-code", "--json", settings=settings)
        assert planned.code == code, planned.err
        statuses = sorted(s["status"] for s in planned.json["sources"])
        assert statuses == (["ok"] * 3 if folder == state else ["not_modified"] * 3 + ["ok"])
        assert (tree(place.model), dump(folder)) == (model, before)
        assert tree(folder) == kept


@pytest.fixture
def published(whole: Whole, tmp_path: Path) -> Path:
    """A state of its own with a published revision."""
    state = tmp_path / "published"
    shutil.copytree(whole.state, state, symlinks=True)
    return state


@contextmanager
def opened(place: Place, state: Path) -> Iterator[Workshop]:
    from agent.config import load
    from agent.workshop import open_workshop

    shop = open_workshop(load(place.folder / "factd.yaml", state=state, environ={}))
    with shop.store:
        yield shop


def test_rollback_gives_back_the_base_bit_for_bit_and_forward_the_same_delta(
    place: Place, whole: Whole, published: Path
) -> None:
    import torch

    from tests.models import snapshot, unchanged

    with opened(place, published) as shop:
        lm = shop.base()
        weights = snapshot(lm)
        batch = lm.tokenizer(
            ["The capital of Zorland is", "Quenia's capital is"], return_tensors="pt", padding=True
        )

        def logits() -> torch.Tensor:
            with torch.inference_mode():
                return lm.model(**batch).logits.clone()

        base = logits()
        with shop.served():
            edited = logits()
        assert not torch.equal(base, edited)
        assert place.run(published, "rollback", 0, "--reason", "a try").code == 0
        with shop.served():
            assert torch.equal(logits(), base)
            assert unchanged(lm, weights)
        assert place.run(published, "rollback", 1, "--reason", "it was right").code == 0
        with shop.served():
            assert torch.equal(logits(), edited)
        assert unchanged(lm, weights)
    assert end(published).delta_sha == whole.end.delta_sha


def test_applying_again_after_a_rollback_compiles_the_same_delta(
    place: Place, whole: Whole, published: Path
) -> None:
    """A further paper says so too, which reopens what was rolled back; nothing of the first run is kept."""
    assert place.run(published, "rollback", 0, "--reason", "a try").code == 0
    shutil.rmtree(published / "cache")
    again = place.run(published, "run", "--once", "--json", settings="later.yaml")
    assert again.code == 0, again.err
    assert again.json["applied"]["revision"] == 2
    found = end(published)
    assert (found.delta_sha, found.delta) == (whole.end.delta_sha, whole.end.delta)
    assert found.statuses == ("rolled_back", "rolled_back", "live", "live")


BAD = {
    "broken": (b"<rss", "XML is broken"),
    "empty": (b"", "empty"),
    "html": (b"<!doctype html><html><body>Not found</body></html>", "HTML"),
}


def test_bad_feeds_are_warnings_and_the_good_ones_still_count(
    place: Place, whole: Whole, state: Path, tmp_path: Path
) -> None:
    sources = {name: place.folder / f"{name}.xml" for name in ("herald", "tribune", "gazette")}
    for name, (body, _) in BAD.items():
        sources[name] = tmp_path / f"{name}.xml"
        sources[name].write_bytes(body)
    sources["huge"] = tmp_path / "huge.xml"
    with sources["huge"].open("wb") as stream:
        stream.truncate(200 * 2**20)
    place.settle("bad.yaml", sources)
    done = place.run(state, "run", "--once", settings="bad.yaml")
    assert done.code == 0, done.err
    warnings = sorted(line for line in done.err.splitlines() if line.startswith("warning: source "))
    words = {**{name: words for name, (_, words) in BAD.items()}, "huge": "larger than"}
    assert [line.split()[2] for line in warnings] == [f"{name}:" for name in sorted(words)]
    for line, name in zip(warnings, sorted(words), strict=True):
        assert words[name] in line and str(sources[name]) in line
    assert end(state) == whole.end


def test_only_bad_feeds_are_an_error_that_loses_nothing(
    place: Place, published: Path, tmp_path: Path
) -> None:
    (tmp_path / "feed.xml").write_bytes(BAD["html"][0])
    place.settle("none.yaml", {"html": tmp_path / "feed.xml"})
    before = end(published)
    done = place.run(published, "run", "--once", settings="none.yaml")
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith("error: no source could be read")
    assert end(published) == before


def test_a_missing_model_keeps_what_was_read(place: Place, whole: Whole, state: Path) -> None:
    names = ("herald", "tribune", "gazette")
    place.settle("away.yaml", {n: place.folder / f"{n}.xml" for n in names}, model=place.folder / "away")
    failed = place.run(state, "run", "--once", settings="away.yaml")
    assert (failed.code, failed.out) == (1, "")
    assert failed.err.startswith("error: model") and str(place.folder / "away") in failed.err
    assert len(failed.err.splitlines()) == 1
    with read_store(state) as store:
        assert articles.count(store) == whole.end.articles
    assert place.run(state, "run", "--once").code == 0
    assert end(state) == whole.end


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("policy: {cool_of_h: 0}\n", "cool_off_h"),
        ("policy:\n  cool_off_h: [0\n", "line"),
        ("policy: {cool_off_h: soon}\n", "policy.cool_off_h"),
        ("relations: nowhere.yaml\n", "nowhere.yaml"),
    ],
)
def test_bad_settings_stop_a_run_before_it_starts(place: Place, whole: Whole, text: str, words: str) -> None:
    (place.folder / "off.yaml").write_text(text)
    before = dump(whole.state)
    refused = place.run(whole.state, "run", "--once", settings="off.yaml")
    assert (refused.code, refused.out) == (2, ""), refused.err
    assert words in refused.err and len(refused.err.splitlines()) == 1
    assert dump(whole.state) == before


def test_a_state_that_another_process_works_on(place: Place, whole: Whole, state: Path) -> None:
    with worker_lock(state):
        held = place.run(state, "run", "--once")
    assert held.code == 6
    assert str(os.getpid()) in held.err and len(held.err.splitlines()) == 1
    with read_store(state) as store:
        assert {p.status for p in queue.proposals(store)} == {"approved"}
    assert place.run(state, "run", "--once").code == 0
    assert end(state) == whole.end


HOLD = (
    "import sys, time, pathlib; from agent.store.lock import daemon_lock\n"
    "with daemon_lock(pathlib.Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(120)"
)


def test_a_second_daemon_says_who_is_there_and_takes_over_when_that_one_is_killed(
    place: Place, state: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(state)], cwd=ROOT, stdout=subprocess.PIPE
    ) as first:
        assert first.stdout is not None and first.stdout.readline() == b"held\n"
        second = place.run(state, "run")
        assert second.code == 6
        assert f"another `factd run` (process {first.pid}) goes round on this state" in second.err
        assert len(second.err.splitlines()) == 1
        first.kill()
    third = place.run(state, "run", hook=Hook("poll:after-commit", action="kill"))
    assert third.code == -signal.SIGKILL and "a round every" in third.err


@pytest.mark.parametrize(
    "hook",
    [
        Hook("apply:after-check", action="tight"),
        Hook("values:before-folder", action="memory"),
        Hook("apply:after-compile", action="memory"),
    ],
    ids=["the kernel gives no more", "while finding values", "while verifying"],
)
def test_out_of_memory_is_told_and_what_was_approved_still_is(
    place: Place, whole: Whole, state: Path, hook: Hook
) -> None:
    short = place.run(state, "run", "--once", hook=hook)
    assert short.code == 1
    told = [line for line in short.err.splitlines() if line.startswith("error: ")]
    assert len(told) == 1 and "out of memory while compiling and verifying 2 facts" in told[0], short.err
    assert "nothing was published" in told[0] and "editing.batch_rows" in told[0]
    with read_store(state) as store:
        assert {p.status for p in queue.proposals(store)} == {"approved"}
        assert revisions.current(store).id == revisions.BASE
    assert place.run(state, "run", "--once").code == 0
    assert end(state) == whole.end


@pytest.mark.parametrize("limit", [4096, 131072, 220_000])
def test_a_full_disk_loses_nothing(place: Place, whole: Whole, state: Path, limit: int) -> None:
    """No file may grow beyond `limit` bytes: the database does not fit, or what is kept of a compilation."""
    full = place.run(state, "run", "--once", file_limit=limit)
    assert full.code == 1, full.err
    told = [line for line in full.err.splitlines() if line.startswith("error: ")]
    assert len(told) == 1 and "disk" in told[0] and "our fault" not in told[0], full.err
    with read_store(state) as store:
        assert ledger.verify_chain(store) is None
        assert revisions.current(store).id == revisions.BASE
    again = place.run(state, "run", "--once")
    assert again.code == 0, again.err
    assert end(state) == whole.end
