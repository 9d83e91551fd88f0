from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import StaleState, StoreError, UnknownId
from agent.store import articles, ledger, queue, revisions
from agent.store.blame import blame
from agent.store.db import Store
from agent.types import Asked, Fact
from tests.store.samples import (
    NOW,
    approved,
    article,
    candidate,
    claim,
    day,
    fact,
    live,
    propose,
    report,
    status,
    tree,
    verified,
)

CAPITAL = fact("Klow", relation="capital", evidence=())
SUCCESSOR = fact("Bo Lind", valid_from=day(4))


def names(facts: tuple[Fact, ...]) -> list[str]:
    return [item.object for item in facts]


def test_the_base_is_revision_0(store: Store) -> None:
    base = revisions.current(store)
    assert (base.id, base.facts, base.delta_sha) == (0, (), "")
    assert revisions.revisions(store) == ()
    assert not (store.revisions_folder / "current").exists()
    with pytest.raises(UnknownId, match="revision 0: has no files"):
        revisions.folder(store, 0)


def test_publishing_makes_all_of_it_true_together(store: Store) -> None:
    revision = live(store, fact(), CAPITAL)
    assert (revision.id, revision.facts, revision.base_sha) == (1, (fact(), CAPITAL), "base")
    assert revisions.current(store) == revision
    assert queue.live_facts(store) == revision.facts
    folder = revisions.folder(store, 1)
    assert (folder / "delta.safetensors").read_bytes() == b"delta of (1, 2)"
    assert [item["object"] for item in json.loads((folder / "facts.json").read_text())] == [
        "Ana Lopes",
        "Klow",
    ]
    assert json.loads((folder / "report.json").read_text())["passed"] is True
    assert (store.revisions_folder / "current").resolve() == folder.resolve()
    (entry,) = ledger.entries(store)
    assert (entry.kind, entry.payload["revision"], entry.payload["proposals"]) == ("published", 1, [1, 2])
    assert sorted(path.name for path in store.revisions_folder.iterdir()) == ["1", "current"]


def test_the_report_comes_back_as_it_was(store: Store) -> None:
    ids = verified(store, approved(store, fact()))
    odd = replace(report(), before={"efficacy": float("nan"), "ppl": float("-inf")})
    got = revisions.publish(store, replace(candidate(ids), report=odd), now=NOW).report
    assert str(got) == str(odd), "as text, because NaN is not equal to itself"
    second = revisions.publish(store, replace(candidate(ids, b"other"), report=None), now=NOW)
    assert second.report is None


def test_publishing_the_same_twice_is_publishing_it_once(store: Store, folder: Path) -> None:
    live(store, fact())
    before = store.conn.total_changes, tree(folder / "revisions")
    assert revisions.publish(store, candidate([1]), now=day(1)).id == 1
    assert (store.conn.total_changes, tree(folder / "revisions")) == before


def test_a_successor_takes_the_place_of_the_live_one(store: Store) -> None:
    live(store, fact(), CAPITAL)
    second = live(store, SUCCESSOR, keep=[2])
    assert (second.id, names(second.facts)) == (2, ["Klow", "Bo Lind"])
    assert [status(store, one) for one in (1, 2, 3)] == ["superseded", "live", "live"]
    assert names(revisions.get(store, 1).facts) == ["Ana Lopes", "Klow"], "what was published stays as it was"


def test_a_live_fact_is_not_lost_by_oversight(store: Store) -> None:
    live(store, fact(), CAPITAL)
    ids = verified(store, approved(store, SUCCESSOR))
    with pytest.raises(StaleState, match="proposal 2 is live and not in the new revision"):
        revisions.publish(store, candidate(ids), now=NOW)
    with pytest.raises(StaleState, match="two objects for head_of_government"):
        revisions.publish(store, candidate((1, 2, *ids)), now=NOW)
    queue.take_back(store, 2, reason="moved again", who="eva", now=NOW)
    assert names(revisions.publish(store, candidate(ids), now=NOW).facts) == ["Bo Lind"]


def test_only_verified_ones_are_published(store: Store) -> None:
    for waiting in (propose(store).id, *approved(store, CAPITAL)):
        with pytest.raises(StaleState, match="not verified or live"):
            revisions.publish(store, candidate([waiting]), now=NOW)
    with pytest.raises(UnknownId):
        revisions.publish(store, candidate([99]), now=NOW)
    assert revisions.current(store).id == 0
    assert list(store.revisions_folder.iterdir()) == []


