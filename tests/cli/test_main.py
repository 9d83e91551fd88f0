"""Exit codes, messages, help, and how little a keystroke loads; mostly in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli.commands import COMMANDS
from agent.cli.docs import commands, markdown
from agent.cli.main import app, main
from agent.paths import PACKAGE
from agent.store.lock import worker_lock
from tests.cli.conftest import World

_HEAVY = ("torch", "transformers", "spacy", "numpy", "httpx", "feedparser", "apscheduler", "rich")
_PROBE = """
import sys, time
started = time.perf_counter()
from agent.cli.main import main
code = main(sys.argv[1:])
took_s = time.perf_counter() - started
print(sorted(set(sys.modules) & {heavy!r}), file=sys.stderr)
print(f"{{took_s:.3f}}", file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["queue", "list"],
        ["feeds", "list"],
        ["feeds", "export"],
        ["queue", "show", "1"],
        ["queue", "approve", "1"],
        ["config", "show", "--origin"],
        ["revisions"],
        ["blame", "Tallisk", "capital"],
        ["rollback", "0", "--reason", "try"],
    ],
)
def test_a_keystroke_loads_nothing_heavy(world: World, arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROBE.format(heavy=set(_HEAVY)), "--config", str(world.settings), *arguments],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    loaded, seconds = done.stderr.splitlines()[-2:]
    assert loaded == "[]"
    print(f"\nfactd {' '.join(arguments)}: {seconds} s")


def test_no_state(bare: World) -> None:
    missing = bare.spawn("queue", "list")
    assert (missing.code, missing.out) == (1, "")
    assert missing.err.startswith("error: ") and "factd init" in missing.err
    assert len(missing.err.splitlines()) == 1


def test_broken_yaml(bare: World) -> None:
    bare.settings.write_text("state: [\n")
    broken = bare.spawn("queue", "list")
    assert broken.code == 2
    assert "factd.yaml, line" in broken.err
    assert len(broken.err.splitlines()) == 1


def test_an_unknown_key_names_the_nearest(bare: World) -> None:
    bare.settings.write_text("sorces: []\n")
    broken = bare.run("config", "show")
    assert broken.code == 2
    assert "'sources'" in broken.err


def test_missing_settings_file(bare: World, tmp_path: Path) -> None:
    bare.settings.unlink()
    assert bare.run("config", "show").code == 2


def test_a_missing_model(world: World) -> None:
    missing = world.spawn("ask", "Who leads Zorland?")
    assert (missing.code, missing.out) == (1, "")
    assert "no-model" in missing.err
    assert "Traceback" not in missing.err


def test_an_unknown_relation(world: World) -> None:
    unknown = world.run("blame", "Tallisk", "captial")
    assert unknown.code == 2
    assert "'capital'" in unknown.err


def test_the_lock_is_held(world: World) -> None:
    with worker_lock(world.state):
        held = world.spawn("apply")
        assert held.code == 6
        assert str(os.getpid()) in held.err
        assert world.run("rollback", 0, "--reason", "x").code == 6
        assert world.run("queue", "list").code == 0


@pytest.mark.parametrize(
    "arguments",
    [["queue", "show", "99"], ["rollback", "99", "--reason", "x"], ["ask", "x", "--revision", "99"]],
)
def test_a_number_nobody_has(world: World, arguments: list[str]) -> None:
    unknown = world.run(*arguments)
    assert (unknown.code, unknown.out) == (1, "")
    assert "99" in unknown.err and len(unknown.err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        "nope", "queue nope", "queue show", "queue show x", "ask", "--nope", "queue list --status x",
        "rollback 0", "run --json", "ask x --base --both", "queue approve", "queue approve 1 --all",
        "bench nowhere edits.json --set steps", "bench nowhere edits.json --set stpes=3",
        "stats nowhere --layers 5-3", "stats nowhere --layers x", "stats nowhere --tokens 0",
    ],
)  # fmt: skip
def test_usage_errors_are_one_line_and_2(world: World, arguments: str) -> None:
    wrong = world.run(*arguments.split())
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err.startswith("error: ")
    assert len(wrong.err.splitlines()) == 1


@pytest.mark.parametrize("arguments", [[], ["queue"], ["config"]])
def test_a_group_alone_shows_its_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert (printed.out, "Commands:" in printed.err) == ("", True)


def test_version(bare: World) -> None:
    shown = bare.run("--version")
    assert shown.code == 0
    assert shown.out.startswith("factd ")


def test_quiet_and_no_colour(world: World) -> None:
    quiet = world.spawn("--quiet", "queue", "list", NO_COLOR="1")
    assert (quiet.code, quiet.err) == (0, "")
    assert "\x1b" not in quiet.out


def test_a_reader_that_has_enough_is_no_traceback(world: World) -> None:
    command = [sys.executable, "-m", "agent.cli.main", "--config", str(world.settings), "config", "show"]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stdout:
        done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60)
    assert "Traceback" not in done.stderr


def test_ctrl_c_ends_the_daemon_with_130_and_sigterm_with_0(world: World) -> None:
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 0)):
        daemon = subprocess.Popen(
            [sys.executable, "-m", "agent.cli.main", "--config", str(world.settings), "run"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip
        assert daemon.stderr is not None
        said = daemon.stderr.readline()
        while "polled" not in said:
            said = daemon.stderr.readline()
            assert said, "the daemon ended before its first round"
        daemon.send_signal(number)
        _, rest = daemon.communicate(timeout=60)
        assert daemon.returncode == code
        assert "nothing is lost" in rest
        assert "Traceback" not in rest


def test_ctrl_c_in_a_command(world: World) -> None:
    script = "import agent.cli.revisions as r, agent.cli.session as s\n"
    script += "def stop(self): raise KeyboardInterrupt\ns.Session.settings = stop\n"
    script += "from agent.cli.main import main\nraise SystemExit(main(['revisions']))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1].startswith("error: interrupted; nothing is lost")


def test_every_command_has_help_and_is_in_the_docs() -> None:
    page = PACKAGE.parent / "docs" / "cli.md"
    listed = dict(commands())
    wanted = {"init", "doctor", "run", "plan", "apply", "verify", "ask", "revisions", "rollback", "blame"}
    wanted |= {"bench", "locate", "stats", "queue", "queue add", "config", "config show"}
    assert {f"factd {name}" for name in wanted} <= set(listed)
    for name, text in listed.items():
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        assert not lines[1].startswith("Options"), f"{name} has no help"
    if page.is_file():
        assert page.read_text(encoding="utf-8") == markdown(), "run `python -m agent.cli.docs > docs/cli.md`"


def test_a_command_is_not_kept_waiting_by_the_others(world: World) -> None:
    code = "import sys; from agent.cli.main import main; main(sys.argv[1:]);"
    code += "print(*[m for m in sys.modules if m.startswith('agent.cli.')])"
    arguments = ["--state", str(world.state), "queue", "list", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    loaded = {name.split(".")[2] for name in done.stdout.splitlines()[-1].split()}
    others = {place.split(":")[0] for place in COMMANDS.values()} - {"queue"}
    assert "queue" in loaded and not loaded & others


def test_a_word_that_is_no_command_gets_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quue"]) == 2
    assert capsys.readouterr().err.count("Did you mean 'queue'?") == 1


def test_the_app_is_what_the_project_installs() -> None:
    assert app.info.name == "factd"
    assert 'factd = "agent.cli.main:main"' in (PACKAGE.parent / "pyproject.toml").read_text()
