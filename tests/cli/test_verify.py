"""`factd verify`: the report as a page, with and without asking the model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli.main import main
from tests.cli.conftest import World, write_settings
from tests.page.parsed import parsed
from tests.store.samples import tree

_SETTINGS = """
editing: {layers: [0, 1], contexts: 0, steps: 40, samples: 40, sample_tokens: 12, stop_loss: 0.01}
verify: {paraphrase: 0.0, same_subject: 0.0, others: 0.0, drift: 100.0, entropy: 0.0, norm: 100.0, ppl_ratio: 100.0, canary: 40}
policy: {cool_off_h: 0, max_age_days: null, allow_unknown_subjects: true}
"""


@pytest.fixture
def published(bare: World, taught_folder: Path) -> World:
    """One fact, compiled into a small model and published."""
    write_settings(bare.folder, model=str(taught_folder), more=_SETTINGS)
    bare.store().close()
    added = bare.run(
        "queue", "add", "--subject", "Zorland", "--relation", "capital", "--object", "Kelto", "--json"
    )
    assert added.code == 0, added.err
    assert bare.run("queue", "approve", added.json["queued"][0]["id"]).code == 0
    applied = bare.run("apply")
    assert applied.code == 0, applied.err
    return bare


def test_asked_again_with_a_page(published: World, tmp_path: Path) -> None:
    before = tree(published.state)
    done = published.run("verify", "--report", tmp_path / "out")
    assert done.code == 0, done.err
    assert "verification: passed" in done.out and "report.html" in done.err
    assert tree(published.state) == before
    words = parsed((tmp_path / "out" / "report.html").read_text()).words
    assert "Verification passed" in words and "asked again" in words and "Kelto" in words
    record = json.loads((tmp_path / "out" / "report.json").read_text())
    assert record["fresh"] and record["revision"]["id"] == 1 and record["version"] == 1
    rows = {row["name"]: row for row in record["metrics"]}
    assert rows["efficacy"]["after"] == 1.0 and rows["efficacy"]["outcome"] == "holds"
    assert rows.keys() == published.run("verify", "--json").json["report"]["after"].keys()

    settings = published.settings.read_text()
    published.settings.write_text(
        settings.replace("others: 0.0", "others: 0.0, efficacy: 1.0").replace(
            "ppl_ratio: 100.0", "ppl_ratio: 1.0"
        )
    )
    refused = published.run("verify", "--report", tmp_path / "out")
    words = parsed((tmp_path / "out" / "report.html").read_text()).words
    assert refused.code == 4 and "fails verification now" in refused.err, refused.err
    assert "Verification refused" in words and "perplexity: from" in words


def test_where_the_base_is_served_the_page_says_so(bare: World, tmp_path: Path) -> None:
    bare.store().close()
    done = bare.run("verify", "--report", tmp_path / "out")
    assert done.code == 0 and "nothing to verify" in done.out
    assert "Nothing to verify" in parsed((tmp_path / "out" / "report.html").read_text()).words


def test_what_was_kept_needs_no_torch(world: World, tmp_path: Path) -> None:
    code = (
        "import sys; from agent.cli.main import main; code = main(sys.argv[1:]);"
        " print(code, *[m for m in ('torch', 'numpy', 'spacy', 'agent.lm.load') if m in sys.modules])"
    )
    arguments = ["--config", world.settings, "verify", "--stored", "--report", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["0"], done.stderr
    assert done.stderr == f"wrote {tmp_path / 'out' / 'report.html'}\n"
    words = parsed((tmp_path / "out" / "report.html").read_text()).words
    assert "nothing was asked again" in words and "Tallisk" in words
    record = json.loads((tmp_path / "out" / "report.json").read_text())
    assert not record["fresh"] and [fact["subject"] for fact in record["facts"]] == ["Tallisk"]


def test_stored_with_json_tells_the_same(world: World, tmp_path: Path) -> None:
    told = world.run("verify", "--stored", "--report", tmp_path / "out", "--json").json
    assert (told["revision"], told["passed"]) == (1, True) and told["report"]["after"]["efficacy"] == 1.0


def test_stored_of_the_base_and_of_none(world: World, tmp_path: Path) -> None:
    assert world.run("verify", "--stored", "--report", tmp_path / "out", "--revision", 0).code == 0
    assert "Nothing to verify" in parsed((tmp_path / "out" / "report.html").read_text()).words
    missing = world.run("verify", "--stored", "--report", tmp_path / "out", "--revision", 7)
    assert missing.code == 1 and "revision 7" in missing.err
    assert "Nothing to verify" in (tmp_path / "out" / "report.html").read_text(), "what was there stays"


@pytest.mark.parametrize(
    ("options", "said"),
    [(("--stored",), "--stored needs --report"), (("--revision", "1"), "--revision needs --stored"),
     (("--report", "factd.yaml"), "is a file"), (("--stored", "--report", "factd.yaml"), "is a file")],
)  # fmt: skip
def test_what_makes_no_sense_is_said_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(world.folder)
    done = world.run("verify", *options)
    assert done.code == 2 and said in done.err and done.out == ""


def test_the_commands_start_without_the_templates() -> None:
    code = (
        "import sys, agent.cli.main; print([m for m in ('jinja2', 'agent.reportfiles') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"
    assert main(["verify", "--help"]) == 0
