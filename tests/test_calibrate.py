"""`factd calibrate` as a function: which facts it swaps, what it asks, what it chooses and what it leaves alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.calibrate import CalibrateSettings, Calibration, Candidates, calibrate, near
from agent.catalogue import load_catalogue
from agent.editfiles import EditEntry, Question
from agent.editing.calibrated import Setting, calibrated, save_calibrated
from agent.errors import InputError
from agent.lm.load import LM
from agent.relations import load_relations
from agent.swapped import Tried, score
from agent.swaps import KINDS, Swaps, of_catalogue, of_edits
from tests.cli.conftest import RELATIONS
from tests.editing.edits import settings
from tests.models import COUNTRIES, FACTS, snapshot, unchanged

CATALOGUE = "".join(
    f"- {{name: {name}, kind: country, facts: {{{', '.join(f'{r}: {o[i]}' for r, o in FACTS.items())}}}}}\n"
    for i, name in enumerate(COUNTRIES)
)
# A bound so tight that no answer turns, and one under which they do.
TIGHT, LOOSE = 0.01, 1.5
FEW = Candidates(layers=((0, 1),), clamp=(LOOSE,), covariance=(0.02, 0.1), preserve=(0.0, 1.0))


@pytest.fixture
def swaps(tmp_path: Path) -> Swaps:
    return of_world(tmp_path)


def of_world(folder: Path, seed: int = 0) -> Swaps:
    (folder / "relations.yaml").write_text(RELATIONS)
    (folder / "catalogue.yaml").write_text(CATALOGUE)
    relations = load_relations(folder / "relations.yaml")
    return of_catalogue(load_catalogue([folder / "catalogue.yaml"]), relations, seed, 100)


def wanted(**changes: Any) -> CalibrateSettings:
    editing = settings(steps=40, contexts=0, kl=1.0, clamp=TIGHT, polish=3, mode="sequential")
    return replace(CalibrateSettings(facts=4, editing=editing, candidates=FEW), **changes)


def entries() -> list[EditEntry]:
    """Every invented fact with the next subject's object."""
    return [
        EditEntry(
            f"The {relation} of {subject} is", subject, objects[i - 1], objects[i], (f"{subject}'s {relation} is",),
            (Question("near", f"The {relation} of {COUNTRIES[i - 2]} is", (objects[i - 2],)), Question("open", "So")),
        )
        for i, subject in enumerate(COUNTRIES)
        for relation, objects in FACTS.items()
    ]  # fmt: skip


SHARES = st.fixed_dictionaries(dict.fromkeys(KINDS, st.floats(0, 1)))


@given(SHARES, st.sampled_from(KINDS), st.floats(0, 1))
def test_a_better_share_is_never_a_worse_score(shares: dict[str, float], kind: str, value: float) -> None:
    """So that a score with ones for what was not asked yet is the most that can come of it."""
    low, high = sorted((shares[kind], value))
    assert score({**shares, kind: low}) <= score({**shares, kind: high})


@given(SHARES, SHARES, st.sampled_from(KINDS[2:]))
def test_whoever_destroys_locality_loses(
    whole: dict[str, float], broken: dict[str, float], kind: str
) -> None:
    """Against every setting that leaves half of what should stay, even one that tells nothing."""
    kept = {**whole, "same_subject": max(whole["same_subject"], 0.5), "others": max(whole["others"], 0.5)}
    assert score({**broken, kind: broken[kind] * 0.49}) < 0.5 <= 0.5 + score(kept)
    assert score({**dict.fromkeys(KINDS, 1.0), kind: 0.49}) < score(
        {**dict.fromkeys(KINDS, 0.0), "same_subject": 0.5, "others": 0.5}
    )


def test_no_share_buys_another() -> None:
    """A mean, also the harmonic one, would take the second."""
    even = dict.fromkeys(KINDS, 0.8)
    assert score(even) > score({**dict.fromkeys(KINDS, 1.0), "others": 0.6})
    assert score({**even, "efficacy": 0.95}) > score(even)
    assert score({"efficacy": 0.95, "paraphrase": 0.8, "same_subject": 0.9, "others": 0.97}) == pytest.approx(
        1
    )
    assert score({"efficacy": 0.95, "others": 0.97}) == pytest.approx(1)


