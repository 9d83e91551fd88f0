"""What else is asked in the words of an edit that a person gave."""

from __future__ import annotations

import re

from agent.types import FactKey, Probe
from agent.verify.probes import known_facts
from agent.verify.sharing import sharing_probes
from tests.verify.conftest import World


def _probes(world: World, key: FactKey, count: int = 100, barred: tuple[str, ...] = ()) -> tuple[Probe, ...]:
    known = known_facts(world.relations, world.catalogue)
    return sharing_probes(key, known, world.relations, world.catalogue, count=count, barred=barred)


def test_a_subject_that_stands_in_other_prompts_is_asked_there(world: World) -> None:
    """An edit written at "premier of" answers for every country."""
    probes = _probes(world, ("premier of", "edit:1"))
    prompts = {probe.prompt for probe in probes}
    assert {
        "The premier of Brink is",
        "The premier of Tidewater is",
        "Who is the premier of Brink?",
    } <= prompts
    assert not any("Lemuria" in prompt for prompt in prompts), "whose head is not called so"
    assert {probe.kind for probe in probes} == {"same_subject"}
    assert {probe.fact_key for probe in probes} == {("premier of", "leader")}
    brink = next(probe for probe in probes if probe.prompt == "The premier of Brink is")
    assert brink.expect[0] == "Otto Kelp"


def test_whole_words_only_and_what_is_edited_is_not_asked(world: World) -> None:
    assert not _probes(world, ("premie", "edit:1"))
    barred = ("The premier of Brink is",)
    assert barred[0] not in {p.prompt for p in _probes(world, ("premier of", "edit:1"), barred=barred)}


def test_an_edit_of_a_known_subject_is_not_held_against_what_it_may_be_about(world: World) -> None:
    """By its own name or an alias."""
    assert not [p for p in _probes(world, ("Atlantis", "edit:1")) if re.search(r"\bAtlantis\b", p.prompt)]
    assert not [p for p in _probes(world, ("ATL", "edit:1")) if "Atlantis" in p.prompt]


def test_the_sample_is_bounded_and_steady(world: World) -> None:
    few = _probes(world, ("premier of", "edit:1"), count=3)
    assert len(few) == 3 and few == _probes(world, ("premier of", "edit:1"), count=3)
    assert set(few) <= set(_probes(world, ("premier of", "edit:1")))
