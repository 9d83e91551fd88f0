"""The file of `factd locate`: what is written is read again, and what is damaged is not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.editing.located import Located, load_located, located, save_located
from agent.lm.load import LM
from tests.editing.kept import only_file

ROW = (None, 0.7, 0.0, 0.1)


def found(lm: LM, **changes: Any) -> Located:
    wanted: dict[str, Any] = {
        "key": "k", "base_sha": lm.sha, "facts": 9, "asked": 20, "clean": 0.9, "lost": 0.6, "window": 1,
        "states": (ROW,) * 4, "mlp": (ROW,) * 4, "flips": (0.9, 0.9, 0.9, 0.0),
    }  # fmt: skip
    return Located(**{**wanted, **changes})


def test_what_is_kept_is_found_again(lm: LM, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "cache"
    assert located(folder, lm) is None
    save_located(folder, lm, found(lm))
    assert load_located(folder, lm) == found(lm)
    assert located(folder, lm) == found(lm).layers == (1, 2)
    save_located(folder, lm, found(lm, flips=(0.9, 0.9, 0.1, 0.0)))
    assert located(folder, lm) == (0, 1)
    only_file(folder)


def test_another_models_layers_are_not_this_ones(lm: LM, tiny: Callable[..., LM], tmp_path: Path) -> None:
    other = tiny("gpt2")
    save_located(tmp_path, lm, found(lm))
    assert located(tmp_path, other) is None
    only_file(tmp_path).rename(tmp_path / f"located-{other.sha[:24]}.json")
    assert located(tmp_path, other) is None


def test_no_recommendation_is_none(lm: LM, tmp_path: Path) -> None:
    save_located(tmp_path, lm, found(lm, flips=(0.0, 0.1, 0.1, 0.0)))
    assert load_located(tmp_path, lm) is not None
    assert located(tmp_path, lm) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: b"",
        lambda text: text[: len(text) // 2],
        lambda text: b"[" * 100_000,
        lambda text: b"\xff\xfe" + text,
        lambda text: b"[1, 2]",
        lambda text: b'"text"',
        lambda text: text.replace(b'"version": 1', b'"version": 2'),
        lambda text: text.replace(b'"flips"', b'"flops"'),
        lambda text: text.replace(b"0.7", b'"high"'),
        lambda text: text.replace(b"0.7", b"NaN"),
        lambda text: json.dumps({**json.loads(text), "states": [[1, 1, 1, 1]]}).encode(),
        lambda text: json.dumps({**json.loads(text), "mlp": [[1]] * 4}).encode(),
        lambda text: json.dumps({**json.loads(text), "flips": [0.9]}).encode(),
        lambda text: json.dumps({**json.loads(text), "flips": None}).encode(),
        lambda text: json.dumps({**json.loads(text), "facts": None}).encode(),
    ],
)
def test_a_damaged_file_is_not_there(lm: LM, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    save_located(tmp_path, lm, found(lm))
    path = only_file(tmp_path)
    assert located(tmp_path, lm) is not None
    path.write_bytes(damage(path.read_bytes()))
    assert located(tmp_path, lm) is None
    save_located(tmp_path, lm, found(lm))
    assert located(tmp_path, lm) == (1, 2)


def test_a_folder_in_its_place_is_not_there_either(lm: LM, tmp_path: Path) -> None:
    save_located(tmp_path, lm, found(lm))
    path = only_file(tmp_path)
    path.unlink()
    path.mkdir()
    assert located(tmp_path, lm) is None
