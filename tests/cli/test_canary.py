"""The canary: a few facts go first; when they are refused the rest waits until a person says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.canary import held, objection, split
from agent.config import load
from agent.revise import apply
from agent.rounds import noted
from agent.store import queue, revisions, rounds
from agent.types import Proposal
from agent.workshop import Workshop, open_workshop
from tests.cli.conftest import World, write_settings
from tests.store.samples import approved, fact, propose

_SETTINGS = """
editing: {{layers: [0, 1], contexts: 0, steps: 30, samples: 30, sample_tokens: 12}}
verify: {{paraphrase: 0.0, same_subject: 0.0, others: 0.0, drift: 100.0, entropy: 0.0, norm: {norm:.10f}, ppl_ratio: 100.0}}
serve: {{overlay: "off"}}
policy: {{canary: {canary}}}
"""
WANTED = {"Zorland": "Kelto", "Quenia": "Ruvik", "Bavoria": "Sorna"}


@pytest.mark.parametrize(
    ("ids", "canary", "first", "rest"),
    [([3, 1, 2], 0, (1, 2, 3), ()), ([3, 1, 2], 3, (1, 2, 3), ()), ([3, 1, 2], 2, (1, 2), (3,)), ([], 5, (), ())],
)  # fmt: skip
def test_the_oldest_go_first_and_a_small_batch_goes_whole(
    ids: list[int], canary: int, first: tuple[int, ...], rest: tuple[int, ...]
) -> None:
    batch = [Proposal(i, fact(), "approved", "") for i in ids]
    assert tuple(tuple(p.id for p in part) for part in split(batch, canary)) == (first, rest)


def test_half_of_a_canary_must_get_in() -> None:
    assert [bool(objection(5, n)) for n in range(6)] == [True, True, True, False, False, False]
    assert objection(0, 0) == "" and objection(1, 1) == "" and "of the first 4 facts 1" in objection(4, 1)


@contextmanager
def shop(world: World, model: Path, *, norm: float, canary: int = 1) -> Iterator[Workshop]:
    write_settings(world.folder, model=str(model), more=_SETTINGS.format(norm=norm, canary=canary))
    made = open_workshop(load(world.settings, environ={}), create=True)
    with made.store:
        yield made


def facts() -> list[object]:
    return [fact(o, subject=s, relation="capital") for s, o in WANTED.items()]


def test_the_rest_follows_a_canary_that_came_through(bare: World, taught_folder: Path) -> None:
    with shop(bare, taught_folder, norm=100.0) as made:
        ids = approved(made.store, *facts())  # type: ignore[arg-type]
        done = apply(made)
        held_by = [[f.subject for f in r.facts] for r in revisions.revisions(made.store)]
        assert held_by == [["Zorland"], ["Zorland", "Quenia", "Bavoria"]]
        assert {p.id for p in done.added} == set(ids) and not done.held and not done.failed
        assert done.revision is not None and done.revision.id == 2
        assert held(made.store) is None


def test_a_refused_canary_holds_the_rest_until_a_person_says_so(bare: World, taught_folder: Path) -> None:
    with shop(bare, taught_folder, norm=1e-9) as made:
        ids = approved(made.store, *facts())  # type: ignore[arg-type]
        _, first = noted(made)
        assert first is not None and set(first.failed) == {ids[0]} and set(first.held) == set(ids[1:])
        assert revisions.current(made.store).id == 0
    got = bare.run("status")
    assert got.code == 1
    assert "problem: of the first 1 facts 0 got into the weights (policy.canary); 2 approved wait" in got.out
    with shop(bare, taught_folder, norm=100.0) as made:  # mended, but nobody has said so
        _, again = noted(made)
        assert again is None and [p.status for p in queue.proposals(made.store)] == [
            "failed",
            "approved",
            "approved",
        ]
        # A further proposal waits as well, and what else there is to do is done.
        queue.approve(made.store, propose(made.store, fact("Mipa", subject="Tallisk", relation="capital")).id,
                      who="eva", now=made.clock())  # fmt: skip
        done = apply(made)
        assert len(done.held) == 3 and done.added == ()
        assert [r.outcome for r in rounds.last(made.store, 9)] == ["ok", "ok"]
        went = apply(made, resume=True)
        assert {p.fact.subject for p in went.added} == {"Quenia", "Bavoria", "Tallisk"} and not went.held
        assert held(made.store) is None
    assert "problem" not in bare.run("status").out


def test_without_the_setting_an_old_refusal_holds_nothing(bare: World, taught_folder: Path) -> None:
    with shop(bare, taught_folder, norm=1e-9) as made:
        approved(made.store, *facts())  # type: ignore[arg-type]
        assert apply(made).held
    with shop(bare, taught_folder, norm=100.0, canary=0) as made:
        _, done = noted(made)
        assert done is not None and len(done.added) == 2
