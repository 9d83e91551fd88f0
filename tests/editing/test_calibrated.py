"""The file of `factd calibrate`: what is written is read again, and what is damaged is not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.editing.calibrated import calibrated, save_calibrated
from agent.lm.load import LM
from tests.editing.kept import only_file

BEST = {"layers": [0, 1], "clamp": 0.9, "covariance": 0.3, "preserve": 0.05}
FOUND = {**BEST, "layers": (0, 1)}


def document(lm: LM, **changes: Any) -> dict[str, Any]:
    return {"base_sha": lm.sha, "algorithm": "memit", "kept": True, "best": BEST, "tried": [1, 2], **changes}


def test_what_is_kept_is_found_again(lm: LM, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "cache"
    assert calibrated(folder, lm) is None
    save_calibrated(folder, lm, document(lm))
    assert calibrated(folder, lm) == FOUND
    save_calibrated(folder, lm, document(lm, best={**BEST, "clamp": 3}))
    assert calibrated(folder, lm) == {**FOUND, "clamp": 3.0}
    only_file(folder)


def test_a_result_that_is_not_kept_takes_the_place_of_one_that_was(lm: LM, tmp_path: Path) -> None:
    save_calibrated(tmp_path, lm, document(lm))
    save_calibrated(tmp_path, lm, document(lm, kept=False))
    assert calibrated(tmp_path, lm) is None


def test_another_algorithms_or_models_settings_are_not_this_ones(
    lm: LM, tiny: Callable[..., LM], tmp_path: Path
) -> None:
    """Algorithms weigh the covariance in different units."""
    other = tiny("gpt2")
    save_calibrated(tmp_path, lm, document(lm))
    assert calibrated(tmp_path, lm, "alphaedit") is None and calibrated(tmp_path, other) is None
    path = only_file(tmp_path)
    path.rename(tmp_path / path.name.replace("memit", "alphaedit"))
    assert calibrated(tmp_path, lm, "alphaedit") is None
    save_calibrated(tmp_path, lm, document(lm))
    path.rename(tmp_path / path.name.replace(lm.sha[:24], other.sha[:24]))
    assert calibrated(tmp_path, other) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: b"",
        lambda text: text[: len(text) // 2],
        lambda text: b"[" * 100_000,
        lambda text: b"\xff\xfe" + text,
        lambda text: b"[1, 2]",
        lambda text: text.replace(b'"version": 1', b'"version": 2'),
        lambda text: text.replace(b'"kept": true', b'"kept": 1'),
        lambda text: text.replace(b'"clamp"', b'"clump"'),
        lambda text: text.replace(b"0.9", b'"high"'),
        lambda text: text.replace(b"0.9", b"NaN"),
        lambda text: text.replace(b"0.9", b"0"),
        lambda text: text.replace(b"0.05", b"-1"),
        *(
            lambda text, layers=layers: json.dumps(
                {**json.loads(text), "best": {**BEST, "layers": layers}}
            ).encode()
            for layers in ([], [4], [-1], [1, 0], [0, 0], [0.0, 1.0], [True], "01", None, 1)
        ),
    ],
)
def test_a_damaged_file_is_not_there(lm: LM, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    save_calibrated(tmp_path, lm, document(lm))
    path = only_file(tmp_path)
    assert calibrated(tmp_path, lm) == FOUND
    path.write_bytes(damage(path.read_bytes()))
    assert calibrated(tmp_path, lm) is None
    save_calibrated(tmp_path, lm, document(lm))
    assert calibrated(tmp_path, lm) == FOUND
