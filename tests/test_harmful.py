"""A batch with edits that would do harm goes through the gate: the culprits stay out, the rest is published.

The same on the model that ships, with more ways to do harm: `python -m benchmarks.harmful`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.alone import guilty_alone
from agent.config import load
from agent.revise import Revised, apply
from agent.store import queue, revisions
from agent.types import EditRequest, Fact, FactKey, Proposal
from agent.workshop import Workshop, open_workshop
from benchmarks.harmful import complaints, scale_value
from tests.cli.conftest import CATALOGUE, RELATIONS

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SETTINGS = """
relations: relations.yaml
catalogue: [catalogue.yaml]
editing: {layers: [0, 1], contexts: 0, steps: 40, samples: 16, sample_tokens: 12, stop_loss: 0.01}
verify: {paraphrase: 0.0, same_subject: 0.5, others: 0.7, ppl_ratio: 100.0, drift: 100.0, entropy: 0.0, norm: 100.0}
policy: {cool_off_h: 0, max_age_days: null}
"""
GOOD = (Fact("Quenia", "capital", "Sorna", NOW), Fact("Bavoria", "leader", "Lind", NOW))
FIRST = Fact("Tallisk", "capital", "Mipa", NOW)
SECOND = EditRequest("Tallisk", ("The capital of Tallisk is",), "Ulmo")
LOUD = Fact("Zorland", "leader", "Quill", NOW)


@dataclass(frozen=True)
class Outcome:
    """What became of each proposal, by name: where it is live, else its status."""

    revised: Revised
    ended: dict[str, str]
    alone: dict[FactKey, str]


def _approve(shop: Workshop, fact: Fact, request: EditRequest | None = None) -> int:
    made = queue.propose(shop.store, Proposal(0, fact, "pending", "a test"), now=NOW, request=request)
    queue.approve(shop.store, made.proposal.id, who="eva", now=NOW)
    return made.proposal.id


@pytest.fixture(scope="module")
def outcome(taught_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    folder = tmp_path_factory.mktemp("harmful")
    (folder / "relations.yaml").write_text(RELATIONS)
    (folder / "catalogue.yaml").write_text(CATALOGUE)
    (folder / "factd.yaml").write_text(f"model: {{path: {taught_folder}, device: cpu}}\n{SETTINGS}")
    settings = load(folder / "factd.yaml", state=folder / "state", environ={})
    shop = open_workshop(settings, clock=lambda: NOW, create=True)
    with shop.store:
        names = {_approve(shop, fact): fact.subject for fact in GOOD}
        names[_approve(shop, FIRST)] = "first"
        names[_approve(shop, Fact("Tallisk", "edit:1", "Ulmo", NOW), SECOND)] = "second"
        loud = _approve(shop, LOUD)
        names[loud] = "loud"
        scale_value(shop, loud)
        strict = replace(shop, settings=replace(settings, verify=replace(settings.verify, others=0.97)))
        alone = guilty_alone(
            strict, shop.base(), [queue.get(shop.store, id_) for id_ in names if names[id_] != "second"]
        )
        revised = apply(shop)
        assert revised.revision is not None
        places = revisions.places(shop.store, revised.revision.id)
        yield Outcome(
            revised,
            {name: places.get(id_) or queue.get(shop.store, id_).status for id_, name in names.items()},
            alone,
        )


def test_the_rest_is_live_and_passes(outcome: Outcome) -> None:
    """So small a model does not hold every fact in its weights; what it refuses is told beside them."""
    places = [outcome.ended[name] for name in (*(fact.subject for fact in GOOD), "first")]
    assert set(places) <= {"weights", "overlay"} and "weights" in places, outcome
    assert outcome.revised.report is not None and outcome.revised.report.passed


def test_of_two_that_contradict_each_other_one_is_set_aside_and_names_the_other(outcome: Outcome) -> None:
    assert outcome.ended["second"] == "failed", outcome
    (why,) = outcome.revised.failed.values()
    assert "it contradicts proposal 3, by which 'Mipa' answers 'The capital of Tallisk is'" in why


def test_a_value_that_is_far_too_large_stays_out_of_the_weights(outcome: Outcome) -> None:
    assert outcome.ended["loud"] == "overlay", outcome


def test_by_itself_it_moves_what_others_say(outcome: Outcome) -> None:
    assert "tried by itself it changes what follows" in outcome.alone[LOUD.key]


def test_the_benchmark_complains_of_what_is_wrong() -> None:
    fine = {
        "a": "weights",
        "b": "overlay",
        "first": "weights",
        "same words": "failed",
        "other words": "failed",
        "new words": "failed",
    }
    fine |= {"misplaced": "failed", "too loud": "overlay"}
    assert complaints(fine, ["a", "b"], still=True) == []
    assert complaints(fine, ["a", "b"], still=False) == ["what was published fails verification"]
    for change in (
        {"misplaced": "weights"},
        {"too loud": "weights"},
        {"same words": "weights"},
        {"other words": "overlay"},
        {"new words": "weights"},
        {"a": "failed"},
        {"a": "overlay"},
    ):
        assert complaints({**fine, **change}, ["a", "b"], still=True), change
