"""Two revisions side by side: every fact is added, removed, replaced, moved or the same."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.compared import Comparison, compared
from agent.types import Asked, Fact, Revision
from tests.store.samples import NOW, fact, report

FACTS = st.lists(
    st.builds(fact, st.sampled_from("xyz"), subject=st.sampled_from("AB"), relation=st.sampled_from("rs")),
    unique_by=lambda one: (*one.key, one.object),
)


def revision(number: int, *facts: Fact, overlay: tuple[Fact, ...] = ()) -> Revision:
    return Revision(number, "base", f"delta {number}", facts, NOW, report(), overlay)


def asked(prompt: str, before: str, after: str) -> Asked:
    return Asked("question", ("A", "r"), prompt, (), before, after, False, False, True)


def triples(facts: tuple[Fact, ...]) -> set[tuple[str, str, str]]:
    return {(*one.key, one.object) for one in facts}


@given(FACTS, FACTS)
def test_the_differences_lead_from_one_to_the_other(first: list[Fact], second: list[Fact]) -> None:
    found = compared(revision(1, *first), revision(2, *second))
    old, new = (tuple(pair[side] for pair in found.replaced) for side in (0, 1))
    gone, came = triples((*found.removed, *old)), triples((*found.added, *new))
    assert (triples(tuple(first)) - gone) | came == triples(tuple(second))
    assert gone <= triples(tuple(first)) and came <= triples(tuple(second)) and not gone & came
    assert all(was.key == now.key and was.object != now.object for was, now in found.replaced)
    back = compared(revision(2, *second), revision(1, *first))
    assert set(back.added) == set(found.removed) and set(back.removed) == set(found.added)


@given(FACTS)
def test_a_revision_does_not_differ_from_itself(facts: list[Fact]) -> None:
    one = revision(1, *facts, overlay=tuple(facts[:1]))
    said = (asked("Q?", "a", "b"),)
    found = compared(one, one, said, said)
    assert found == replace(Comparison(), metrics=found.metrics, asked=1)
    assert all(a == b for a, b in found.metrics.values())


def test_a_fact_may_move_between_weights_and_overlay() -> None:
    one, other = fact("x"), fact("y", relation="capital")
    found = compared(revision(1, one, other, overlay=(one,)), revision(2, one, other, overlay=(other,)))
    assert found.moved == ((one, "overlay", "weights"), (other, "weights", "overlay"))
    assert not (found.added or found.removed or found.replaced)


def test_answers_are_compared_where_both_were_asked() -> None:
    first = (asked("same?", "a", "b"), asked("other?", "a", "b"), asked("only here?", "a", "b"))
    second = (asked("other?", "a", "c"), asked("same?", "z", "b"), asked("only there?", "a", "b"))
    found = compared(revision(1), revision(2), first, second)
    assert (found.asked, found.answers) == (2, (("other?", "b", "c"),))


@pytest.mark.parametrize("turned", [False, True])
def test_the_base_is_what_was_found_before(turned: bool) -> None:
    base = Revision(0, "", "", (), NOW)
    told = replace(report(), norms={"w": 0.5})
    later = replace(revision(3, fact()), report=told)
    said = (asked("Q?", "old", "new"), asked("P?", "same", "same"))
    found = compared(later, base, said) if turned else compared(base, later, (), said)
    assert found.answers == ((("Q?", "new", "old"),) if turned else (("Q?", "old", "new"),))
    assert found.metrics["efficacy"] == ((1.0, 0.0) if turned else (0.0, 1.0))
    assert found.norms == {"w": (0.5, 0.0) if turned else (0.0, 0.5)}


def test_what_only_one_side_measured_is_not_a_number_on_the_other() -> None:
    later = replace(revision(2), report=replace(report(), after={"drift": 0.25}))
    found = compared(revision(1), later)
    assert math.isnan(found.metrics["drift"][0]) and found.metrics["drift"][1] == 0.25
