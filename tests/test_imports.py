"""Who may import whom: the floor plan of the house, held by the syntax trees."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import agent

ROOT = Path(agent.__file__).parent
# What the words of the program and its readers of files may use of the house.
GROUND = {"types", "errors", "strict", "faults", "versions", "whole", "wikibase", "private", "masked"}
KNOWLEDGE = {*GROUND, "relations", "catalogue", "policy", "paths"}
RULES: dict[str, set[str]] = {
    "types": set(),
    "errors": set(),
    "faults": set(),
    "versions": set(),
    "whole": {"faults"},
    "private": set(),
    "masked": set(),
    "memory": set(),
    "strict": {"errors", "masked"},
    "paths": {"errors"},
    "policy": {"errors"},
    "typed": {"errors", "strict"},
    "descent": set(),
    "rhythm": set(),
    "health": {"rhythm"},
    "pulse": {"rhythm"},
    "loopback": set(),
    "notify": set(),
    "redact": {"settings"},
    "wikibase": set(),
    "relations": {"types", "errors", "strict"},
    "catalogue": {"types", "errors", "strict"},
    "settings": {"errors", "paths", "policy", "types", "editing.settings"},
    "sourcelist": {"errors", "whole"},
    "config": {*GROUND, "paths", "settings", "typed", "editing.settings"},
    # The deciders are pure: they know words and rules, and nothing that reads, writes or computes.
    "voices": {"types"},
    "credits": {"types"},
    "eligible": {"types", "catalogue", "relations", "policy"},
    "compared": {"types"},
    "support": {"types", "eligible", "voices"},
    "caps": {"types", "policy"},
    "approve": {"types", "policy", "eligible"},
    "overlay": {"types", "catalogue", "relations"},
    "choose": {"types", "policy", "eligible", "voices"},
    "decide": {"types", "errors", "catalogue", "relations", "policy", "eligible", "choose", "voices"},
    # The four rooms are blind to one another, and the two upstairs see the model only.
    "sources": {*GROUND, "sources"},
    "ner": {*KNOWLEDGE, "ner"},
    "lm": {*GROUND, "lm"},
    "store": {*GROUND, "store"},
    "signing": {"errors", "private", "whole"},
    "page": {"types", "page"},
    "editing": {*GROUND, "lm", "editing"},
    "verify": {*KNOWLEDGE, "lm", "verify"},
}
UPSTAIRS = {
    "answering",
    "overlaid",
    "evidence",
    "timeline",
    "refetch",
    "pipeline",
    "reading",
    "revise",
    "trial",
    "contradictions",
    "alone",
    "recipe",
    "rebuild",
    "examine",
    "recheck",
    "reportfiles",
    "daemon",
    "rounds",
    "standing",
    "canary",
    "watch",
    "workshop",
    "material",
    "bench",
    "locate",
    "calibrate",
    "follow",
    "start",
    "importing",
    "wikiexport",
    "swaps",
    "swapped",
    "cli",
    "demo",
    "editfiles",
    "export",
    "push",
    "vllm",
    "serve",
    "web",
}
THIRD_PARTY: dict[str, set[str]] = {
    # bench reads the accelerator's memory counters
    "torch": {"lm", "editing", "verify", "demo", "bench", "export"},
    "transformers": {"lm", "editing", "verify", "demo", "export"},
    "tokenizers": {"lm", "demo"},
    "safetensors": {"lm", "editing", "demo", "export"},
    "peft": {"export"},
    "spacy": {"ner"},
    "httpx": {"sources"},
    "feedparser": {"sources"},
    "publicsuffixlist": {"sources"},
    "idna": {"sources"},
    "sqlite3": {"store"},
    "apscheduler": {"daemon"},
    "typer": {"cli"},
    "rich": {"cli"},
    "matplotlib": {"cli"},
    "yaml": {"strict", "config", "typed", "demo", "sourcelist"},
    "trafilatura": {"sources"},
    "protego": {"sources"},
    "jinja2": {"page", "web"},
    "markupsafe": {"page", "web"},
    "starlette": {"serve", "web"},
    "uvicorn": {"serve", "web"},
    "cryptography": {"signing"},
}
PURE = (
    "types",
    "rhythm",
    "health",
    "loopback",
    "descent",
    "wikibase",
    "policy",
    "voices",
    "credits",
    "eligible",
    "choose",
    "decide",
    "approve",
    "support",
    "caps",
    "overlay",
    "compared",
)
MODULES = sorted(ROOT.rglob("*.py"))


def dotted(path: Path) -> str:
    """`agent/ner/load.py` -> `ner.load`, `agent/ner/__init__.py` -> `ner`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(name: str) -> str:
    return name.partition(".")[0]


