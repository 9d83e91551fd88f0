from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import InputError
from agent.verify.ask import AskSettings, ask, majority, tokens_needed, verdict_of
from tests.verify.conftest import Pair, World, fact


def test_a_model_is_current_on_what_it_knows_and_stale_on_news(pair: Pair, world: World) -> None:
    facts = [fact("Lemuria", "leader", "Ila Reef"), pair.new, fact("Brink", "capital", "New Salt")]
    seen: list[tuple[int, int]] = []
    known, news, moved = ask(
        pair.before,
        facts,
        world.relations,
        world.catalogue,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert (known.verdict, known.majority) == ("current", "Ila Reef")
    assert (news.verdict, news.majority) == ("stale", "Doris Shoal")
    assert (moved.verdict, moved.majority) == ("stale", "Saint Salt")
    assert known.logp > -0.5 > news.logp
    assert seen[-1][0] == seen[-1][1] == sum(len(b.prompts) for b in (known, news, moved))


def test_what_was_learnt_is_current(pair: Pair, world: World) -> None:
    (belief,) = ask(pair.after, [pair.new], world.relations, world.catalogue)
    assert (belief.verdict, belief.majority) == ("current", "Ada Spray")
    assert len(belief.answers) == len(belief.prompts) == 5


def test_prompts_that_edit_are_never_asked(pair: Pair, world: World) -> None:
    """Lemuria's title makes a probe read like an edit prompt; the texts count, not the templates."""
    relation, entity = world.relations["leader"], world.catalogue.entity("Lemuria")
    (belief,) = ask(pair.before, [("Lemuria", "leader")], world.relations, world.catalogue)
    assert set(relation.prompts("edit", entity)) & set(relation.prompts("probes", entity))
    assert not set(relation.prompts("edit", entity)) & set(belief.prompts)


def test_a_bare_key_is_asked_with_nothing_to_hold_against_it(pair: Pair, world: World) -> None:
    (belief,) = ask(pair.before, [("Atlantis", "currency")], world.relations, world.catalogue)
    assert (belief.verdict, belief.majority) == ("current", "pearl")
    assert belief.logp > -0.5


def test_batching_changes_nothing(pair: Pair, world: World) -> None:
    facts = [fact(s, r, "Nobody") for s, r in world.catalogue.facts]
    one, many = (
        ask(pair.before, facts, world.relations, world.catalogue, settings=AskSettings(batch_size=size))
        for size in (1, 64)
    )
    assert [b.answers for b in one] == [b.answers for b in many]


def test_babble_about_something_unheard_of_is_unknown(pair: Pair, world: World) -> None:
    """With a threshold that nothing reaches, an answer counts only if the catalogue knows it."""
    strict = AskSettings(sure_logp=0.1)
    bare = type(world.catalogue)({}, {}, {}, {})
    (belief,) = ask(
        pair.before, [fact("Brink", "leader", "Ada Spray")], world.relations, bare, settings=strict
    )
    assert belief.verdict == "unknown"
    (belief,) = ask(pair.before, [fact("Brink", "leader", "Ada Spray")], world.relations, bare)
    assert (belief.verdict, belief.majority) == ("stale", "Otto Kelp")


def test_nothing_to_ask_and_unknown_relations(pair: Pair, world: World) -> None:
    assert ask(pair.before, [], world.relations, world.catalogue) == []
    with pytest.raises(InputError, match="'king' is not in the relations file"):
        ask(pair.before, [("Brink", "king")], world.relations, world.catalogue)


def test_long_names_get_the_tokens_they_need(pair: Pair) -> None:
    assert tokens_needed(pair.before, [], 12) == 12
    assert tokens_needed(pair.before, ["", "x", "Doris Shoal" * 4], 3) > 4
    assert tokens_needed(pair.before, ["Qyx " * 100], 3) == 40


objects = st.lists(st.sampled_from(["", "Mu", "Low Ebb", "Saint Salt"]), max_size=7)


@given(objects)
def test_a_majority_is_more_than_half_of_all_prompts(answers: list[str]) -> None:
    most = majority(answers)
    if most:
        assert answers.count(most) > len(answers) / 2
    else:
        assert all(answers.count(a) <= len(answers) / 2 for a in answers if a)


@given(objects, st.sampled_from(["Mu", "Low Ebb"]), st.booleans())
def test_verdicts(answers: list[str], wanted: str, plausible: bool) -> None:
    verdict, most = verdict_of(answers, wanted, plausible), majority(answers)
    assert (verdict == "current") == (most == wanted and plausible)
    assert (verdict == "stale") == (most not in ("", wanted) and plausible)
    assert (verdict == "divided") == (not most and len(set(answers) - {""}) > 1)


def test_no_object_has_no_log_probability(pair: Pair, world: World) -> None:
    bare = type(world.catalogue)({}, {}, {}, {})
    (belief,) = ask(pair.before, [("", "currency")], world.relations, bare)
    assert belief.majority or math.isnan(belief.logp)
