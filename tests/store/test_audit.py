"""Whatever somebody changes behind our back is found, and named."""

from __future__ import annotations

import pytest

from agent.store import artefacts, keeping, revisions
from agent.store.audit import audit
from agent.store.db import Store
from tests.store.samples import NOW, approved, candidate, day, fact, live, verified

CAPITAL = fact("Klow", relation="capital")


def history(store: Store) -> None:
    """Three revisions, of which 1 has no weights, 2 is pinned and 3 is served, after going back and forth."""
    live(store, fact())
    live(store, CAPITAL, keep=[1])
    ids = verified(store, approved(store, fact("dorin", relation="currency")))
    revisions.publish(store, candidate((1, 2, *ids)), now=day(1))
    revisions.rollback(store, 2, reason="x", who="eva", now=day(2))
    revisions.rollback(store, 3, reason="y", who="eva", now=day(2))
    keeping.pin(store, 1, reason="x", who="eva", now=day(2))
    keeping.pin(store, 2, reason="x", who="eva", now=day(2))
    keeping.unpin(store, 1, who="eva", now=day(2))
    keeping.remove(store, [1], who="eva", now=day(3))


def found(store: Store) -> list[str]:
    return [f"{item.where}: {item.what}" for item in audit(store)]


def test_a_sound_state_has_no_findings(store: Store) -> None:
    assert audit(store) == ()
    history(store)
    assert audit(store) == ()
    keeping.restore(store, 1, candidate([1]).delta, who="eva", now=day(4))
    revisions.rollback(store, 0, reason="all of it", who="eva", now=NOW)
    assert audit(store) == ()


SQL = {
    "UPDATE revision SET base_sha = 'x' WHERE id = 2": "revision 2: base_sha is x, the ledger has base",
    "UPDATE revision SET settings_sha = 'x' WHERE id = 1": "revision 1: settings_sha is x",
    "UPDATE revision SET files = '{}' WHERE id = 3": "revision 3: the list of its files",
    "UPDATE revision SET facts = replace(facts, 'Klow', 'Rome')": "revision 2: its facts in the database",
    "UPDATE revision SET report = NULL WHERE id = 1": "revision 1: its report in the database",
    "DELETE FROM revision_fact WHERE proposal_id = 2 AND revision_id = 3": "revision 3: it holds the proposals [1, 3]",
    "UPDATE revision_fact SET place = 'overlay' WHERE revision_id = 1": "revision 1: its overlay holds",
    "UPDATE revision SET pinned_at = NULL": "revision 2: it is pinned in one of",
    "UPDATE revision SET removed_at = NULL": "revision 1: its weights are removed in one of",
    "UPDATE current_revision SET revision_id = 2": "the current revision: is 2, by the ledger it is 3",
}


@pytest.mark.parametrize("sql", SQL)
def test_a_changed_row_is_named(store: Store, sql: str) -> None:
    history(store)
    store.run(sql)
    assert found(store)[0].startswith(SQL[sql])


@pytest.mark.parametrize("name", [artefacts.DELTA, "facts.json", "report.json"])
def test_a_changed_or_missing_file_is_named(store: Store, name: str) -> None:
    history(store)
    path = store.revisions_folder / "2" / name
    path.write_bytes(path.read_bytes() + b" ")
    assert found(store) == [f"revision 2, {name}: was changed after publication"]
    path.unlink()
    assert found(store) == [f"revision 2, {name}: is missing"]
    path.mkdir()
    assert found(store) == [f"revision 2, {name}: is missing"]


def test_a_small_file_of_removed_weights_is_still_looked_at(store: Store) -> None:
    history(store)
    (store.revisions_folder / "1" / "facts.json").unlink()
    assert found(store) == ["revision 1, facts.json: is missing"]


def test_a_revision_that_nobody_published_is_named(store: Store) -> None:
    history(store)
    store.run(
        "INSERT INTO revision SELECT 4, 'i', base_sha, delta_sha, settings_sha, facts, report, files, status,"
        " created_at, NULL, '', NULL FROM revision WHERE id = 3"
    )
    assert found(store) == ["revision 4: is in the database and not in the ledger"]
    store.run("DROP TRIGGER revision_stays")
    store.run("PRAGMA foreign_keys = OFF")
    store.run("DELETE FROM revision WHERE id IN (2, 4)")
    assert found(store)[0] == "revision 2: is in the ledger and not in the database"


def test_a_changed_ledger_is_told_first_and_alone(store: Store) -> None:
    history(store)
    store.run("DROP TRIGGER ledger_fixed")
    store.run("UPDATE ledger SET payload = 'no json' WHERE seq = 4")
    (store.revisions_folder / "2" / "facts.json").unlink()
    (only,) = audit(store)
    assert only.where == "ledger row 4"


def test_a_wrong_link_is_named(store: Store) -> None:
    history(store)
    link = store.revisions_folder / "current"
    link.unlink()
    link.symlink_to("1")
    assert found(store)[0].startswith("the link revisions/current: points at 1, served is 3")
    revisions.repair(store)
    assert audit(store) == ()