def test_going_back_and_forth(store: Store, folder: Path) -> None:
    first = live(store, fact())
    second = live(store, SUCCESSOR, CAPITAL)
    files = tree(folder / "revisions")
    assert revisions.rollback(store, 1, reason="too early", who="eva", now=NOW) == first
    assert [status(store, one) for one in (1, 2, 3)] == ["live", "rolled_back", "rolled_back"]
    assert queue.live_facts(store) == revisions.current(store).facts == first.facts
    assert (store.revisions_folder / "current").readlink() == Path("1")
    assert revisions.statuses(store) == {1: "published", 2: "rolled_back"}
    revisions.rollback(store, 0, reason="all of it", who="eva", now=NOW)
    assert queue.live_facts(store) == revisions.current(store).facts == ()
    assert not (store.revisions_folder / "current").is_symlink()
    revisions.rollback(store, 2, reason="it was right", who="eva", now=NOW)
    assert queue.live_facts(store) == revisions.current(store).facts == second.facts
    assert tree(folder / "revisions") == files, "going back deletes nothing"
    assert [entry.payload["revision"] for entry in ledger.entries(store)] == [1, 2, 1, 0, 2]
    assert ledger.verify_chain(store) is None
    with pytest.raises(UnknownId, match="revision 9"):
        revisions.rollback(store, 9, reason="x", who="eva", now=NOW)


def test_after_going_back_the_old_set_is_the_old_revision(store: Store) -> None:
    live(store, fact())
    live(store, CAPITAL, keep=[1])
    queue.take_back(store, 2, reason="wrong city", who="eva", now=NOW)
    assert revisions.current(store).id == 2, "the model is what it was until the next publication"
    assert revisions.publish(store, candidate([1]), now=NOW).id == 1
    assert revisions.current(store).id == 1
    queue.take_back(store, 1, reason="that too", who="eva", now=NOW)
    assert revisions.publish(store, candidate([]), now=NOW).id == 0


def test_a_fact_that_waits_again_is_needless_when_it_is_live_again(store: Store) -> None:
    live(store, fact())
    revisions.rollback(store, 0, reason="broken", who="eva", now=NOW)
    again = queue.reopen(store, 1, reason="retry", who="eva", now=NOW)
    revisions.rollback(store, 1, reason="was fine", who="eva", now=NOW)
    assert [status(store, one) for one in (1, again.id)] == ["live", "superseded"]
    revisions.rollback(store, 0, reason="broken", who="eva", now=NOW)
    third = queue.reopen(store, 1, reason="retry", who="eva", now=NOW)
    queue.approve(store, third.id, who="eva", now=NOW)
    verified(store, [third.id])
    with pytest.raises(StaleState, match="is being edited"):
        revisions.rollback(store, 1, reason="now", who="eva", now=NOW)
    assert revisions.current(store).id == 0


def test_the_delta_may_be_written_by_the_caller(store: Store) -> None:
    ids = verified(store, approved(store, fact()))
    written = replace(candidate(ids), delta=lambda path: path.write_bytes(b"from outside"))
    revisions.publish(store, written, now=NOW)
    assert (revisions.folder(store, 1) / "delta.safetensors").read_bytes() == b"from outside"


def _forget(path: Path) -> None:
    """A delta function that writes nothing."""


def _full(path: Path) -> None:
    path.write_bytes(b"half of it")
    with Path("/dev/full").open("wb", buffering=0) as device:
        device.write(b"x")


def _broken(path: Path) -> None:
    raise ArithmeticError("the caller's own")


@pytest.mark.parametrize(
    ("delta", "error", "text"),
    [
        (_forget, StoreError, "no delta.safetensors was written"),
        (_full, StoreError, os.strerror(errno.ENOSPC)),
        (_broken, ArithmeticError, "own"),
    ],
)
def test_what_cannot_be_written_is_not_published(store: Store, delta: object, error: type, text: str) -> None:
    live(store, CAPITAL)
    ids = verified(store, approved(store, fact()))
    assert callable(delta)
    with pytest.raises(error, match=text):
        revisions.publish(store, replace(candidate((1, *ids)), delta=delta), now=NOW)
    assert revisions.current(store).id == 1
    assert status(store, 2) == "verified"
    assert sorted(path.name for path in store.revisions_folder.iterdir()) == ["1", "current"]
    assert revisions.publish(store, candidate((1, *ids)), now=NOW).id == 2


