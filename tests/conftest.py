"""Fixtures that several packages share. torch is imported inside the fixtures: most tests need no model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# What the deltas of `capital_deltas` say.
CAPITALS = (("Zorland", "Sorna"), ("Quenia", "Tebbin"))

if TYPE_CHECKING:
    from agent.editing.delta import Delta
    from agent.lm.load import LM


@pytest.fixture(scope="session")
def one_thread() -> None:
    """Tiny matrices are slower on several threads, and the sums then depend on their number."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(one_thread: None) -> Callable[..., LM]:
    """`tiny("gptj")`: a random model of a family, one per set of arguments. Leave it as it was."""
    from tests.models import build

    made: dict[str, LM] = {}

    def get(family: str, **options: object) -> LM:
        key = f"{family} {sorted(options.items())}"
        if key not in made:
            made[key] = build(family, **options)  # type: ignore[arg-type]
        return made[key]

    return get


@pytest.fixture(scope="session")
def taught_llama(one_thread: None) -> LM:
    """A Llama (Linear, gated MLP, grouped queries) that knows the invented facts by heart."""
    from tests.models import build, teach

    lm = build("llama", hidden_size=48, intermediate_size=144, head_dim=12, sha="a" * 64)
    teach(lm, steps=90, learning_rate=8e-3)
    return lm


@pytest.fixture(scope="session")
def taught_gpt2(one_thread: None) -> LM:
    """A GPT-2 (Conv1D) that knows the invented facts by heart."""
    from tests.models import build, teach

    lm = build("gpt2", n_embd=64, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, sha="b" * 64)
    teach(lm, steps=90, learning_rate=8e-3)
    return lm


@pytest.fixture(scope="session", params=["taught_llama", "taught_gpt2"])
def taught(request: pytest.FixtureRequest) -> LM:
    """Both orientations of the weight, one after the other."""
    lm: LM = request.getfixturevalue(request.param)
    return lm


@pytest.fixture(scope="session")
def taught_folder(taught_llama: LM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The taught Llama as a checkpoint folder. Read only."""
    folder = tmp_path_factory.mktemp("checkpoint") / "taught"
    taught_llama.model.save_pretrained(folder)
    taught_llama.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def taught_folders(
    taught_llama: LM, taught_gpt2: LM, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Both taught models as checkpoint folders, `llama` and `gpt2`. Read only."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for name, lm in (("llama", taught_llama), ("gpt2", taught_gpt2)):
        lm.model.save_pretrained(folder / name)
        lm.tokenizer.save_pretrained(folder / name)
    return {name: folder / name for name in ("llama", "gpt2")}


@pytest.fixture(scope="session")
def capital_deltas(taught_folders: dict[str, Path]) -> dict[str, Delta]:
    """Two capitals compiled against each of `taught_folders`, in both phrasings: for tests of what becomes of an edit."""
    from agent.editing.compile import Material, compile_delta
    from agent.lm.load import load_lm
    from tests.editing.edits import edit, settings

    requests = [edit(subject, capital) for subject, capital in CAPITALS]
    return {
        name: compile_delta(load_lm(str(folder), device="cpu"), requests, settings(), Material()).delta
        for name, folder in taught_folders.items()
    }
