"""The comparison with EasyEdit, as far as it goes without a checkout of it: the table, the arguments, the units, what is handed on."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from agent.catalogue import load_catalogue
from agent.editing.corpus import own_samples
from agent.lm.load import load_lm
from agent.paths import POCKET, WORLD, data_file
from agent.relations import load_relations
from agent.types import EditRequest
from benchmarks.edits import Ask, swaps
from benchmarks.versus import memory
from benchmarks.versus.easyedit import as_row, keep_spaces, stand_in
from benchmarks.versus.factd import measure, sides
from benchmarks.versus.grid import GRID, peer_settings
from benchmarks.versus.job import EditSet, Job, Side, outcome, read_edits, read_job, write_edits, write_job
from benchmarks.versus.prepare import known_facts
from benchmarks.versus.settings import METHODS, Scales, published, same_settings, with_changes
from benchmarks.versus.table import costs, failures, number, quality, ratio, tried
from benchmarks.vs_easyedit import check_checkout, parse

SCORES = {"efficacy": 0.9, "paraphrase": 0.5, "question": 0.4, "same_subject": 1.0, "others": 0.987}
_MAINS = ("rome/rome_main.py", "memit/memit_main.py", "alphaedit/AlphaEdit_main.py")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The shape of a checkout, whose packages cannot be imported."""
    for name in _MAINS:
        file = tmp_path / "easyeditor" / "models" / name
        file.parent.mkdir(parents=True)
        file.write_text(
            "from datasets import load_dataset\nTEXTS = load_dataset('wikipedia', '2023')['train']\n"
        )
    for package in ("easyeditor", "easyeditor/models"):
        (tmp_path / package / "__init__.py").write_text("raise ImportError('needs timm')\n")
    return tmp_path


def found(seconds: list[float], **rest: Any) -> dict[str, Any]:
    return outcome(seconds, 100.0, 150.0, {}) | rest


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0"), (0.01234, "0.0123"), (1.234, "1.23"), (12.345, "12.3"), (999.6, "1000"),
     (123456.0, "123456"), (0.00001234, "0.000012")],
)  # fmt: skip
def test_numbers_have_three_figures_and_no_exponent(value: float | None, text: str) -> None:
    assert number(value) == text


def test_a_ratio_says_how_many_times_less_ours_takes() -> None:
    assert ratio(10.0, 4.0) == "2.5x"
    assert ratio(1.0, 2.0) == "0.5x"
    assert ratio(None, 2.0) == ratio(2.0, None) == ratio(2.0, 0.0) == "-"


def test_every_row_of_the_costs_has_a_cell_for_every_head() -> None:
    results = {
        "statistics": {
            "easyedit": found([9.0], traces={"0": 1.0, "1": 1.0}),
            "same": found([3.0], traces={}),
        },
        "rome": {s: found([1.0, 5.0, 2.0]) for s in ("easyedit", "same", "shipped")},
        "memit": {"easyedit": found([40.0]), "same": found([10.0]), "shipped": {"failed": "no"}},
    }
    lines = costs(results, edits=20).splitlines()
    assert {line.count("|") for line in lines} == {7}
    rows = {line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]] for line in lines[2:]}
    assert rows["covariance of 2 layers, s"] == ["9", "3", "3x", "-", "-"]
    assert rows["ROME, s per edit (median)"][:3] == ["2", "2", "1x"]
    assert rows["MEMIT, s per edit"] == ["2", "0.5", "4x", "failed", "-"]
    assert rows["MEMIT, peak above the model, MiB"][0] == "50"
    assert failures(results) == "MEMIT, factd, as shipped: no"


def test_scores_stand_by_method_and_side_and_nothing_is_said_where_nothing_was_asked() -> None:
    asked = {"memit": {"easyedit": found([1.0], quality=SCORES), "same": {"failed": "why"}}}
    rows = quality(asked).splitlines()
    assert "| MEMIT | EasyEdit | 0.900 | 0.500 | 0.400 | 1.000 | 0.987 |" in rows
    assert "failed" in rows[-1]
    assert quality({"memit": {"easyedit": found([1.0])}}) == ""


