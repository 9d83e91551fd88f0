"""Rounds are remembered: their number, their end, how many failed in a row, and those whose process was killed."""

from __future__ import annotations

from datetime import timedelta

from agent.store import rounds
from agent.store.db import Store
from agent.store.rounds import End, Round
from tests.store.samples import NOW, day


def test_a_round_is_noted_with_what_it_found(store: Store) -> None:
    number = rounds.begin(store, NOW)
    assert rounds.last(store) == (Round(number, NOW, None, "running"),)
    done = End("ok", 4.5, "all well", day(1), {"polled": 3})
    rounds.end(store, number, done, NOW + timedelta(seconds=5))
    (noted,) = rounds.last(store)
    assert (noted.outcome, noted.took_s, noted.errors, noted.message) == ("ok", 4.5, 0, "all well")
    assert (noted.next_at, noted.counts) == (day(1), {"polled": 3})
    assert rounds.last_good(store) == noted


def test_errors_are_counted_in_a_row_and_a_stop_is_none(store: Store) -> None:
    seen = []
    for outcome in ("error", "error", "stopped", "error", "ok", "error"):
        number = rounds.begin(store, NOW)
        rounds.end(store, number, End(outcome, 1.0, "why"), NOW)  # type: ignore[arg-type]
        seen.append(rounds.last(store)[0].errors)
    assert seen == [1, 2, 2, 3, 0, 1]
    assert rounds.errors_before(store) == 1


def test_a_killed_round_is_lost_and_counts(store: Store) -> None:
    first = rounds.begin(store, NOW)
    assert rounds.lost_in_a_row(store) == 1
    second = rounds.begin(store, NOW)
    third = rounds.begin(store, NOW)
    assert [(r.id, r.outcome, r.errors) for r in rounds.last(store, 5)] == [
        (third, "running", 2), (second, "lost", 2), (first, "lost", 1),
    ]  # fmt: skip
    assert rounds.lost_in_a_row(store) == 3
    rounds.end(store, third, End("ok", 1.0), NOW)
    assert (rounds.lost_in_a_row(store), rounds.errors_before(store)) == (0, 0)


def test_the_newest_is_the_last_begun_whatever_the_clock_said(store: Store) -> None:
    for at in (day(400), NOW):
        rounds.end(store, rounds.begin(store, at), End("ok", 1.0, str(at)), at)
    good = rounds.last_good(store)
    assert good is not None and good.started_at == NOW


def test_old_rounds_are_removed_and_numbers_go_on(store: Store) -> None:
    store.run("INSERT INTO sqlite_sequence VALUES ('round', ?)", (rounds.KEPT,))
    store.run("INSERT INTO round VALUES (1, ?, NULL, 'ok', 0, 0, NULL, '', '{}')", (str(NOW),))
    assert rounds.begin(store, NOW) == rounds.KEPT + 1
    assert [r.id for r in rounds.last(store, 9)] == [rounds.KEPT + 1]