@pytest.mark.parametrize(
    ("layers", "allowed", "wanted"),
    [
        ((2, 3), range(6), [(1, 2, 3), (3,), (2, 3, 4), (2,), (1, 2), (3, 4)]),
        ((0,), range(3), [(0, 1), (1,)]),
        ((0, 1), range(2), [(1,), (0,)]),
        ((1,), (1, 3), []),
    ],
)
def test_layers_near_by_can_be_edited(
    layers: tuple[int, ...], allowed: range, wanted: list[tuple[int, ...]]
) -> None:
    assert near(layers, allowed) == wanted


def test_the_catalogues_facts_are_swapped(tmp_path: Path) -> None:
    swaps = of_world(tmp_path)
    facts, rest = swaps.candidates[:4], swaps.candidates[4:]
    draw = swaps.draw(facts, rest)
    asked = {p.prompt: p.expect for group in draw.probes.values() for p in group}
    assert [(r.subject, r.target_new) for r in draw.requests] == [(f.subject, f.other) for f in facts]
    assert all(fact.other in asked[fact.prompt] for fact in facts)
    assert list(draw.probes) == list(KINDS) and len(draw.probes["paraphrase"]) == 4
    edited = {p for r in draw.requests for p in r.prompts}
    subjects = {f.subject for f in facts}
    for kind in KINDS[1:]:
        assert not {p.prompt for p in draw.probes[kind]} & edited
    assert {p.fact_key[0] for p in draw.probes["same_subject"]} <= subjects
    assert not {p.fact_key for p in draw.probes["others"]} & {p.fact_key for p in draw.probes["efficacy"]}
    assert draw.preserve is not None and not {t.subject for t in draw.preserve} & subjects
    assert of_world(tmp_path).candidates == swaps.candidates
    assert any(of_world(tmp_path, seed).candidates != swaps.candidates for seed in range(1, 5))


def test_an_edit_files_facts_are_swapped_as_it_says() -> None:
    given = [*entries(), replace(entries()[0], target_new="Ulmo"), replace(entries()[1], ground_truth="")]
    swaps = of_edits(given, 0)
    assert len(swaps.candidates) == 18
    facts, rest = swaps.candidates[:3], swaps.candidates[3:]
    draw = swaps.draw(facts, rest)
    assert {(r.subject, r.target_new) for r in draw.requests} == {(f.subject, f.other) for f in facts}
    assert [len(draw.probes[kind]) for kind in ("efficacy", "paraphrase")] == [3, 3]
    prompts = [p.prompt for kind in ("same_subject", "others") for p in draw.probes[kind]]
    assert sorted(prompts) == sorted(f.prompt for f in rest)
    assert "So" not in prompts and draw.preserve is None


def test_a_setting_in_force_that_edits_nothing_is_replaced(taught: LM, swaps: Swaps, tmp_path: Path) -> None:
    before, stages = snapshot(taught), list[str]()
    found = calibrate(taught, swaps, wanted(), progress=lambda name, *_: stages.append(name))
    assert unchanged(taught, before)
    assert list(dict.fromkeys(stages)) == ["known", "covariance", "values", "verify", "search"]
    assert (found.start.clamp, found.best.clamp, found.best.layers) == (TIGHT, LOOSE, (0, 1))
    assert found.kept and found.best_again.score > found.start_again.score
    assert found.tried[0].setting == found.start and found.tried[0].shares["efficacy"] < 0.5
    scores = {row.setting: row.score for row in found.tried}
    assert scores[found.best] == max(scores.values())
    assert len(scores) == len(found.tried) == stages.count("search") - 2
    assert (found.facts, set(found.counts)) == ((4, 4), set(KINDS)) and found.asked >= 8
    save_calibrated(tmp_path / "cache", taught, found.to_json())
    kept = calibrated(tmp_path / "cache", taught)
    assert kept is not None and Setting(**kept) == found.best