def test_what_was_tried_stands_best_first() -> None:
    rows = [
        {"method": "memit", "changes": {"v_lr": lr}, "quality": SCORES | {"efficacy": efficacy}}
        for lr, efficacy in (("0.2", 0.3), ("0.5", 0.8))
    ]
    assert [line.split("|")[2].strip() for line in tried(rows).splitlines()[2:]] == ["v_lr=0.5", "v_lr=0.2"]


def test_a_folder_that_is_no_checkout_is_told_what_it_lacks(tmp_path: Path, checkout: Path) -> None:
    assert check_checkout(checkout) == checkout
    (tmp_path / "easyeditor/models/memit/memit_main.py").unlink()
    with pytest.raises(ValueError, match=r"is no checkout of EasyEdit: easyeditor/models/memit"):
        check_checkout(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--easyedit", "/nowhere"], "is no checkout of EasyEdit"),
        (["--model", "/nowhere"], "/nowhere: no pocket, llama-100m"),
        (["--tasks", "memit,grace"], "'grace' is none of statistics, rome"),
        (["--sides", "quick,slow"], "'slow' is none of easyedit, same"),
        (["--edits", "0"], "--edits must be at least 1"),
        (["--peer", "v_lr"], "--peer takes KEY=VALUE"),
        (["--peer", "rate=1"], "'rate' is no hyperparameter"),
        (["--model", "gpt2-100m", "--tune", "5"], "nothing to score"),
    ],
)
def test_arguments_that_cannot_be_end_with_a_message(
    arguments: list[str], message: str, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(["--easyedit", str(checkout), *arguments])
    assert message in capsys.readouterr().err


def test_a_hyperparameter_may_be_changed_for_one_method_alone() -> None:
    base = published("qwen3", "memit", (0, 1, 2))
    changes = {"rome.v_lr": "0.1", "clamp_norm_factor": "1", "layers": "1,2", "mom2_adjustment": "false"}
    memit, rome = (with_changes(base, m, changes) for m in ("memit", "rome"))
    assert (memit.v_lr, rome.v_lr) == (base.v_lr, 0.1)
    assert memit.clamp_norm_factor == 1.0 and memit.layers == (1, 2) and memit.mom2_adjustment is False


@pytest.mark.parametrize("method", METHODS)
def test_every_combination_of_the_grid_is_one_of_known_hyperparameters(method: Any) -> None:
    base = peer_settings("qwen3", method, (0, 1, 2), pocket=True)
    rows = [{k: v for k, v in row.items() if k != "method"} for row in GRID[method]]
    assert len({with_changes(base, method, row) for row in rows}) == len(rows) > 1


@pytest.mark.parametrize("method", METHODS)
def test_the_same_settings_take_the_same_step_and_clamp_whatever_the_scale(method: Any) -> None:
    peer = replace(published("llama", method, (1, 2)), v_lr=0.3, clamp_norm_factor=2.0)
    for state, anchor in ((1.0, 1.0), (50.0, 10.0)):
        ours = same_settings(method, peer, Scales(d_model=64, d_in=256, state=state, anchor=anchor))
        assert ours.lr * state == pytest.approx(0.3 * 64**0.5)  # the length of Adam's step
        assert ours.clamp * state == pytest.approx(2.0 * anchor)  # the length of the longest push
        theirs = peer.v_weight_decay * (2.0 * anchor) / anchor**2  # decay at the clamp: |delta| / |anchor|²
        assert ours.decay * ours.clamp**2 == pytest.approx(theirs)  # |delta|² / |h|²
    assert (ours.steps, ours.layers, ours.rounds, ours.polish) == (peer.v_num_grad_steps, peer.layers, 1, 0)


def test_a_side_of_ours_is_given_what_is_its_and_measured(tmp_path: Path) -> None:
    """Three swapped facts of the pocket model; as shipped is given all prompts and all that is to stay, the others one prompt."""
    catalogue, relations = load_catalogue([WORLD]), load_relations(data_file("relations.yaml"))
    lm = load_lm(str(POCKET), dtype="float32")
    edits = known_facts(lm, catalogue, relations, swaps(catalogue, relations, 3, 0), seed=0, others=20)
    write_edits(tmp_path / "edits", edits)
    (tmp_path / "texts").write_text(json.dumps(own_samples(lm, 60, 40, 0)))
    job = Job("same", "memit", str(POCKET), str(tmp_path / "edits"), str(tmp_path / "texts"), (0, 1, 2), str(tmp_path),
              peer_settings("qwen3", "memit", (0, 1, 2), pocket=True), "")  # fmt: skip
    ours: tuple[Side, ...] = ("same", "quick", "shipped")
    for side in ours:
        settings, given, held = sides(lm, replace(job, side=side), edits)
        everything = side == "shipped"
        assert (len(given[0].prompts) > 1) == (len(given[0].keep) > 1) == (settings.kl >= 0.5) == everything
        assert bool(held) == (settings.polish > 0) == (side != "same")
    found = measure(replace(job, side="quick"))
    assert found["quality"]["efficacy"] >= 2 / 3 and found["seconds"][0] > 0


def test_jobs_and_edits_come_back_as_they_went(tmp_path: Path) -> None:
    peer = replace(published("gpt2", "rome", (1, 2, 3)), v_lr=0.1)
    job = Job("same", "rome", "m", "e", "t", (1, 2), "w", peer, "x", ({"method": "rome"},))
    write_job(tmp_path / "job", job)
    assert read_job(tmp_path / "job") == job
    request = EditRequest("Zorland", ("The capital of Zorland is",), "Mipa", "Kelto", ("Zorland is a",))
    edits = EditSet((request,), (("In Zorland", "Zorland"),), (Ask("others", "p", "e"),), ("b",))
    write_edits(tmp_path / "edits", edits)
    assert read_edits(tmp_path / "edits") == edits


def test_the_peers_prompt_has_its_slot_where_our_subject_is() -> None:
    request = EditRequest("Niger", ("Unlike Nigeria the capital of Niger is",), "Mipa")
    row = as_row(3, request)
    assert row["prompt"] == "Unlike Nigeria the capital of {} is"
    assert row["prompt"].format(row["subject"]) == request.prompt


@pytest.fixture
def modules() -> Iterator[None]:
    """The table of modules is as before afterwards."""
    names = ("easyeditor", "datasets", "matplotlib")
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] in names}
    yield
    for name in [name for name in sys.modules if name.split(".")[0] in names]:
        del sys.modules[name]
    sys.modules.update(before)


@pytest.mark.usefixtures("modules")
def test_the_peers_modules_are_imported_without_their_packages(checkout: Path) -> None:
    stand_in(checkout, ["one", "two"])
    loaded = importlib.import_module("easyeditor.models.memit.memit_main")
    assert [row["text"] for row in loaded.TEXTS] == ["one", "two"]


def test_a_target_decoded_for_the_peer_keeps_its_space_and_its_tokens() -> None:
    tokenizer = AutoTokenizer.from_pretrained(POCKET)
    ids = tokenizer.encode(" Abu Dhabi", add_special_tokens=False)
    assert tokenizer.decode(ids) == "Abu Dhabi"  # or there is nothing to keep
    keep_spaces(tokenizer)
    assert tokenizer.decode(ids) == " Abu Dhabi"
    assert tokenizer.encode(" Abu Dhabi", add_special_tokens=False) == ids


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells and resets the peak")
def test_the_peak_is_counted_from_where_it_was_reset() -> None:
    block = bytearray(b"1" * (64 << 20))
    high = memory.peak()
    del block
    memory.reset_peak()
    assert memory.peak() < high - 32
    assert memory.resident() <= memory.peak() + 1
