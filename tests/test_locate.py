"""`factd locate` as a function: which facts it traces, what it finds, what it keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agent.catalogue import load_catalogue
from agent.editfiles import EditEntry
from agent.editing.flips import flip_shares
from agent.editing.located import located, save_located
from agent.editing.trace import TracedFact, trace
from agent.errors import InputError
from agent.lm.load import LM
from agent.locate import LEAST_FACTS, LocateSettings, from_catalogue, from_edits, known_facts, locate
from agent.relations import load_relations
from tests.editing.edits import settings
from tests.editing.test_trace import KNOWN
from tests.models import snapshot, unchanged

RELATIONS = """
capital:
  subject: [GPE]
  object: [GPE]
  edit: ["{subject}, the country whose capital is", "Capital of {subject}", "The capital of {subject} is"]
  probes: ["{subject}'s capital is"]
leader: {subject: [GPE], object: [PERSON], edit: ["Led by X is {subject}"], probes: ["{subject} is led by"]}
anthem: {subject: [GPE], object: [ORG], edit: ["The anthem of {subject} is"], probes: ["{subject} sings"]}
"""
CATALOGUE = """
- {name: Zorland, kind: country, facts: {capital: [Mipa, Old Mipa], leader: Voss, anthem: Hymn}}
- {name: Quenia, kind: country, facts: {capital: Kelto, leader: Lind, unheard: of}}
- {name: Bavoria, kind: country, facts: {capital: Ruvik}}
"""


def wanted(**changes: object) -> LocateSettings:
    return replace(LocateSettings(facts=10, editing=settings(steps=10)), **changes)  # type: ignore[arg-type]


def from_world(folder: Path, seed: int) -> tuple[TracedFact, ...]:
    (folder / "relations.yaml").write_text(RELATIONS)
    (folder / "catalogue.yaml").write_text(CATALOGUE)
    relations = load_relations(folder / "relations.yaml")
    return from_catalogue(load_catalogue([folder / "catalogue.yaml"]), relations, seed)


def test_the_catalogues_facts_are_asked_behind_the_subject(tmp_path: Path) -> None:
    """The first prompt that goes on behind its subject; a relation with no other object, without a fitting prompt or unknown is left out."""
    found = from_world(tmp_path, 0)
    assert {(f.subject, f.prompt, f.answer) for f in found} == {
        (name, f"{name}, the country whose capital is", answer)
        for name, answer in (("Zorland", "Mipa"), ("Quenia", "Kelto"), ("Bavoria", "Ruvik"))
    }
    for fact in found:
        assert fact.other in {"Mipa", "Old Mipa", "Kelto", "Ruvik"} - {fact.answer}
        assert fact.subject != "Zorland" or fact.other != "Old Mipa"
    assert from_world(tmp_path, 0) == found
    assert any(from_world(tmp_path, seed) != found for seed in range(1, 9))


def test_an_edit_files_facts_are_what_held_before() -> None:
    entry = EditEntry("The capital of Zorland is", "Zorland", "Sorna", "Mipa")
    fit = TracedFact(entry.prompt, "Zorland", "Mipa", "Sorna")
    unfit = [
        replace(entry, ground_truth=""), replace(entry, target_new="Mipa"),
        replace(entry, prompt="Mipa is the capital of Zorland."),
    ]  # fmt: skip
    assert from_edits([*unfit, entry], 0) == (fit,)
    many = [replace(entry, prompt=f"{i}: the capital of Zorland is") for i in range(9)]
    assert from_edits(many, 0) == from_edits(many, 0) != from_edits(many, 1)


def test_only_what_the_model_answers_right_is_known(taught: LM) -> None:
    wrong = [replace(fact, answer=fact.other) for fact in KNOWN[:6]]
    cut = [replace(fact, answer=fact.answer[:2]) for fact in KNOWN[:2]]
    seen: list[tuple[int, int]] = []
    mixed = [*wrong, *KNOWN[:4], *cut, *KNOWN[4:]]
    assert known_facts(taught, mixed, 9, lambda *step: seen.append(step))[0] == KNOWN[:9]
    assert seen[-1] == (9, 9)
    assert known_facts(taught, mixed, 100) == (KNOWN, len(mixed))


def test_the_result_is_the_trace_and_the_flips(taught: LM) -> None:
    before = snapshot(taught)
    stages: list[str] = []
    found = locate(taught, KNOWN, wanted(seed=3), progress=lambda name, *_: stages.append(name))
    assert unchanged(taught, before)
    traced = trace(taught, KNOWN[:10], wanted(seed=3).trace)
    assert (found.states, found.mlp, found.lost) == (traced.states, traced.mlp, traced.lost)
    assert found.flips == flip_shares(taught, KNOWN[:10], settings(steps=10))
    assert (found.facts, found.base_sha) == (10, taught.sha)
    assert found.layers and found.layers[-1] < taught.n_layers - 1
    assert list(dict.fromkeys(stages)) == ["known", "trace", "flips"]


def test_too_few_known_facts_say_what_to_do(taught_llama: LM, tiny: Callable[..., LM]) -> None:
    with pytest.raises(InputError, match=f"answers 7 of 7 .* {LEAST_FACTS} are needed.*--edits"):
        locate(taught_llama, KNOWN[:7], wanted())
    with pytest.raises(InputError, match="answers 0 of 18"):
        locate(tiny("llama"), KNOWN, wanted())
    with pytest.raises(InputError, match="answers 0 of 0"):
        locate(taught_llama, [], wanted())


def test_the_same_question_is_measured_once(taught_llama: LM, tmp_path: Path) -> None:
    stages: list[str] = []

    def ask(facts: list[TracedFact] = KNOWN, **changes: object) -> int:
        stages.clear()
        found = locate(
            taught_llama,
            facts,
            wanted(**changes),
            cache=tmp_path,
            progress=lambda name, *_: stages.append(name),
        )
        save_located(tmp_path, taught_llama, found)
        return len(stages)

    assert ask() > 0
    assert ask() == 0
    assert located(tmp_path, taught_llama) == locate(taught_llama, KNOWN, wanted()).layers
    assert ask(seed=1) > 0
    assert ask(seed=1) == 0
    assert ask(KNOWN[::-1], seed=1) > 0
    assert ask(KNOWN[::-1], seed=1, editing=settings(steps=10, clamp=1.0)) > 0
    assert ask(KNOWN[::-1], seed=1, editing=settings(steps=10, clamp=1.0, layers=(1,), polish=3)) == 0


@pytest.mark.parametrize("stage", ["trace", "flips"])
def test_an_interruption_leaves_nothing(taught_llama: LM, tmp_path: Path, stage: str) -> None:
    before = snapshot(taught_llama)

    def interrupt(name: str, done: int, _total: int) -> None:
        if name == stage and done > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        locate(taught_llama, KNOWN, wanted(), cache=tmp_path, progress=interrupt)
    assert unchanged(taught_llama, before)
    assert not list(tmp_path.iterdir())
