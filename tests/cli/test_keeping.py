"""`factd revisions pin`, `unpin`, `gc`, `factd revert` and `factd audit` on a state without a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.store import artefacts, ledger, published, queue, revisions
from agent.store.lock import worker_lock
from tests.cli.conftest import World
from tests.store import samples


@pytest.fixture
def seven(world: World) -> World:
    """Revisions 1 to 7, each with one fact more."""
    with world.store() as store:
        for number in range(2, 8):
            samples.live(
                store,
                samples.fact("X", subject=f"Land {number}"),
                keep=[p.id for p in queue.proposals(store, "live")],
            )
    return world


def weights(world: World) -> list[int]:
    return sorted(int(path.parent.name) for path in world.state.glob(f"revisions/[0-9]*/{artefacts.DELTA}"))


def test_gc_says_what_it_would_remove_and_removes_it(seven: World) -> None:
    assert seven.run("revisions", "pin", 1, "--reason", "shown to the board").code == 0
    dry = seven.run("revisions", "gc", "--dry-run")
    size = len("delta of (4, 5)")
    assert (dry.code, dry.out.splitlines()[-1]) == (
        0,
        f"{size} bytes would be freed: the weights of 1 revision",
    )
    assert weights(seven) == [1, 2, 3, 4, 5, 6, 7]
    assert seven.run("revisions", "gc").code == 2, "there is no terminal to ask on"
    assert weights(seven) == [1, 2, 3, 4, 5, 6, 7]
    done = seven.run("revisions", "gc", "--yes", "--json")
    assert done.json["removed"] == [{"id": 2, "bytes": size}] and done.json["bytes"] == size
    assert weights(seven) == [1, 3, 4, 5, 6, 7]
    assert seven.run("revisions", "gc", "--yes").out == "nothing to remove\n"
    assert (
        seven.run("revisions", "gc", "--keep", 0, "--older-than", 99999, "--yes").out == "nothing to remove\n"
    )
    seven.run("revisions", "unpin", 1)
    assert seven.run("revisions", "gc", "--keep", 0, "--yes").code == 0
    assert weights(seven) == [7]
    listed = seven.run("revisions")
    assert listed.out.count("published, weights removed") == 6
    assert seven.run("audit", "verify").code == 0


def test_going_back_to_removed_weights_names_the_way(seven: World) -> None:
    seven.run("revisions", "gc", "--keep", 1, "--yes")
    back = seven.run("rollback", 2, "--reason", "x")
    assert back.code == 1 and "`factd revisions rebuild 2`" in back.err
    with seven.store() as store:
        assert revisions.current(store).id == 7
    shown = seven.run("revisions", "show", 2)
    assert "`factd revisions rebuild 2`" in shown.out
    assert [line.split()[1] for line in shown.out.splitlines() if line.startswith(artefacts.DELTA)] == [
        "missing"
    ]


def test_a_pin_is_shown_and_needs_a_reason(seven: World) -> None:
    assert seven.run("revisions", "pin", 3).code == 2
    assert seven.run("revisions", "unpin", 3).code == 1
    assert seven.run("revisions", "pin", 3, "--reason", "a \x1b[2Jtrial").code == 0
    assert "published, pinned" in seven.run("revisions").out
    assert ": a [2Jtrial" in seven.run("revisions", "show", 3).out
    found = seven.run("revisions", "show", 3, "--json").json
    assert found["pinned_at"] and found["pin_reason"] == "a \x1b[2Jtrial"


def test_gc_waits_for_nobody_who_works(seven: World) -> None:
    with worker_lock(seven.state):
        assert seven.run("revisions", "gc", "--keep", 1, "--yes").code == 6
    assert weights(seven) == [1, 2, 3, 4, 5, 6, 7]


def test_a_fact_is_taken_back_by_name_or_number(seven: World) -> None:
    assert seven.run("revert", "Tallisk", "capital").code == 2, "without a reason"
    taken = seven.run("revert", "tallisk", "capital", "--reason", "a hoax", "--json")
    assert (taken.code, taken.json["proposal"]["id"], taken.json["proposal"]["status"]) == (
        0,
        4,
        "rolled_back",
    )
    assert seven.run("revert", "5", "--reason", "that too").code == 0
    with seven.store() as store:
        assert [queue.events(store, i)[-1].reason for i in (4, 5)] == ["a hoax", "that too"]
        assert revisions.current(store).id == 7, "the model is served as before"
    for words in (["Tallisk", "capital"], ["4"], ["1"], ["99"], ["Zorland", "leader"]):
        assert seven.run("revert", *words, "--reason", "x").code == 1, words
    assert seven.run("revert", "Tallisk", "--reason", "x").code == 2


def test_an_alias_is_a_name_too(world: World) -> None:
    with world.store() as store:
        samples.live(store, samples.fact("Kelto", subject="Zorland", relation="capital"), keep=[4])
    assert (
        world.run("revert", "the Zor", "capital", "--reason", "x", "--json").json["proposal"]["object"]
        == "Kelto"
    )


def test_what_was_replaced_is_named(world: World) -> None:
    with world.store() as store:
        samples.live(
            store, samples.fact("Sorna", subject="Tallisk", relation="capital", valid_from=samples.day(1))
        )
    taken = world.run("revert", "Tallisk", "capital", "--reason", "x")
    assert "factd queue add --subject 'Tallisk' --relation capital --object 'Nova'" in taken.err


def test_several_facts_of_a_key_want_a_number(world: World) -> None:
    with world.store() as store:
        several = [samples.fact(name, subject="Mipa", relation="member") for name in ("Ana", "Bo")]
        ids = [samples.propose(store, one, single=False).id for one in several]
        for proposal_id in ids:
            queue.approve(store, proposal_id, who="eva", now=samples.NOW)
        revisions.publish(store, samples.candidate((4, *samples.verified(store, ids))), now=samples.NOW)
    refused = world.run("revert", "Mipa", "member", "--reason", "x")
    assert refused.code == 1 and f"{ids[0]} (Ana), {ids[1]} (Bo)" in refused.err
    assert world.run("revert", ids[1], "--reason", "x").code == 0


def test_a_sound_state_is_told_with_its_head(seven: World) -> None:
    sound = seven.run("audit", "verify")
    with seven.store() as store:
        count, seal = ledger.head(store)
    assert sound.out.splitlines() == [f"sound: {count} ledger rows, 7 revisions", f"head {seal}"]


def test_what_was_changed_is_named_and_ends_with_1(seven: World) -> None:
    path: Path = seven.state / "revisions" / "3" / "facts.json"
    path.write_text(path.read_text().replace("Nova", "Rome"))
    (seven.state / "revisions" / "5" / artefacts.DELTA).unlink()
    broken = seven.run("audit", "verify")
    assert (broken.code, broken.out) == (1, "")
    assert broken.err.splitlines() == [
        "also: revision 5, delta.safetensors: is missing",
        "error: revision 3, facts.json: was changed after publication",
    ]
    found = seven.run("audit", "verify", "--json")
    assert found.code == 1 and not found.json["sound"]
    assert [one["where"] for one in found.json["findings"]] == [
        "revision 3, facts.json",
        "revision 5, delta.safetensors",
    ]
    with seven.store() as store:
        store.run("DROP TRIGGER ledger_fixed")
        store.run("UPDATE ledger SET payload = replace(payload, 'settings', 'x') WHERE seq = 4")
    assert seven.run("audit", "verify").err.startswith("error: ledger row 4: was changed")


def test_the_ledger_is_listed(seven: World) -> None:
    seven.run("revisions", "pin", 1, "--reason", "the \x1b[2Jboard")
    lines = seven.run("audit", "log").out.splitlines()
    assert len(lines) == 9 and "\x1b" not in "".join(lines)
    assert lines[1].split()[3:5] == ["published", "1"] and "reason the [2Jboard" in lines[-1]
    entries = seven.run("audit", "log", "--json").json["entries"]
    assert [e["seq"] for e in entries] == list(range(1, 9))
    assert entries[3]["prev"] == entries[2]["hash"]
    with seven.store() as store:
        assert published.keeping(store, 1).pin_reason == entries[-1]["payload"]["reason"]
