"""No file that we load runs its maker's code: every dangerous file of the list, handed to who reads such files."""

from __future__ import annotations

import ast
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from agent.editing.cache import load_values
from agent.editing.delta import load_delta
from agent.editing.npz import read_npz
from agent.editing.statfile import load_statistics, load_tensors
from agent.errors import FactdError
from agent.lm.load import LM, load_lm
from tests.security.dangerous import content
from tests.security.lists import ROOT, cases, ids

PICKLES = cases("pickles")


@pytest.fixture(scope="module")
def sound(tiny: Callable[..., LM], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint that loads."""
    lm, folder = tiny("gpt2"), tmp_path_factory.mktemp("sound") / "sound"
    lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
    return folder


def laid(case: dict[str, Any], sound: Path, place: Path) -> tuple[Path, Path]:
    """The folder of the case, and the file that would prove that code ran."""
    folder, proof = place / "case", place / "proof"
    ignored = shutil.ignore_patterns("*.safetensors")
    if case["where"] in ("model", "chat"):
        shutil.copytree(sound, folder, ignore=ignored)
    folder.mkdir(parents=True, exist_ok=True)
    for name, kind in case["files"].items():
        (folder / name).write_bytes(content(kind, sound / "model.safetensors", proof))
    return folder, proof


def read(case: dict[str, Any], folder: Path, lm: LM) -> object:
    """By who reads such files; what came of it, None where it counts as absent. Raises FactdError."""
    match case["where"]:
        case "model" | "chat":
            return load_lm(str(folder), device="cpu", chat="on" if case["where"] == "chat" else "auto")
        case "delta":
            return load_delta(folder / "delta.safetensors")
        case "cache":
            return load_values(folder, ["aaaa"]) or None
        case "statistics":
            kept = folder / "kept.safetensors"
            return load_statistics(kept, "key") or load_tensors(kept)
    (folder / "m.npz").rename(folder / "transformer.h.0.mlp.c_proj_float32_mom2_1.npz")
    return read_npz(lm, [0], folder).matrices[0]


def got_through(case: dict[str, Any], sound: Path, place: Path, lm: LM) -> str:
    """What happened that should not; "" when it was refused, or is never looked at."""
    folder, proof = laid(case, sound, place)
    try:
        found = read(case, folder, lm)
    except FactdError as error:
        found = None
        if not str(error).isprintable():
            return f"the message is not fit to be printed: {error}"
    if proof.exists():
        return "its code ran"
    return "" if found is None or case.get("harmless") else f"it was read: {type(found).__name__}"


@pytest.mark.parametrize("case", PICKLES, ids=ids(PICKLES))
def test_no_file_runs_code(
    case: dict[str, Any], sound: Path, tmp_path: Path, tiny: Callable[..., LM]
) -> None:
    assert got_through(case, sound, tmp_path, tiny("gpt2")) == ""
    # Nothing of gigabytes either.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 << 20


def test_the_sound_one_loads(sound: Path) -> None:
    assert load_lm(str(sound), device="cpu").n_layers > 0


def test_the_files_do_run_code_where_nobody_forbids_it(sound: Path, tmp_path: Path) -> None:
    import numpy

    by_name = {case["name"]: case for case in PICKLES}
    for name, loaded in (
        ("a delta that is a pickle", lambda f: numpy.load(f / "delta.safetensors", allow_pickle=True)),
        ("a torch archive", lambda f: torch.load(f / "pytorch_model.bin", weights_only=False)),
        ("statistics with an object array", lambda f: dict(numpy.load(f / "m.npz", allow_pickle=True))),
    ):
        folder, proof = laid(by_name[name], sound, tmp_path / name)
        loaded(folder)
        assert proof.exists(), name


def test_without_the_guards_they_get_through(
    sound: Path, tmp_path: Path, tiny: Callable[..., LM], monkeypatch: pytest.MonkeyPatch
) -> None:
    """numpy told to trust, and a checkpoint's weights read as torch reads them when it is told to."""
    import numpy

    from agent.editing import npz

    by_name = {case["name"]: case for case in PICKLES}
    plain = numpy.lib.format.read_array
    monkeypatch.setattr(
        npz.numpy.lib.format, "read_array", lambda stream, **_: plain(stream, allow_pickle=True)
    )
    case = by_name["statistics with an object array"]
    with pytest.raises(Exception):  # noqa: B017 (whatever becomes of what the code gave back)
        read(case, laid(case, sound, tmp_path)[0], tiny("gpt2"))
    assert (tmp_path / "proof").exists()


def test_nobody_unpickles() -> None:
    """By the syntax trees: no pickle, no torch.load or numpy.load that trusts, no code of a checkpoint's."""
    for path in (ROOT / "agent").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", "") or ""}
                assert not names & {
                    "pickle",
                    "cPickle",
                    "dill",
                    "joblib",
                    "cloudpickle",
                    "shelve",
                    "marshal",
                }, path
            if not isinstance(node, ast.Call):
                continue
            given = {k.arg: ast.unparse(k.value) for k in node.keywords}
            called = ast.unparse(node.func)
            assert called != "torch.load" or given.get("weights_only") == "True", path
            assert called not in ("np.load", "numpy.load", "np.lib.format.read_array") or (
                given.get("allow_pickle", "False") == "False"
            ), path
            assert given.get("trust_remote_code", "False") == "False", path
            assert given.get("allow_pickle", "False") == "False", path
