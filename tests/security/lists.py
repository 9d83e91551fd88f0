"""The lists of attacks: data files beside this module, one entry for each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def cases(name: str) -> list[dict[str, Any]]:
    """The entries of `name`.yaml; each has a `name` of its own in the list."""
    found: list[dict[str, Any]] = yaml.safe_load((HERE / f"{name}.yaml").read_text(encoding="utf-8"))
    names = [case["name"] for case in found]
    assert len(names) == len(set(names)), f"{name}.yaml has a name twice"
    return found


def ids(found: list[dict[str, Any]]) -> list[str]:
    return [str(case["name"]) for case in found]