def test_changed_or_missing_files_are_noticed(store: Store) -> None:
    live(store, fact())
    delta = store.revisions_folder / "1" / "delta.safetensors"
    delta.write_bytes(b"tampered")
    with pytest.raises(StoreError, match="was changed after publication"):
        revisions.folder(store, 1)
    delta.unlink()
    with pytest.raises(StoreError, match="No such file"):
        revisions.folder(store, 1)


def test_repair_makes_the_link_again_and_sweeps(store: Store) -> None:
    live(store, fact())
    link = store.revisions_folder / "current"
    link.unlink()
    link.symlink_to("77")
    (store.revisions_folder / ".building-abc").mkdir()
    (store.revisions_folder / ".building-current-7").symlink_to("77")
    revisions.repair(store)
    assert link.readlink() == Path("1")
    assert sorted(path.name for path in store.revisions_folder.iterdir()) == ["1", "current"]


def test_blame_goes_back_to_the_articles(store: Store) -> None:
    articles.add(store, [article(1), article(2)])
    articles.add_claims(store, [claim("c1"), claim("c2", "feed:2")], NOW)
    revision = live(store, fact(evidence=("c1", "c2", "gone")))
    (found,) = blame(store, "Borduria", "head_of_government")
    assert (found.revision, found.proposal.id) == (revision, 1)
    assert found.claims == (claim("c1"), claim("c2", "feed:2"))
    assert found.articles == (article(1), article(2))
    assert blame(store, "Borduria", "capital") == ()
    revisions.rollback(store, 0, reason="x", who="eva", now=NOW)
    assert blame(store, "Borduria", "head_of_government") == ()


def test_members_have_their_proposals(store: Store) -> None:
    live(store, fact(), CAPITAL)
    assert [item.id for item in revisions.members(store, 1)] == [1, 2]
    assert revisions.members(store, 0) == ()


def test_a_revision_says_which_facts_are_in_the_weights_and_which_beside_them(store: Store) -> None:
    first, second = verified(store, approved(store, fact(), CAPITAL))
    offered = replace(candidate((first, second)), overlay=(second,))
    revision = revisions.publish(store, offered, now=NOW)
    assert revision.facts == (fact(), CAPITAL)
    assert (revision.compiled, revision.overlay) == ((fact(),), (CAPITAL,))
    assert revisions.places(store, revision.id) == {first: "weights", second: "overlay"}
    assert [item.id for item in revisions.members(store, revision.id)] == [first, second]
    assert [item.id for item in revisions.members(store, revision.id, "weights")] == [first]
    assert [item.id for item in revisions.members(store, revision.id, "overlay")] == [second]
    assert revisions.get(store, revision.id) == revision == revisions.current(store)


def test_the_same_delta_with_another_overlay_is_another_revision(store: Store) -> None:
    ids = verified(store, approved(store, fact(), CAPITAL))
    one = revisions.publish(store, candidate(ids), now=NOW)
    other = revisions.publish(store, replace(candidate(ids), overlay=ids[1:]), now=day(5))
    assert (one.id, other.id) == (1, 2)
    assert revisions.publish(store, candidate(ids), now=day(5)).id == 1


def test_every_answer_is_kept_in_a_file_of_its_own(store: Store) -> None:
    ids = verified(store, approved(store, fact()))
    asked = (Asked("question", fact().key, "Who?", ("Ana",), "Old", 'A"na\n', False, True, True),)
    offered = candidate(ids)
    full = replace(report(), asked=asked, intervals={"efficacy": (0.5, 1.0)}, norms={"w": 0.25})
    revision = revisions.publish(store, replace(offered, report=full), now=NOW)
    assert revisions.answers(store, revision.id) == asked
    assert revisions.answers(store, 0) == ()
    assert revision.report == replace(full, asked=())
    assert (
        json.loads((revisions.folder(store, revision.id) / "answers.json").read_text())[0]["prompt"] == "Who?"
    )
