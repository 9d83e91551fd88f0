"""The commands that need a model, with a tiny one that knows the invented facts by heart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.pipeline import READER
from agent.store import articles, queue
from agent.store.revisions import current
from agent.types import Article, Claim
from tests.cli.conftest import World, write_settings
from tests.store.samples import tree

# The tiny model knows two phrasings only, so the one that is held out is asked of few facts and the gate is
# lenient about it.
_SETTINGS = """
editing: {layers: [0, 1], contexts: 0, steps: 40, samples: 40, sample_tokens: 12, stop_loss: 0.01}
verify: {paraphrase: 0.0, same_subject: 0.0, others: 0.0, drift: 100.0, entropy: 0.0, norm: 100.0, ppl_ratio: 100.0}
policy: {cool_off_h: 0, max_age_days: null, allow_unknown_subjects: true}
"""


@pytest.fixture
def taught_world(bare: World, taught_folder: Path) -> World:
    write_settings(bare.folder, model=str(taught_folder), more=_SETTINGS)
    return bare


def news(
    world: World,
    subject: str,
    relation: str,
    object_: str,
    publishers: tuple[str, ...] = ("a.example", "b.example"),
) -> None:
    """Articles of these publishers, read already, that say so; their feeds, quiet by now, are in the settings."""
    at = datetime.now(UTC) - timedelta(days=2)
    settings = world.settings.read_text()
    for publisher in publishers:
        if f"name: {publisher}" not in settings:
            (world.folder / f"{publisher}.xml").write_text('<rss version="2.0"><channel/></rss>')
            row = f"  - {{name: {publisher}, publisher: {publisher}, url: {publisher}.xml}}\n"
            settings = settings.replace("sources:\n", f"sources:\n{row}").replace("  []\n", "")
    world.settings.write_text(settings)
    with world.store() as store:
        for publisher in publishers:
            text = f"{publisher} says that the {relation} of {subject} is {object_}."
            sha = hashlib.sha256(text.encode()).hexdigest()
            article = Article(
                sha[:8],
                publisher,
                publisher,
                f"https://{publisher}/1",
                text,
                text,
                at,
                at,
                sha,
                int(sha[:15], 16),
            )
            articles.add(store, [article])
            claim = Claim(f"c{sha[:8]}", subject, relation, object_, "change", article.id, text, at)
            articles.record_readings(store, [(article.id, [claim])], READER, at)


def queued(world: World, *facts: tuple[str, str, str]) -> list[str]:
    ids = []
    for subject, relation, object_ in facts:
        added = world.run(
            "queue", "add", "--subject", subject, "--relation", relation, "--object", object_, "--json"
        )
        ids += [str(p["id"]) for p in added.json["queued"]]
    return ids


def said(world: World, *arguments: object) -> list[str]:
    """The tiny model never learnt to stop after its full stop."""
    return [line.rstrip(".") for line in world.run("ask", *arguments).out.splitlines()]


def test_plan_without_a_state_makes_none(taught_world: World) -> None:
    planned = taught_world.run("plan", "--exit-code", "--json")
    assert planned.code == 0
    assert planned.json == {"version": 1, "proposals": [], "skips": [], "sources": []}
    assert not taught_world.state.exists()


def test_plan_shows_what_would_change_and_touches_nothing(taught_world: World) -> None:
    news(taught_world, "Zorland", "capital", "Kelto")
    news(taught_world, "Quenia", "capital", "Kelto")
    news(taught_world, "Tallisk", "capital", "Mipa", publishers=("a.example",))
    before = tree(taught_world.folder)
    planned = taught_world.run("plan", "--exit-code", "--explain")
    assert planned.code == 3
    assert "Mipa -> Kelto" in planned.out
    assert "(1) [uncorroborated]" in planned.out
    assert "Tallisk, capital, Mipa: only a.example" in planned.out
    assert tree(taught_world.folder) == before
    found = taught_world.run("plan", "--json").json
    assert [(p["subject"], p["target_old"], p["object"]) for p in found["proposals"]] == [
        ("Zorland", "Mipa", "Kelto")
    ]
    assert taught_world.run("plan").code == 0


def test_from_the_news_to_a_revision_and_back(taught_world: World) -> None:
    news(taught_world, "Zorland", "capital", "Kelto")
    first = taught_world.run("run", "--once", "--json")
    assert first.code == 0
    (proposal,) = first.json["proposals"]
    assert (proposal["target_old"], proposal["object"], first.json["applied"]) == ("Mipa", "Kelto", None)
    assert said(taught_world, "The capital of Zorland is") == ["Mipa"]

    assert taught_world.run("queue", "approve", proposal["id"]).code == 0
    second = taught_world.run("run", "--once")
    assert second.code == 0
    assert "verification: passed" in second.out
    assert "revision 1 is served: 1 fact, 1 of them new" in second.out

    assert said(taught_world, "The capital of Zorland is") == ["Kelto"]
    assert said(taught_world, "The capital of Zorland is", "--both") == ["base: Mipa", "revision 1: Kelto"]
    assert said(taught_world, "The capital of Zorland is", "--base") == ["Mipa"]
    assert taught_world.run("revisions", "--json").json["current"] == 1
    for question in (
        ["Zorland", "capital"],
        ["Zorland's capital is"],
        ["the capital of the Zor is"],
        ["the Zor", "capital"],
        ["Zorland"],
    ):
        blamed = taught_world.run("blame", *question)
        assert blamed.code == 0
        assert "https://a.example/1" in blamed.out and "https://b.example/1" in blamed.out
    assert taught_world.run("blame", "The capital of Quenia is").code == 1
    checked = taught_world.run("verify", "--json")
    assert (checked.code, checked.json["passed"], checked.json["moved"]) == (0, True, {})

    assert taught_world.run("rollback", 0, "--reason", "a try").code == 0
    assert said(taught_world, "The capital of Zorland is") == ["Mipa"]
    assert "nothing to verify" in taught_world.run("verify").out
    assert said(taught_world, "The capital of Zorland is", "--revision", 1) == ["Kelto"]


def test_apply_with_nothing_to_do(taught_world: World) -> None:
    with taught_world.store():
        pass
    done = taught_world.run("apply")
    assert (done.code, done.out) == (0, "nothing to apply; revision 0 is served\n")


_IMPOSSIBLE = _SETTINGS.replace("ppl_ratio: 100.0", "ppl_ratio: 1.0, efficacy: 1.0, max_trials: 2").replace(
    "steps: 40", "steps: 1"
)


def test_what_the_weights_refuse_is_answered_beside_them(taught_world: World, taught_folder: Path) -> None:
    write_settings(taught_world.folder, model=str(taught_folder), more=_IMPOSSIBLE)
    with taught_world.store():
        pass
    (number,) = queued(taught_world, ("Zorland", "capital", "Kelto"))
    taught_world.run("queue", "approve", number)
    applied = taught_world.run("apply", "--json")
    assert applied.code == 0, applied.err
    assert (applied.json["added"], applied.json["failed"]) == ([int(number)], [])
    assert [told["id"] for told in applied.json["beside"]] == [int(number)]
    assert applied.json["report"]["after"]["overlay"] == 1
    with taught_world.store() as store:
        assert queue.get(store, int(number)).status == "live"
        assert [f.object for f in current(store).overlay] == ["Kelto"]
        assert current(store).compiled == ()
        assert any("in the overlay" in event.reason for event in queue.events(store, int(number)))
    asked = ("The capital of Zorland is", "Zorland's capital is", "The capital of Quenia is")
    before = {question: said(taught_world, question, "--base") for question in asked}
    assert said(taught_world, asked[0])[0].startswith("Kelto")
    assert said(taught_world, asked[1])[0].startswith("Kelto")
    assert said(taught_world, asked[2]) == before[asked[2]]
    assert taught_world.run("apply").out == "nothing to apply; revision 1 is served\n"
    checked = taught_world.run("verify", "--json")
    assert (checked.code, checked.json["passed"], checked.json["moved"]) == (0, True, {})

    # With settings that can write it, it moves into the weights.
    write_settings(taught_world.folder, model=str(taught_folder), more=_SETTINGS)
    assert taught_world.run("apply", "--retry").code == 0
    with taught_world.store() as store:
        assert [f.object for f in current(store).compiled] == ["Kelto"]
        assert current(store).overlay == ()


def test_apply_says_what_the_gate_refused(taught_world: World, taught_folder: Path) -> None:
    more = f"{_IMPOSSIBLE}serve: {{overlay: 'off'}}\n"
    write_settings(taught_world.folder, model=str(taught_folder), more=more)
    with taught_world.store():
        pass
    (number,) = queued(taught_world, ("Zorland", "capital", "Kelto"))
    taught_world.run("queue", "approve", number)
    refused = taught_world.run("apply", "--json")
    assert refused.code == 4
    assert [f["id"] for f in refused.json["failed"]] == [int(number)]
    assert refused.json["added"] == [] and not refused.json["report"]["passed"]
    with taught_world.store() as store:
        assert queue.get(store, int(number)).status == "failed"
        assert current(store).id == 0


def test_an_edit_file_goes_all_the_way(taught_world: World, tmp_path: Path) -> None:
    file = tmp_path / "edits.json"
    edit = {
        "prompt": "The capital of {} is",
        "subject": "Merovia",
        "target": "Sorna",
        "queries": ["Merovia's capital is"],
    }
    file.write_text(json.dumps([edit]))
    with taught_world.store():
        pass
    (queued_,) = taught_world.run("queue", "add", file, "--json").json["queued"]
    assert queued_["relation"].startswith("edit:")
    shown = taught_world.run("queue", "show", queued_["id"])
    assert "The capital of Merovia is -> Sorna" in shown.out
    taught_world.run("queue", "approve", "--all", "--yes")
    applied = taught_world.run("apply")
    assert applied.code == 0, applied.err
    assert said(taught_world, "The capital of Merovia is") == ["Sorna"]


def test_bench_measures_and_leaves_the_model_alone(
    taught_world: World, taught_folder: Path, tmp_path: Path
) -> None:
    edits, result, saved = tmp_path / "edits.json", tmp_path / "result.json", tmp_path / "edited"
    edits.write_text(json.dumps([
        {"prompt": "The capital of Zorland is", "subject": "Zorland", "target_new": "Kelto",
         "ground_truth": "Mipa", "rephrase_prompt": "Zorland's capital is",
         "locality": {"near": {"prompt": "The capital of Quenia is", "ground_truth": "Kelto"}}},
    ]))  # fmt: skip
    before = tree(taught_folder)
    done = taught_world.run(
        "--config",
        taught_world.settings,
        "bench",
        taught_folder,
        edits,
        "--set",
        "layers=[1]",
        "--json",
        result,
        "--save",
        saved,
    )
    assert done.code == 0, done.err
    assert "efficacy" in done.out
    written = json.loads(result.read_text())
    assert written["version"] == 1
    assert written["metrics"]["efficacy"] == 1.0
    assert (saved / "model.safetensors").is_file()
    assert tree(taught_folder) == before
    assert taught_world.run("bench", taught_folder, edits, "--save", saved).code == 1


def test_bench_runs_several_algorithms_side_by_side(
    taught_world: World, taught_folder: Path, tmp_path: Path
) -> None:
    edits, result = tmp_path / "edits.json", tmp_path / "result.json"
    edits.write_text(json.dumps([
        {"prompt": f"The capital of {subject} is", "subject": subject, "target_new": target,
         "locality": {"near": {"prompt": "The capital of Ostrina is", "ground_truth": "Ulmo"}}}
        for subject, target in (("Zorland", "Kelto"), ("Quenia", "Mipa"))
    ]))  # fmt: skip
    quick = ("--set", "layers=[1]", "--set", "steps=4", "--json", result)
    done = taught_world.run("--config", taught_world.settings, "bench", taught_folder, edits, "--algorithm",
                            "memit, ft", "--mode", "all", *quick)  # fmt: skip
    assert done.code == 0, done.err
    runs = json.loads(result.read_text())["runs"]
    assert [(run["settings"]["algorithm"], run["settings"]["mode"]) for run in runs] == [
        ("memit", "joint"), ("memit", "sequential"), ("ft", "joint"), ("ft", "sequential"),
    ]  # fmt: skip
    lines = [line.split() for line in done.out.splitlines()]
    assert [line[0] for line in lines if line and line[0] in ("unedited", "memit", "ft")] == [
        "unedited", "memit", "memit", "ft", "ft",
    ]  # fmt: skip
    two = ("bench", taught_folder, edits, "--mode", "all")
    assert taught_world.run(*two, "--save", tmp_path / "edited").code == 2
    wrong = taught_world.run("bench", taught_folder, edits, "--algorithm", "magic")
    assert wrong.code != 0 and "magic" in wrong.err and "Traceback" not in wrong.err


def test_doctor_looks_at_everything(taught_world: World, tmp_path: Path) -> None:
    with taught_world.store():
        pass
    feed = tmp_path / "feed.xml"
    feed.write_text("<html>no feed</html>")
    write_settings(tmp_path, model=str(tmp_path / "none"), feeds=[str(feed), str(tmp_path / "away.xml")])
    ill = taught_world.run("doctor", "--json")
    assert ill.code == 1
    status = {c["name"]: c["status"] for c in ill.json["checks"]}
    assert (status["settings"], status["state"], status["model"]) == ("ok", "ok", "fail")
    assert (status["source feed 1"], status["source feed 2"]) == ("fail", "fail")


def test_doctor_on_a_sound_installation(taught_world: World) -> None:
    with taught_world.store():
        pass
    sound = taught_world.run("doctor")
    lines = {line.split()[1].rstrip(":"): line.split()[0] for line in sound.out.splitlines()}
    assert lines["model"] == "ok"
    assert "llama, 4 layers" in sound.out


@pytest.fixture
def feed_world(taught_world: World, taught_folder: Path) -> Callable[..., World]:
    def make(*bodies: str) -> World:
        feeds = []
        for number, body in enumerate(bodies):
            path = taught_world.folder / f"feed{number}.xml"
            path.write_text(body)
            feeds.append(str(path))
        write_settings(taught_world.folder, model=str(taught_folder), feeds=feeds, more=_SETTINGS)
        return taught_world

    return make


EMPTY = '<rss version="2.0"><channel><title>t</title><link>https://a.example</link><description>d</description></channel></rss>'


def test_one_broken_feed_is_a_warning_and_only_broken_ones_an_error(feed_world: Callable[..., World]) -> None:
    some = feed_world("<html><body>404</body></html>", EMPTY).run("plan", "--json")
    assert some.code == 0
    assert some.err.startswith("warning: source feed 1: ")
    assert {s["name"]: s["status"] for s in some.json["sources"]} == {"feed 1": "error", "feed 2": "ok"}
    none = feed_world("<html><body>404</body></html>", "<rss").run("plan")
    assert none.code == 1
    assert none.err.splitlines()[-1].startswith("error: no source could be read")


def test_a_fact_is_taken_back_and_removed_weights_are_compiled_again(taught_world: World) -> None:
    with taught_world.store():
        pass
    queued(taught_world, ("Zorland", "capital", "Kelto"), ("Quenia", "capital", "Sorna"))
    taught_world.run("queue", "approve", "--all", "--yes")
    assert taught_world.run("apply").code == 0
    weights = taught_world.state / "revisions" / "1" / "delta.safetensors"
    content = weights.read_bytes()
    taken = taught_world.run("revert", "Quenia", "capital", "--reason", "a hoax", "--apply", "--json")
    assert taken.code == 0, taken.err
    assert (taken.code, taken.json["revision"], taken.json["failed"]) == (0, 2, [])
    assert said(taught_world, "The capital of Quenia is", "--both") == ["base: Kelto", "revision 2: Kelto"]
    assert taught_world.run("revisions", "gc", "--keep", 1, "--yes").code == 0
    assert not weights.exists()
    assert taught_world.run("ask", "Quenia's capital is", "--revision", 1).err.count("rebuild 1") == 1
    rebuilt = taught_world.run("revisions", "rebuild", 1)
    assert rebuilt.code == 0, rebuilt.err
    assert "its weights are back" in rebuilt.out
    assert weights.read_bytes() == content
    weights.unlink()
    for vector in (taught_world.state / "cache" / "values").iterdir():
        vector.write_bytes(next((taught_world.state / "cache" / "values").iterdir()).read_bytes())
    other = taught_world.run("revisions", "rebuild", 1, "--json")
    assert (other.code, other.json["same"], other.json["restored"]) == (1, False, False)
    assert "1 of 2 value vectors" in other.err and not weights.exists()
