"""`factd bench` as a function: what it measures, what it writes, what it leaves alone."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from agent.bench import BenchResult, run_bench, save_edited
from agent.editfiles import EditEntry, Question
from agent.editing.compile import Material, compile_delta
from agent.editing.delta import applied, empty_delta
from agent.errors import EditError, InputError, StoreError
from agent.lm.generate import generate
from agent.lm.load import LM, load_lm
from tests.editing.edits import settings
from tests.models import build, questions, snapshot, unchanged


def entry(subject: str, target: str, truth: str) -> EditEntry:
    """The capital changes; another form is the paraphrase, other subjects are what must stay."""
    others = [(p, a) for p, a in questions() if subject not in p and p.startswith("The")]
    return EditEntry(
        f"The capital of {subject} is", subject, target, truth, (f"{subject}'s capital is",),
        tuple(Question("others", prompt, (answer,)) for prompt, answer in others[-6:]),
        (Question("reversed", f"{subject}'s leader is", ("nobody at all",)),),
    )  # fmt: skip


ENTRIES = [entry("Zorland", "Sorna", "Mipa"), entry("Quenia", "Tebbin", "Kelto")]
MODES = [{"mode": "joint"}, {"mode": "sequential", "batch": 1}]


@pytest.mark.parametrize("algorithm", ["memit", "rome"])
@pytest.mark.parametrize("mode", MODES, ids=["joint", "sequential"])
def test_the_figures_are_those_of_the_answers(taught_llama: LM, algorithm: str, mode: dict[str, Any]) -> None:
    before = snapshot(taught_llama)
    result = run_bench(taught_llama, ENTRIES, settings(algorithm=algorithm, **mode))
    assert unchanged(taught_llama, before)
    assert result.counts == {"efficacy": 2, "paraphrase": 2, "locality": 12, "portability": 2}
    assert result.before == {"efficacy": 0.0, "paraphrase": 0.0, "portability": 0.0, "locality_truth": 1.0}
    assert result.metrics["efficacy"] == 1.0
    assert result.metrics["paraphrase"] >= 0.5
    assert result.metrics["locality"] >= 0.75
    assert result.metrics["portability"] == 0.0
    for kind in ("efficacy", "paraphrase", "locality"):
        judged = [answer.passed for answer in result.answers if answer.kind == kind]
        assert result.metrics[kind] == sum(judged) / len(judged)
    assert (result.edits, result.settings["algorithm"], result.settings["layers"]) == (2, algorithm, (0, 1))


def test_scored_after_all_edits(taught_llama: LM) -> None:
    """A later edit of the same fact makes the earlier one forgotten, and the figure says so."""
    twice = [ENTRIES[0], dataclasses.replace(ENTRIES[0], target_new="Ulmo")]
    result = run_bench(taught_llama, twice, settings(mode="sequential", batch=1))
    assert [answer.passed for answer in result.answers if answer.kind == "efficacy"] == [False, True]
    with pytest.raises(EditError, match="contradict"):
        run_bench(taught_llama, twice, settings())


def test_the_answers_are_the_edited_models(taught_llama: LM) -> None:
    result = run_bench(taught_llama, ENTRIES, settings())
    delta = compile_delta(taught_llama, [e.request for e in ENTRIES], settings(), Material()).delta
    prompts = [answer.prompt for answer in result.answers]
    said = generate(taught_llama, prompts)
    with applied(taught_llama, delta):
        says = generate(taught_llama, prompts)
    for answer, before, after in zip(result.answers, said, says, strict=True):
        assert (answer.before[: len(before)], answer.after[: len(after)]) == (before, after)


def test_time_and_memory_are_measured(taught_llama: LM) -> None:
    told: list[str] = []
    result = run_bench(
        taught_llama, ENTRIES, settings(steps=2), progress=lambda stage, done, total: told.append(stage)
    )
    seconds = result.seconds
    assert 0 < seconds["per_edit"] <= seconds["compile"] < seconds["total"]
    assert seconds["compile"] + seconds["generate"] == pytest.approx(seconds["total"], abs=0.01)
    assert 50 < result.memory_mib["peak_rss"] < 1e6
    assert list(dict.fromkeys(told)) == ["before", "covariance", "values", "verify"]


def test_the_result_is_frozen_and_goes_through_json(taught_llama: LM) -> None:
    result = run_bench(taught_llama, ENTRIES[:1], settings(steps=2))
    document = json.loads(json.dumps(result.to_json()))
    assert document["version"] == 1
    assert set(document) == {"version", *(field.name for field in dataclasses.fields(BenchResult))}
    assert document["answers"][0]["prompt"] == ENTRIES[0].prompt
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.edits = 3  # type: ignore[misc]


def test_long_targets_get_room(taught_llama: LM) -> None:
    long = dataclasses.replace(ENTRIES[0], target_new="Sorna " * 20)
    result = run_bench(taught_llama, [long], settings(steps=1), max_new_tokens=1)
    assert len(taught_llama.tokenizer(result.answers[0].before)["input_ids"]) > 15


def test_questions_without_answers_still_count_for_locality(taught_llama: LM) -> None:
    bare = EditEntry(
        "The capital of Zorland is", "Zorland", "Sorna", locality=(Question("n", "The capital of Quenia is"),)
    )
    result = run_bench(taught_llama, [bare], settings(steps=1))
    assert set(result.metrics) == {"efficacy", "locality"}


def test_the_saved_checkpoint_answers_like_the_edited_model(taught_folder: Path, tmp_path: Path) -> None:
    lm = load_lm(str(taught_folder), device="cpu")
    base = {file.name: file.read_bytes() for file in taught_folder.iterdir()}
    result = run_bench(lm, ENTRIES, settings(), save=tmp_path / "out" / "edited", cache=tmp_path / "cache")
    edited = load_lm(str(tmp_path / "out" / "edited"), device="cpu")
    says = generate(edited, [answer.prompt for answer in result.answers])
    assert all(answer.after.startswith(text) for answer, text in zip(result.answers, says, strict=True))
    assert edited.sha != lm.sha
    assert {file.name: file.read_bytes() for file in taught_folder.iterdir()} == base
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["edited"]
    assert {path.name for path in tmp_path.iterdir()} == {"out", "cache"}


def test_without_save_and_cache_nothing_is_written(
    taught_llama: LM, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    run_bench(taught_llama, ENTRIES[:1], settings(steps=1))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_saving_keeps_the_dtype(family: str, tmp_path: Path) -> None:
    lm = build(family)
    lm.model.to(torch.bfloat16)
    before = snapshot(lm)
    save_edited(lm, empty_delta(lm.sha), tmp_path / "half")
    saved = load_lm(str(tmp_path / "half"), device="cpu")
    assert saved.model.dtype == torch.bfloat16
    assert all(torch.equal(tensor, before[name]) for name, tensor in saved.model.state_dict().items())


def test_an_existing_folder_is_refused_before_any_work(taught_llama: LM, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists"):
        run_bench(taught_llama, ENTRIES, settings(), save=tmp_path)


def test_a_folder_that_cannot_be_written_is_a_store_error(tiny: Callable[..., LM], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    lm = tiny("llama")
    before = snapshot(lm)
    with pytest.raises(StoreError, match="cannot be written"):
        save_edited(lm, empty_delta(lm.sha), tmp_path / "file" / "edited")
    assert unchanged(lm, before)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
