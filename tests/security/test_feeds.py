"""Every hostile feed of the list, over HTTP, in a process with a bound on its memory: a value with a reason, soon, and nothing else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.security.feeds import GUARDS
from tests.security.lists import ROOT, cases, ids

FEEDS = cases("feeds")
SECRET = "the secret of this machine"
SECONDS = 15.0  # where 2 s are usual
Rows = dict[str, dict[str, Any]]


def run(folder: Path, guard: str = "", timeout_s: float = 200) -> Rows:
    """By name; a case that is not there did not come to an end."""
    secret = folder / "secret.txt"
    secret.write_text(SECRET)
    command = [sys.executable, "-m", "tests.security.feeds", str(secret), *([guard] if guard else [])]
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=timeout_s
        )
        printed = done.stdout
    except subprocess.TimeoutExpired as late:
        printed = late.stdout or b""
    found = [json.loads(line) for line in printed.decode().splitlines()]
    return {row["name"]: row for row in found}


def got_through(case: dict[str, Any], row: dict[str, Any] | None) -> str:
    """What went wrong; "" when the feed was refused, or what could be read of it was harmless."""
    if row is None:
        return "it did not come to an end"
    if row["status"] not in ("ok", "error"):
        return f"{row['status']} came out: {row['told']}"
    if row["asked"] or SECRET in row["text"] + row["told"]:
        return f"it read what is ours: {row['asked']} {row['text']}"
    if not row["told"].isprintable() or len(row["told"]) > 1000:
        return f"its message is not fit to be printed: {row['told']!a}"
    if row["articles"] > case.get("articles", 0):
        return f"{row['articles']} articles were read"
    if not re.search(case.get("says", "."), row["told"]):
        return f"another reason was told: {row['told']}"
    return "" if row["seconds"] < SECONDS else f"it took {row['seconds']:.1f} s"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return run(tmp_path_factory.mktemp("feeds"))


@pytest.mark.parametrize("case", FEEDS, ids=ids(FEEDS))
def test_a_hostile_feed_is_a_value_with_a_reason(rows: Rows, case: dict[str, Any]) -> None:
    assert got_through(case, rows.get(case["name"])) == ""


@pytest.mark.parametrize("guard", GUARDS)
def test_without_the_guard_they_get_through(guard: str, tmp_path: Path) -> None:
    chosen = [case for case in FEEDS if case["name"] in GUARDS[guard]]
    found = run(tmp_path, guard, timeout_s=15)
    assert len(chosen) == len(GUARDS[guard])
    assert all(got_through(case, found.get(case["name"])) for case in chosen[:1])
