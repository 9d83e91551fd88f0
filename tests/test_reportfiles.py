"""The report's files: what the store has goes in, and they appear whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent.errors import InputError, StoreError, UnknownId, UsageError
from agent.reportfiles import HTML, JSON, fresh, kept, write
from agent.settings import Settings
from agent.store import leases, revisions
from agent.store.db import Store, open_store
from agent.types import Asked
from tests.page.parsed import parsed
from tests.page.samples import inputs
from tests.store import samples


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "state", samples.NOW, create_missing=True) as found:
        yield found


def asked(prompt: str) -> Asked:
    return Asked(
        "efficacy", samples.fact().key, prompt, ("Ana Lopes",), "Old Name", "Ana Lopes", False, True, True
    )


def publish(store: Store, *facts: str, keep: tuple[int, ...] = (), overlay: bool = False) -> None:
    """A revision of facts about these subjects, with answers kept; the last one in the overlay if wished."""
    new = samples.approved(store, *(samples.fact(subject=subject) for subject in facts))
    leases.begin_edit(store, new, owner=samples.OWNER, lease_s=600, now=samples.NOW)
    leases.mark_verified(store, new, owner=samples.OWNER, now=samples.NOW, reason="the weights refused it")
    report = replace(samples.report(), asked=(asked(f"Who leads {facts[0]}?"),), norms={"w": 0.5})
    found = replace(samples.candidate((*keep, *new)), report=report, overlay=new[-1:] if overlay else ())
    revisions.publish(store, found, now=samples.NOW + timedelta(days=len(keep)))


def test_what_was_kept_at_publication(store: Store) -> None:
    publish(store, "Borduria", "Syldavia", overlay=True)
    (failed,) = samples.approved(store, samples.fact(subject="Poldavia"))
    leases.begin_edit(store, (failed,), owner=samples.OWNER, lease_s=600, now=samples.NOW)
    leases.mark_failed(store, {failed: "nobody knows the name"}, owner=samples.OWNER, now=samples.NOW)
    found = kept(store, Settings(), samples.NOW)
    assert not found.fresh and found.status == "served" and found.report is not None
    assert [a.prompt for a in found.report.asked] == ["Who leads Borduria?"]
    assert [(m.fact.subject, m.place, m.note, m.said) for m in found.members] == [
        ("Borduria", "weights", "", "Old Name"),
        ("Syldavia", "overlay", "the weights refused it", "Old Name"),
    ]
    assert [(x.subject, x.reason) for x in found.left_out] == [("Poldavia", "nobody knows the name")]
    (past,) = found.history
    assert (past.id, past.status, past.weights, past.overlay) == (1, "served", 1, 1)
    assert past.after == {"efficacy": 1.0}, "an infinite metric is no figure to draw"
    assert found.settings["verify"]["efficacy"] == "0.95" and "memit" in found.settings["editing"].values()


def test_another_revision_than_the_served_one(store: Store) -> None:
    publish(store, "Borduria")
    publish(store, "Syldavia", keep=(1,))
    revisions.rollback(store, 1, reason="not yet", who="eva", now=samples.NOW)
    found = kept(store, Settings(), samples.NOW, 2)
    assert found.revision.id == 2 and found.status == "rolled back" and len(found.members) == 2
    assert [past.status for past in found.history] == ["served", "rolled back"]
    with pytest.raises(UnknownId, match="revision 9"):
        kept(store, Settings(), samples.NOW, 9)


def test_the_base_has_no_report(store: Store) -> None:
    publish(store, "Borduria")
    base = kept(store, Settings(), samples.NOW, 0)
    assert base.report is None and base.members == () and len(base.history) == 1
    again = fresh(store, Settings(), samples.NOW, base.revision, None, {"efficacy": (0.5, 1.0)})
    assert again.fresh and again.moved == {"efficacy": (0.5, 1.0)}


def test_changed_answers_are_refused(store: Store, tmp_path: Path) -> None:
    publish(store, "Borduria")
    file = store.revisions_folder / "1" / "answers.json"
    file.write_text(file.read_text().replace("Ana Lopes", "Somebody else"))
    with pytest.raises(StoreError, match="changed after publication"):
        kept(store, Settings(), samples.NOW)


def test_the_files_replace_those_that_are_there(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "new" / "folder"
    assert write(folder, inputs(passed=False)) == folder / HTML
    first = (folder / HTML).read_text()
    write(folder, inputs())
    assert (
        "Verification refused" in first and "Verification passed" in parsed((folder / HTML).read_text()).words
    )
    assert json.loads((folder / JSON).read_text())["outcome"] == "passed"
    assert sorted(path.name for path in folder.iterdir()) == [HTML, JSON]
    assert (folder / HTML).stat().st_mode & 0o777 == 0o644


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / HTML).mkdir()
    (tmp_path / HTML / "mine").write_text("x")
    with pytest.raises(InputError, match=r"report\.html: cannot be written"):
        write(tmp_path, inputs())
    assert (tmp_path / HTML / "mine").read_text() == "x" and sorted(
        path.name for path in tmp_path.iterdir()
    ) == [HTML, JSON]


@pytest.mark.parametrize("path", ["file", "file/below"])
def test_a_file_is_no_folder(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="name a"):
        write(tmp_path / path, inputs())
    assert (tmp_path / "file").read_text() == "mine"
