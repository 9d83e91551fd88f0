"""Which revision is in the model: it follows the pointer, gives the base back, and lets nothing damaged in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.catalogue import load_catalogue
from agent.editing.delta import Delta, LowRank
from agent.errors import ModelError, StoreError, UnknownId
from agent.lm.generate import generate
from agent.lm.load import LM
from agent.relations import load_relations
from agent.serve import served as module
from agent.serve.served import Choice, Served
from agent.store.db import open_store
from agent.store.revisions import Candidate, members, publish, rollback
from tests.models import snapshot, unchanged
from tests.serve.conftest import ANSWERS, BESIDE, CAPITAL
from tests.store import samples


@contextmanager
def opened(lm: LM, folder: Path, fixed: int | None = None) -> Iterator[tuple[Served, list[str]]]:
    told: list[str] = []
    relations, catalogue = (
        load_relations(folder / "relations.yaml"),
        load_catalogue([folder / "catalogue.yaml"]),
    )
    served = Served(lm, Choice(folder / "state", fixed), relations, catalogue, told.append)
    try:
        served.open()
        yield served, told
    finally:
        served.close()


def point_at(folder: Path, revision: int) -> None:
    with open_store(folder / "state", samples.NOW) as store:
        rollback(store, revision, reason="test", who="eva", now=samples.NOW)


def says(lm: LM) -> str:
    return generate(lm, [CAPITAL], max_new_tokens=5)[0].strip().partition(".")[0]


def test_it_follows_the_pointer_and_gives_the_base_back(lm: LM, state: Path) -> None:
    before = snapshot(lm)
    with opened(lm, state) as (served, told):
        assert (served.current.id, says(lm), served.current.beside) == (2, "Tebbin", (BESIDE,))
        assert not served.is_due()
        for revision in (1, 0, 2, 1):
            point_at(state, revision)
            assert served.is_due()
            served.switch()
            assert (served.current.id, says(lm)) == (revision, ANSWERS[revision])
            assert served.current.beside == ((BESIDE,) if revision == 2 else ())
        assert not served.is_due()
        assert (told, served.problem) == ([], "")
    assert unchanged(lm, before)


def test_a_fixed_revision_stays(lm: LM, state: Path) -> None:
    with opened(lm, state, fixed=1) as (served, _):
        point_at(state, 0)
        assert not served.is_due()
        assert (served.current.id, says(lm)) == (1, "Sorna")
    with pytest.raises(UnknownId), opened(lm, state, fixed=9):
        pass


def test_the_base_needs_no_state(lm: LM, state: Path) -> None:
    relations, catalogue = (
        load_relations(state / "relations.yaml"),
        load_catalogue([state / "catalogue.yaml"]),
    )
    served = Served(lm, Choice(None, 0), relations, catalogue, print)
    served.open()
    assert (served.current.fingerprint, served.is_due()) == (f"factd-r0-{lm.sha[:12]}", False)
    served.close()


def test_a_damaged_revision_is_refused_and_the_old_one_goes_on(
    lm: LM, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = state / "state" / "revisions" / "1" / "delta.safetensors"
    whole = file.read_bytes()
    with opened(lm, state) as (served, told):
        file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        point_at(state, 1)
        assert served.is_due()
        served.switch()
        assert (served.current.id, says(lm)) == (2, "Tebbin")
        assert "revision 1 is refused, 2 is served still" in served.problem
        assert "was changed after publication" in served.problem
        assert not served.is_due()
        assert told == [f"warning: {served.problem}"]

        monkeypatch.setattr(module, "_AGAIN_S", 0.0)
        served.switch()
        assert len(told) == 1
        file.write_bytes(whole)
        assert served.is_due()
        served.switch()
        assert (served.current.id, says(lm), served.problem) == (1, "Sorna", "")
        assert told[1:] == ["revision 1 is served, all is well again"]


def test_a_refused_revision_that_is_taken_back_is_no_problem_any_more(lm: LM, state: Path) -> None:
    file = state / "state" / "revisions" / "1" / "delta.safetensors"
    file.write_bytes(b"")
    with opened(lm, state) as (served, told):
        point_at(state, 1)
        served.switch()
        assert served.problem
        point_at(state, 2)
        assert not served.is_due()
        assert (served.problem, len(told)) == ("", 2)


def test_a_revision_of_another_base_is_refused(lm: LM, state: Path, deltas: dict[int, Delta]) -> None:
    foreign = Delta(deltas[1].updates, "f" * 64)
    _publish(state, foreign)
    with pytest.raises(ModelError, match="made of the base ffffffff"), opened(lm, state):
        pass
    point_at(state, 2)
    with opened(lm, state) as (served, _):
        point_at(state, 3)
        served.switch()
        assert served.current.id == 2
        assert "revision 3 was made of the base ffffffff" in served.problem


def test_a_delta_that_does_not_fit_leaves_the_old_one_in(
    lm: LM, state: Path, deltas: dict[int, Delta]
) -> None:
    before = snapshot(lm)
    name, update = next(iter(deltas[1].updates.items()))
    other = LowRank(update.left.clone(), update.right.clone())
    _publish(state, Delta({name: update, "model.layers.99.mlp.down_proj.weight": other}, lm.sha))
    point_at(state, 2)
    with opened(lm, state) as (served, _):
        point_at(state, 3)
        served.switch()
        assert (served.current.id, says(lm)) == (2, "Tebbin")
        assert "no such weight" in served.problem
    assert unchanged(lm, before)


def test_a_state_that_cannot_be_read_stops_nothing(lm: LM, state: Path) -> None:
    with opened(lm, state) as (served, told):
        assert served._store is not None
        served._store.close()
        served._store = type(served._store)(state / "gone", _Broken())  # type: ignore[arg-type]
        assert not served.is_due()
        assert not served.is_due()
        assert (served.current.id, says(lm), len(told)) == (2, "Tebbin", 1)
        assert "the state cannot be read" in told[0]


def test_without_a_state_there_is_nothing_to_follow(lm: LM, state: Path, tmp_path: Path) -> None:
    (tmp_path / "empty" / "state").mkdir(parents=True)
    for name in ("relations.yaml", "catalogue.yaml"):
        (tmp_path / "empty" / name).write_bytes((state / name).read_bytes())
    with pytest.raises(StoreError, match=r"no factd\.db"), opened(lm, tmp_path / "empty"):
        pass


class _Broken:
    """A connection to a database on a disk that was pulled out."""

    def execute(self, *_: object) -> None:
        import sqlite3

        raise sqlite3.OperationalError("disk I/O error")

    def close(self) -> None:
        pass


def _publish(folder: Path, delta: Delta) -> None:
    """As revision 3, which holds what revision 2 does and one fact more."""
    with open_store(folder / "state", samples.NOW) as store:
        held = tuple(proposal.id for proposal in members(store, 2))
        ids = samples.verified(
            store, samples.approved(store, samples.fact("Oduya", subject="Bavoria", relation="leader"))
        )
        wanted = Candidate(delta.base_sha, delta.sha, "settings", (*held, *ids), delta.to_bytes())
        assert publish(store, wanted, now=samples.day(5)).id == 3
