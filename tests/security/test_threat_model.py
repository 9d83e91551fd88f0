"""docs/threat-model.md names a test for each promise; each is there, and none of the lists is left out."""

from __future__ import annotations

import ast
import re

import pytest

from tests.security.lists import HERE, ROOT

PAGE = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))


@pytest.mark.parametrize(("file", "test"), NAMED, ids=[f"{file}::{test}" for file, test in NAMED])
def test_what_holds_a_promise_is_there(file: str, test: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert test in functions if test else any(name.startswith("test_") for name in functions)


def test_every_row_names_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| threat")]
    rows = [row for row in rows if set(row) - set("|- ")]
    assert len(rows) > 25
    for row in rows:
        assert "`tests/" in row.split("|")[3], row


def test_every_file_of_this_folder_is_named() -> None:
    for path in HERE.glob("test_*.py"):
        assert f"tests/security/{path.name}" in PAGE, path.name
    for path in HERE.glob("*.yaml"):
        assert f"tests/security/{path.name}" in PAGE, path.name


def test_the_residual_risks_are_told() -> None:
    rest = PAGE.partition("## What this does not stop")[2]
    assert rest.count("\n- ") >= 10
