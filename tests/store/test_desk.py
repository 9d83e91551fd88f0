"""What the review desk shows: pages in a fixed order, everything behind a proposal, a subject's history."""

from __future__ import annotations

import pytest

from agent.store import articles, desk, queue
from agent.store.db import Store
from agent.store.desk import Filter
from tests.store.samples import NOW, article, belief, claim, day, draft, fact, propose


def test_pages_hold_every_proposal_once_the_newest_fact_first(store: Store) -> None:
    with store.writing():
        for number in range(45):
            propose(store, fact(subject=f"S{number:02}", valid_from=day(number % 7)))
    pages = [desk.listed(store, Filter(), NOW, number) for number in (1, 2, 3)]
    assert [(len(p.items), p.total, p.last) for p in pages] == [(20, 45, 3), (20, 45, 3), (5, 45, 3)]
    shown = [p for page in pages for p in page.items]
    assert len({p.id for p in shown}) == 45
    assert shown == sorted(shown, key=lambda p: (p.fact.valid_from, p.id), reverse=True)
    assert tuple(p.id for p in shown) == desk.waiting(store, NOW)
    assert (
        desk.listed(store, Filter(), NOW, 99).number == 3
        and desk.listed(store, Filter(), NOW, -1).number == 1
    )


def test_filters_and_counts_agree(store: Store) -> None:
    one, two = propose(store), propose(store, fact("100% Marr", subject="Syldavia", relation="leader"))
    three = propose(store, fact("Quill", subject="Tallisk"))
    queue.approve(store, two.id, who="eva", now=NOW)
    queue.defer(store, three.id, day(2), who="eva", now=NOW)

    def ids(**given: str) -> list[int]:
        return [p.id for p in desk.listed(store, Filter(**given), NOW).items]

    assert ids() == [one.id] and ids(status="approved") == [two.id] and ids(status="deferred") == [three.id]
    assert ids(status="") == [three.id, two.id, one.id]
    assert ids(status="", relation="leader") == [two.id]
    assert ids(status="", text="LOPES") == [one.id] and ids(status="", text="100%") == [two.id]
    assert ids(status="", text="_") == [] and ids(status="nonsense") == []
    assert desk.counts(store, NOW) == {"due": 1, "deferred": 1, "approved": 1, "pending": 2}
    assert desk.relations(store) == ("head_of_government", "leader")
    assert desk.waiting(store, day(3)) == (three.id, one.id), "a deferred one comes back"


def test_a_case_has_all_that_a_decision_needs(store: Store) -> None:
    articles.add(store, [article()])
    articles.add_claims(store, [claim()], NOW)
    placed = queue.propose(store, draft(), now=NOW, belief=belief()).proposal
    rival = propose(store, fact("Ivo Marr", publishers=("c.example",), valid_from=day(1)))
    found = desk.case(store, placed.id)
    assert found.proposal == placed and found.belief == belief() and found.request is None
    assert found.claims == (claim(),) and found.cited == {"feed:1": article()}
    assert found.rivals == (rival,) and [e.target for e in found.events] == ["pending"]
    assert desk.evidence(store, "c1") == (claim(), article()) and desk.evidence(store, "c2") is None


def test_beliefs_events_and_a_subjects_history(store: Store) -> None:
    articles.add(store, [article()])
    articles.add_claims(store, [claim()], NOW)
    placed = queue.propose(store, draft(), now=NOW, belief=belief()).proposal
    queue.reject(store, placed.id, reason="a hoax", who="eva", now=day(1))
    [asked] = desk.beliefs(store).items
    assert (asked.proposal.id, asked.belief, asked.asked_at) == (placed.id, belief(), NOW)
    assert desk.beliefs(store, "nobody").total == 0
    assert [(h.event.target, h.event.reason) for h in desk.happened(store).items] == [
        ("rejected", "a hoax"), ("pending", "the model is stale"),
    ]  # fmt: skip
    [track] = desk.subject(store, "Borduria")
    assert track.relation == "head_of_government" and track.claims == (claim(),)
    assert [e.who for e in track.events] == ["factd", "eva"] and track.cited["feed:1"] == article()
    assert desk.subject(store, "Nowhere") == ()


@pytest.mark.parametrize("text", ["'; DROP TABLE proposal; --", "\\", "%", "zz\x00", "𝔛" * 500])
def test_search_words_are_only_words(store: Store, text: str) -> None:
    propose(store)
    assert desk.listed(store, Filter("", text=text), NOW).total == 0
