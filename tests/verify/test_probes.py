from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from agent.catalogue import Catalogue, KnownFact
from agent.errors import InputError
from agent.verify.probes import ProbeSizes, edit_texts, overlay_probes, probe_set, probes_for
from tests.verify.conftest import World, fact

NEWS = fact("Atlantis", "leader", "Ada Spray")


def test_the_probes_of_one_fact(world: World) -> None:
    probes = probes_for(NEWS, world.relations["leader"], world.catalogue.entity("Atlantis"), world.catalogue)
    assert Counter(p.kind for p in probes) == {
        "efficacy": 2,
        "paraphrase": 3,
        "question": 2,
        "chat": 1,
        "inverse": 1,
    }
    for probe in probes:
        assert probe.fact_key == NEWS.key
        if probe.kind == "inverse":
            assert probe.prompt == "Ada Spray is the premier of"
            assert probe.expect == ("Atlantis", "ATL")
        else:
            assert "Atlantis" in probe.prompt
            assert probe.expect == ("Ada Spray", "Ada Spray-Marsh")
            assert probe.reject == ("Doris Shoal", "D. Shoal")


def test_what_holds_still_is_not_stale(world: World) -> None:
    same = fact("Atlantis", "leader", "Doris Shoal")
    probes = probes_for(same, world.relations["leader"], world.catalogue.entity("Atlantis"), world.catalogue)
    assert {p.reject for p in probes} == {()}


def test_no_prompt_edits_and_verifies(world: World) -> None:
    facts = [fact(s, r, "Ada Spray") for s, r in world.catalogue.facts]
    edits = edit_texts(facts, world.relations, world.catalogue)
    for tested in (facts, facts[:1], [fact("Lemuria", "leader", "Ada Spray")]):
        probes = probe_set(tested, world.relations, world.catalogue, live=facts)
        asked = Counter(probe.prompt for probe in probes)
        assert set(asked.values()) == {1}
        held_out = {probe.prompt for probe in probes if probe.kind != "efficacy"}
        assert held_out and not held_out & edits


def test_the_whole_set(world: World) -> None:
    probes = probe_set([NEWS], world.relations, world.catalogue)
    by_kind = Counter(probe.kind for probe in probes)
    assert by_kind["same_subject"] == 4
    assert by_kind["same_relation"] == 3
    for probe in probes:
        if probe.kind == "same_subject":
            assert probe.fact_key[0] == "Atlantis"
        if probe.kind == "same_relation":
            assert probe.fact_key[1] == "leader" and probe.fact_key[0] != "Atlantis"
        if probe.kind in ("same_subject", "same_relation", "canary"):
            assert probe.fact_key != NEWS.key
            assert probe.expect[0] == world.catalogue.facts[probe.fact_key].objects[0]


def test_live_facts_are_what_is_known(world: World) -> None:
    live = fact("Atlantis", "capital", "Saint Salt")
    fresh = fact("Atlantis", "anthem_free", "x")
    probes = probe_set([NEWS], world.relations, world.catalogue, live=[live])
    about = [p for p in probes if p.fact_key == live.key]
    assert about and {p.expect[0] for p in about} == {"Saint Salt"}
    with pytest.raises(InputError, match="anthem_free"):
        probe_set([fresh], world.relations, world.catalogue)


def test_the_same_seed_draws_the_same_and_another_draws_others(world: World) -> None:
    sizes = ProbeSizes(same_subject=1, same_relation=1, canary=3)
    first, again, other = (
        probe_set([NEWS], world.relations, world.catalogue, sizes=sizes, seed=seed) for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other
    bare = probe_set([NEWS], world.relations, world.catalogue, sizes=ProbeSizes(0, 0, 0))
    assert {p.kind for p in bare} == {"efficacy", "paraphrase", "question", "chat", "inverse", "portability"}
    with pytest.raises(InputError, match="zero or more"):
        ProbeSizes(canary=-1)


def test_a_larger_catalogue_moves_few_canaries(world: World) -> None:
    facts = {(f"C{i}", "capital"): KnownFact(f"C{i}", "capital", ("Mu",)) for i in range(200)}
    more = {**facts, ("D", "capital"): KnownFact("D", "capital", ("Mu",))}

    def canaries(known: dict[tuple[str, str], KnownFact]) -> set[str]:
        catalogue: Catalogue = replace(world.catalogue, facts=known)
        probes = probe_set([], world.relations, catalogue, sizes=ProbeSizes(canary=50))
        return {p.prompt for p in probes}

    assert len(canaries(facts)) == 50
    assert len(canaries(facts) - canaries(more)) <= 1


def test_a_question_is_also_a_turn_of_a_dialogue(world: World) -> None:
    probes = probe_set([NEWS], world.relations, world.catalogue)
    (chat,) = [probe for probe in probes if probe.kind == "chat"]
    first = next(probe.prompt for probe in probes if probe.kind == "question")
    assert chat.prompt == f"Question: {first}\nAnswer:"


def test_portability_describes_the_subject_by_the_new_object(world: World) -> None:
    """The named subject must not occur: the answer takes two steps. An object that describes two subjects describes none."""
    probes = [p for p in probe_set([NEWS], world.relations, world.catalogue) if p.kind == "portability"]
    assert [(p.prompt, p.expect[0]) for p in probes] == [
        ("The capital of the country led by Ada Spray is", "Poseidonis"),
        ("The currency of the country led by Ada Spray is the", "pearl"),
    ]
    assert not any("Atlantis" in probe.prompt for probe in probes)
    elsewhere = fact("Atlantis", "leader", "Ila Reef")
    assert not [
        p for p in probe_set([elsewhere], world.relations, world.catalogue) if p.kind == "portability"
    ]


def test_the_nearest_of_the_other_subjects_are_asked_first(world: World) -> None:
    sizes = ProbeSizes(same_subject=0, same_relation=1, canary=0)
    for nearest in ("Lemuria", "Brink", "Tidewater"):
        near = {"Lemuria": 0.1, "Brink": 0.2, "Tidewater": 0.3} | {nearest: 0.9}
        probes = probe_set([NEWS], world.relations, world.catalogue, sizes=sizes, near=near)
        assert [p.fact_key[0] for p in probes if p.kind == "same_relation"] == [nearest]


def test_the_overlay_is_asked_every_forward_prompt(world: World) -> None:
    probes = overlay_probes([NEWS, NEWS], world.relations, world.catalogue)
    own = probes_for(NEWS, world.relations["leader"], world.catalogue.entity("Atlantis"), world.catalogue)
    assert {p.kind for p in probes} == {"overlay"}
    assert [p.prompt for p in probes] == [
        p.prompt for p in own if p.kind in ("efficacy", "paraphrase", "question")
    ]