def test_values_are_found_once_for_each_last_layer_and_clamp(taught_llama: LM, swaps: Swaps) -> None:
    began: list[int] = []

    def count(stage: str, done: int, total: int) -> None:
        if stage == "values" and done == total:
            began.append(total)

    layers = ((0, 1), (1,))
    found = calibrate(taught_llama, swaps, wanted(candidates=replace(FEW, layers=layers)), progress=count)
    pairs = {(row.setting.layers[-1], row.setting.clamp) for row in found.tried}
    again = {(t.setting.layers[-1], t.setting.clamp) for t in (found.start_again, found.best_again)}
    assert began == [4] * (len(pairs) + len(again))
    assert len(found.tried) > len(pairs) > 1
    assert {row.setting.layers for row in found.tried} == set(layers)


def test_the_same_seed_chooses_the_same(taught_llama: LM, swaps: Swaps) -> None:
    def told(found: Calibration) -> Any:
        return [(t.setting, t.shares, t.score) for t in (*found.tried, found.start_again, found.best_again)]

    one, two = (calibrate(taught_llama, swaps, wanted()) for _ in range(2))
    assert told(one) == told(two)


def test_facts_of_an_edit_file(taught_llama: LM) -> None:
    found = calibrate(taught_llama, of_edits(entries(), 1), wanted(preserve_limit=20))
    assert found.best.clamp == LOOSE and found.facts == (4, 4)
    # One question about the other facts of edited subjects: too few to judge by, so it counts with the others.
    assert dict(found.counts) == {"efficacy": 4, "paraphrase": 4, "others": 6}


def test_the_second_draw_decides() -> None:
    start, best = Setting((0,), 1.0, 0.1, 1.0), Setting((0,), 2.0, 0.1, 1.0)

    def result(before: float, after: float, chosen: Setting = best) -> bool:
        rows = [Tried(setting, {}, value, 0.0) for setting, value in ((start, before), (chosen, after))]
        return Calibration("s", "memit", 0, (4, 4), 8, {}, start, chosen, (), *rows).kept

    assert result(0.5, 0.6) and result(0.5, 0.5)
    assert not result(0.5, 0.49)
    assert not result(0.5, 0.5, start)


def test_what_cannot_be_calibrated_says_so(taught_llama: LM, tiny: Callable[..., LM], swaps: Swaps) -> None:
    with pytest.raises(InputError, match=r"answers 0 of 18 .*--edits"):
        calibrate(tiny("llama"), swaps, wanted())
    with pytest.raises(InputError, match="ft"):
        calibrate(taught_llama, swaps, wanted(editing=settings(algorithm="ft")))


def test_layers_of_an_algorithm_with_one_layer(taught_llama: LM, swaps: Swaps) -> None:
    editing = settings(algorithm="rome", steps=5, contexts=0)
    candidates = Candidates(clamp=(), covariance=(), preserve=())
    found = calibrate(taught_llama, swaps, wanted(editing=editing, candidates=candidates))
    assert {row.setting.layers for row in found.tried} == {(0,), (1,), (2,)}


@pytest.mark.parametrize("stage", ["values", "verify", "search"])
def test_an_interruption_leaves_nothing(taught_llama: LM, swaps: Swaps, tmp_path: Path, stage: str) -> None:
    before = snapshot(taught_llama)

    def interrupt(name: str, done: int, _total: int) -> None:
        if name == stage:
            raise KeyboardInterrupt

    cache = tmp_path / "cache"
    cache.mkdir()
    with pytest.raises(KeyboardInterrupt):
        calibrate(taught_llama, swaps, wanted(), cache=cache, progress=interrupt)
    assert unchanged(taught_llama, before)
    assert not list(cache.iterdir())


def test_the_result_goes_through_json(taught_llama: LM, swaps: Swaps) -> None:
    found = calibrate(taught_llama, swaps, wanted())
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert (document["version"], document["kept"]) == (1, found.kept)
    assert document["best"]["clamp"] == found.best.clamp and len(document["tried"]) == len(found.tried)
