"""Approved edits that want two answers to one prompt: told before anything is compiled, without a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.config import load
from agent.contradictions import contradicted
from agent.store import queue
from agent.types import EditRequest, Fact, Proposal
from agent.workshop import open_workshop
from tests.cli.conftest import CATALOGUE, RELATIONS

NOW = datetime(2026, 3, 1, tzinfo=UTC)
Approve = Callable[..., int]
Told = Callable[[], dict[int, str]]


@pytest.fixture
def told(tmp_path: Path) -> Iterator[tuple[Approve, Told]]:
    (tmp_path / "relations.yaml").write_text(RELATIONS)
    (tmp_path / "catalogue.yaml").write_text(CATALOGUE + "- {name: Old Mipa, kind: city, aliases: [Mipa]}\n")
    (tmp_path / "factd.yaml").write_text(
        "relations: relations.yaml\ncatalogue: [catalogue.yaml]\nmodel: {path: none}\n"
    )
    settings = load(tmp_path / "factd.yaml", state=tmp_path / "state", environ={})
    shop = open_workshop(settings, clock=lambda: NOW, create=True)

    def approve(subject: str, relation: str, object_: str, *prompts: str, days: int = 0) -> int:
        fact = Fact(subject, relation, object_, NOW - timedelta(days=days))
        request = EditRequest(subject, prompts, object_) if prompts else None
        made = queue.propose(shop.store, Proposal(0, fact, "pending", "a test"), now=NOW, request=request)
        queue.approve(shop.store, made.proposal.id, who="eva", now=NOW)
        return made.proposal.id

    with shop.store:
        yield approve, lambda: contradicted(shop, queue.proposals(shop.store, "approved"))


@pytest.mark.parametrize(
    "prompt", ["The leader of Quenia is", "Quenia's leader is", "Who is the premier of Quenia?"]
)
def test_an_edit_by_hand_against_any_wording_of_a_fact(told: tuple[Approve, Told], prompt: str) -> None:
    approve, found = told
    fact = approve("Quenia", "leader", "Voss")
    by_hand = approve("Quenia", "edit:1", "Merrow", prompt, days=1)
    assert found() == {by_hand: f"it contradicts proposal {fact}, by which 'Voss' answers {prompt!r}"}


def test_whichever_has_held_since_the_later_day_stands(told: tuple[Approve, Told]) -> None:
    approve, found = told
    fact = approve("Quenia", "leader", "Voss", days=3)
    by_hand = approve("Quenia", "edit:1", "Merrow", "Quenia's leader is", days=1)
    assert found() == {
        fact: f"it contradicts proposal {by_hand}, by which 'Merrow' answers \"Quenia's leader is\""
    }


def test_what_is_told_of_others_or_under_another_name_is_no_contradiction(told: tuple[Approve, Told]) -> None:
    approve, found = told
    approve("Tallisk", "capital", "Old Mipa")
    approve("Tallisk", "edit:1", "Mipa", "Tallisk's capital is")
    approve("Quenia", "edit:2", "Merrow", "The leader of Quenia is")
    approve("Bavoria", "leader", "Voss")
    approve("Quenia", "capital", "Ruvik")
    assert found() == {}
