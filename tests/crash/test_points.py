"""No durable write is without its two points, and no point is without a stage of the matrix that meets it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import agent
from agent.faults import BETWEEN, FILE_WRITES, POINTS, STORE_WRITES

ROOT = Path(agent.__file__).parent
MODULES = sorted(path for path in ROOT.rglob("*.py") if "demo" not in path.relative_to(ROOT).parts)
# An empty folder holds nothing that could be lost. Calls that change what is on the disk, by the last part of their name. `replace` and `open` are looked at more closely.
WRITING = {
    *("rename", "symlink_to", "hardlink_to", "write_text", "write_bytes", "touch", "unlink", "rmdir", "fsync", "sync"),
    *("save_file", "save_pretrained", "mkdtemp", "mkstemp", "rmtree", "commit", "copytree", "copyfile", "truncate", "ftruncate"),
}  # fmt: skip
# (file, function) -> why its writes need no points of their own.
EXEMPT = {
    ("whole.py", "write_whole"): "a device or a pipe: nothing of it can be half there at the next start",
    ("whole.py", "_take_place"): "called between two points",
    ("whole.py", "_beside"): "the temporary file, which nobody knows by name",
    ("whole.py", "sweep"): "sweeps what a killed process left",
    ("whole.py", "sync"): "is what stands between the points",
    (
        "store/artefacts.py",
        "written",
    ): "the mark, synced with the others; the temporary folder goes at the end",
    ("store/artefacts.py", "put"): "the folder that is there already; the temporary file goes at the end",
    ("store/artefacts.py", "link"): "a temporary name that an earlier process of this number left",
    ("store/artefacts.py", "_write"): "called between two points",
    ("store/lock.py", "_held"): "the lock's own file holds nothing that counts",
    ("editing/cache.py", "mend_values"): "sweeps what a killed run left half written",
    ("editing/cache.py", "save_values"): "the folder of values; the temporary folder goes at the end",
    ("editing/statfile.py", "save_tensors"): "the folder of statistics; the temporary file goes at the end",
    ("export/place.py", "placed"): "the folder above; the temporary folder goes at the end",
    ("export/place.py", "_sweep"): "sweeps what a killed export left",
    ("export/place.py", "_sync_tree"): "called between two points",
}
# What is written inside `placed`, which syncs all of it and renames it as one.
INSIDE_PLACED = {
    "export/peft.py",
    "export/hf.py",
    "export/gguf.py",
    "export/overlay.py",
    "export/verified.py",
}


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _strings(call: ast.Call) -> list[str]:
    return [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]


def _writes(call: ast.Call) -> bool:
    name = _name(call)
    if name == "replace":  # of a path: one argument; of a text: two; of a dataclass: keywords
        return (len(call.args) == 1 and not call.keywords) or getattr(call.func, "value", None) == ast.Name(
            "os"
        )
    if name == "link":
        return ast.unparse(call.func) == "os.link"
    if name in ("open", "fdopen"):
        modes = [*call.args[-1:], *(k.value for k in call.keywords if k.arg == "mode")]
        return any(
            isinstance(m, ast.Constant) and str(m.value)[:1] in "wxa" and len(str(m.value)) < 4 for m in modes
        )
    if name in ("run", "execute"):
        return _strings(call)[:1] == ["COMMIT"]
    return name in WRITING


def _calls(node: ast.AST, function: str = "", inside: bool = False) -> Iterator[tuple[ast.Call, str, bool]]:
    """Every call with the function it is in, and whether a `with step(...)` stands around it."""
    for child in ast.iter_child_nodes(node):
        within, name = inside, function
        if isinstance(child, ast.FunctionDef):
            name = child.name
        if isinstance(child, ast.With):
            used = [part for item in child.items for part in ast.walk(item.context_expr)]
            within = inside or any(isinstance(part, ast.Call) and _name(part) == "step" for part in used)
        if isinstance(child, ast.Call):
            yield child, name, within
        yield from _calls(child, name, within)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_durable_write_stands_between_two_points(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    if name in INSIDE_PLACED:
        return
    bare = [
        f"{name}:{call.lineno} {_name(call)} in {function}"
        for call, function, inside in _calls(ast.parse(path.read_text()))
        if _writes(call) and not inside and (name, function) not in EXEMPT
    ]
    assert bare == [], "put it into `with step(stage, what):` and name it in agent/faults.py"


def test_the_exempt_are_there() -> None:
    found = {
        (str(path.relative_to(ROOT)), function)
        for path in MODULES
        for call, function, inside in _calls(ast.parse(path.read_text()))
        if _writes(call) and not inside
    }
    assert set(EXEMPT) <= found


def test_the_points_in_the_code_are_those_that_are_listed() -> None:
    steps: set[tuple[str, str]] = set()
    alone: set[str] = set()
    for path in MODULES:
        for call, function, _ in _calls(ast.parse(path.read_text())):
            match _name(call), _strings(call):
                case "step", [stage, what]:
                    steps.add((stage, what))
                case "step", _ if isinstance(call.func, ast.Name):
                    assert function == "writing", f"{path}: a step that no test can name"
                case "writing", [stage]:
                    steps.add((stage, "commit"))
                case "writing", _:
                    assert function == "writing" or _is_session(call), (
                        f"{path}:{call.lineno}: which stage is it?"
                    )
                case "fault", [name]:
                    alone.add(name)
    listed = {
        (stage, what)
        for writes in (STORE_WRITES, FILE_WRITES)
        for stage, whats in writes.items()
        for what in whats
    }
    assert steps == listed
    assert alone == set(BETWEEN)
    assert len(POINTS) == len(set(POINTS)) == 2 * len(listed) + len(BETWEEN)


def _is_session(call: ast.Call) -> bool:
    """`asked.writing()` opens the state, `shop.store.writing(...)` begins a transaction."""
    return isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) in (
        "asked",
        "session(ctx)",
        "self.front",
    )