@cache
def imports(path: Path, *, at_run_time: bool = False) -> frozenset[str]:
    """Full names of what a module imports, in functions too.

    `at_run_time` leaves out what only type checkers see.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = set()
    if at_run_time:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                skipped |= {id(child) for part in node.body for child in ast.walk(part)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            # `from agent.store import queue` imports a module, `from agent.types import Fact` a name in one.
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if _is_module(full) else str(node.module))
    return frozenset(found)


@cache
def _is_module(name: str) -> bool:
    path = ROOT.parent / Path(*name.split("."))
    return name.startswith("agent.") and (
        path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()
    )


def house(path: Path) -> set[str]:
    return {name.removeprefix("agent.") for name in imports(path) if name.startswith("agent.")}


@pytest.mark.parametrize("path", MODULES, ids=[dotted(path) or "agent" for path in MODULES])
def test_a_room_knows_only_its_neighbours(path: Path) -> None:
    name = dotted(path)
    if room(name) in UPSTAIRS or name == "":
        return
    allowed = RULES.get(name) or RULES.get(room(name))
    assert name in RULES or room(name) in RULES, f"{name} is a new room: say in this test whom it may import"
    used = house(path)
    strangers = {u for u in used if not any(u == a or u.startswith(f"{a}.") for a in allowed or ())}
    if room(name) == "ner" and name == "ner.train":
        strangers.discard("demo")
    assert not strangers, f"{name} must not import {', '.join(sorted(strangers))}"


def test_the_lower_floors_never_look_up() -> None:
    for path in MODULES:
        if room(dotted(path)) not in UPSTAIRS:
            assert not {room(name) for name in house(path)} & UPSTAIRS, path


def test_nobody_but_the_demo_and_the_command_line_needs_the_demo() -> None:
    users = {room(dotted(path)) for path in MODULES if "demo" in {room(name) for name in house(path)}}
    assert users <= {"demo", "cli"}


@pytest.mark.parametrize(("package", "rooms"), THIRD_PARTY.items(), ids=THIRD_PARTY.keys())
def test_each_heavy_package_has_its_rooms(package: str, rooms: set[str]) -> None:
    users = {
        dotted(path)
        for path in MODULES
        if package in {room(name) for name in imports(path, at_run_time=True)}
    }
    assert {room(user) for user in users} <= rooms, (
        f"{package} belongs in {sorted(rooms)}, not in {sorted(users)}"
    )
    assert users or importlib.util.find_spec(package), f"{package} is neither used nor there"


@pytest.mark.parametrize("name", PURE)
def test_deciders_touch_nothing(name: str) -> None:
    forbidden = {
        "os",
        "io",
        "pathlib",
        "random",
        "time",
        "socket",
        "subprocess",
        "logging",
        "threading",
        "tempfile",
    }
    path = ROOT / f"{name}.py"
    assert not imports(path) & forbidden
    called = {ast.unparse(n.func) for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)}
    assert not called & {"open", "print", "input", "datetime.now", "datetime.utcnow", "datetime.today"}


def test_only_the_command_line_prints() -> None:
    for path in MODULES:
        calls = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
        printing = any(isinstance(n.func, ast.Name) and n.func.id == "print" for n in calls)
        assert not printing or room(dotted(path)) == "cli", path


def test_packages_are_empty_so_that_importing_one_module_imports_one() -> None:
    for package in (
        "",
        "ner",
        "lm",
        "editing",
        "editing.algorithms",
        "verify",
        "page",
        "demo",
        "cli",
        "serve",
        "web",
        "watch",
    ):
        tree = ast.parse((ROOT / Path(*package.split(".")) / "__init__.py").read_text(encoding="utf-8"))
        assert all(isinstance(node, ast.Expr) for node in tree.body), package


@pytest.mark.parametrize(
    "modules",
    [
        "agent.store, agent.store.queue",
        "agent.config",
        "agent.decide",
        "agent.cli.main",
        "agent.cli.status",
        "agent.watch.server",
        "agent.cli.timeline",
        "agent.cli.verify",
        "agent.cli.reviewer",
        "agent.web.app, agent.web.listen, agent.serve.sockets",
        "agent.reportfiles",
    ],
)
def test_a_keystroke_loads_neither_torch_nor_spacy(modules: str) -> None:
    assert _heavy_after(f"import {modules}") == []


def test_building_the_commands_loads_nothing_heavy_either() -> None:
    """Newer typers build every option through pydantic, which alone takes as long as `factd queue list`."""
    assert _heavy_after("from agent.cli.docs import commands; assert len(list(commands())) > 50") == []


def _heavy_after(code: str) -> list[str]:
    heavy = (
        "torch", "spacy", "transformers", "numpy", "apscheduler", "feedparser", "httpx", "pydantic", "rich",
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*[m for m in {heavy!r} if m in sys.modules])"],
        capture_output=True, text=True, check=False, cwd=ROOT.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()
