from __future__ import annotations

from agent.store.db import Store
from agent.store.progress import Stage, log_skips, skips, stage_done, stages
from agent.types import Skip
from tests.store.samples import day


def test_the_last_reason_counts(store: Store) -> None:
    first = Skip("Borduria", "capital", "Klow", "one_voice", "one publisher", ("c1",))
    later = Skip("Borduria", "capital", "Klow", "current", "the model says so", ("c1", "c2"))
    other = Skip("Syldavia", "capital", "Klow", "current", "the model says so")
    log_skips(store, [first, other], day(1))
    log_skips(store, [later], day(2))
    assert skips(store) == (later, other)
    row = store.row("SELECT * FROM skip WHERE subject = 'Borduria'")
    assert row is not None
    assert (row["times"], row["first_at"] < row["last_at"]) == (2, True)


def test_stages_note_their_end(store: Store) -> None:
    stage_done(store, "fetch", day(1), {"new": 3})
    stage_done(store, "read", day(2))
    stage_done(store, "fetch", day(3), {"new": 0})
    assert stages(store) == (Stage("read", day(2), {}), Stage("fetch", day(3), {"new": 0}))
