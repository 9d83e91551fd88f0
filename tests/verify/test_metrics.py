from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import InputError
from agent.types import Probe, ProbeKind
from agent.verify.gate import GateSettings, judged
from agent.verify.intervals import wilson
from agent.verify.metrics import accuracy, compare, facts_told, measure, unchanged
from agent.verify.probes import probe_set
from agent.verify.snapshot import Snapshot, snapshot
from tests.verify.conftest import TEXTS, Pair, World, fact

KINDS: tuple[ProbeKind, ...] = (
    "efficacy",
    "paraphrase",
    "question",
    "inverse",
    "same_subject",
    "same_relation",
    "canary",
)


def test_a_learnt_fact_passes_and_the_report_tells_before_from_after(pair: Pair, world: World) -> None:
    probes = probe_set([pair.new], world.relations, world.catalogue)
    before, after = (snapshot(lm, probes, TEXTS) for lm in (pair.before, pair.after))
    report = judged(compare(before, after, probes), GateSettings(ppl_ratio=3))
    assert report.passed, report.reasons
    assert report.before["efficacy"] == report.before["paraphrase"] == report.before["facts"] == 0
    assert report.after["efficacy"] == report.after["paraphrase"] == report.after["facts"] == 1
    assert (report.before["stale"], report.after["stale"]) == (1, 0)
    assert report.after["same_subject"] == report.after["others_unchanged"] == 1
    assert report.counts["efficacy"] == 2 and report.counts["perplexity"] == len(TEXTS)
    assert report.failures == ()
    assert [(b, a) for _, b, a in report.examples] == [("Doris Shoal", "Ada Spray")]


def test_an_edit_that_did_not_take_is_refused(pair: Pair, world: World) -> None:
    probes = probe_set([pair.new], world.relations, world.catalogue)
    before = snapshot(pair.before, probes, TEXTS)
    report = judged(compare(before, before, probes))
    assert not report.passed
    assert any(
        r.startswith("Atlantis, leader: ") and r.endswith("not answered with 'Ada Spray'")
        for r in report.reasons
    )
    (failure,) = [f for f in report.failures if f.kind == "fact"]
    assert (failure.fact_key, failure.got) == (pair.new.key, "Doris Shoal")


def test_damage_to_the_model_is_seen(pair: Pair, world: World) -> None:
    """The other way round: the model that learnt news is the base, and loses it."""
    probes = probe_set([fact("Lemuria", "capital", "Mu")], world.relations, world.catalogue, live=[pair.new])
    report = compare(snapshot(pair.after, probes), snapshot(pair.before, probes), probes)
    lost = [f for f in report.failures if f.fact_key == pair.new.key]
    assert lost and {(f.expected, f.got) for f in lost} == {("Ada Spray", "Doris Shoal")}
    assert report.after["others_unchanged"] < 1
    assert "perplexity" not in report.after


def test_measuring_is_snapshot_and_scoring(pair: Pair, world: World) -> None:
    probes = probe_set([pair.new], world.relations, world.catalogue)
    assert measure(pair.after, probes, batch_size=3) == accuracy(snapshot(pair.after, probes).answers, probes)
    with pytest.raises(InputError, match="at least one probe"):
        measure(pair.after, [])


def test_a_part_is_answered_like_the_whole(pair: Pair) -> None:
    """How long one name is changes nothing for the other probes; and all of a long name fits in."""
    short = Probe("canary", "The capital of Brink is", ("Saint Salt",))
    long = Probe(
        "canary", "The capital of Lemuria is", ("Mu", "The Most Serene and Ancient City of Mu upon the Deep")
    )
    seen: list[tuple[int, int]] = []
    both = snapshot(
        pair.before,
        [short, long, short],
        new_tokens=2,
        progress=lambda done, total: seen.append((done, total)),
    )
    for probe in (short, long):
        alone = snapshot(pair.before, [probe], new_tokens=2)
        assert alone.answers[probe.prompt] == both.answers[probe.prompt]
    assert accuracy(both.answers, [short, long]) == {"canary": (1, 2)}
    assert seen == [(1, 2), (2, 2)]


def test_a_prompt_that_was_not_asked_is_an_error() -> None:
    probe = Probe("canary", "Where?", ("Mu",))
    with pytest.raises(InputError, match="was not asked"):
        compare(Snapshot({}), Snapshot({}), [probe])


answers = st.sampled_from(["Mu", "Low Ebb", "babble here", ""])
cases = st.lists(st.tuples(st.sampled_from(KINDS), answers, answers), min_size=1, max_size=30)


def _made(rows: list[tuple[ProbeKind, str, str]]) -> tuple[list[Probe], Snapshot, Snapshot]:
    probes = [
        Probe(kind, f"prompt {i}", ("Mu",), (), (f"subject {i % 3}", "capital"))
        for i, (kind, _, _) in enumerate(rows)
    ]
    before, after = ({f"prompt {i}": row[side] for i, row in enumerate(rows)} for side in (1, 2))
    return probes, Snapshot(before), Snapshot(after)


@given(cases)
def test_scores_are_shares_of_the_probes(rows: list[tuple[ProbeKind, str, str]]) -> None:
    probes, before, after = _made(rows)
    rates = accuracy(after.answers, probes)
    assert sum(n for _, n in rates.values()) == len(probes)
    for kind, (share, n) in rates.items():
        assert round(share * n) == sum(k == kind and a == "Mu" for k, _, a in rows)
    assert all(share == 1 for share, _ in unchanged(before.answers, before.answers, probes).values())


@given(cases)
def test_every_wrong_probe_is_a_failure_and_no_right_one(rows: list[tuple[ProbeKind, str, str]]) -> None:
    """Of what must not change only answers that were right before, if there are any: another guess is no failure."""
    probes, before, after = _made(rows)
    report = compare(before, after, probes)
    failed = {f.prompt for f in report.failures}
    guards = [(old, new) for kind, old, new in rows if kind.startswith(("same", "can"))]
    known = any(old == "Mu" for old, _ in guards)
    for i, (kind, old, new) in enumerate(rows):
        guessed = kind.startswith(("same", "can")) and (old == new or (known and old != "Mu"))
        if new == "Mu" or kind == "inverse" or guessed:
            assert f"prompt {i}" not in failed
        else:
            assert f"prompt {i}" in failed
    untold = {key for key, told in facts_told(after.answers, probes).items() if not told}
    assert {f.fact_key for f in report.failures if f.kind == "fact"} == untold
    assert not report.passed


@given(cases)
def test_failed_facts_are_listed_whatever_the_limit(rows: list[tuple[ProbeKind, str, str]]) -> None:
    probes, before, after = _made(rows)
    full, short = (
        compare(before, after, probes),
        compare(before, after, probes, max_failures=0, max_examples=0),
    )
    assert short.failures == tuple(f for f in full.failures if f.kind == "fact")
    assert short.examples == ()


def test_what_is_right_now_counts_as_unchanged() -> None:
    probe = Probe("canary", "Where?", ("Mu",))
    wrong, right = {"Where?": "Low Ebb"}, {"Where?": "Mu"}
    assert unchanged(wrong, right, [probe])["others"] == (1, 1)
    assert unchanged(right, wrong, [probe])["canary"] == (0, 1)


@given(st.integers(0, 500), st.integers(1, 500))
def test_wilson_intervals_hold_the_share(right: int, n: int) -> None:
    right = min(right, n)
    low, high = wilson(right, n)
    assert 0 <= low <= right / n + 1e-9 and right / n - 1e-9 <= high <= 1
    wide_low, wide_high = wilson(right, n, z=3)
    assert wide_low <= low + 1e-9 and high <= wide_high + 1e-9


def test_wilson_as_published() -> None:
    low, high = wilson(8, 10)
    assert math.isclose(low, 0.490, abs_tol=1e-3) and math.isclose(high, 0.943, abs_tol=1e-3)
    assert wilson(0, 0) == (0.0, 1.0)


def test_a_fact_is_told_by_all_its_edit_prompts_and_half_of_its_paraphrases() -> None:
    def told(efficacy: str, paraphrase: str) -> bool:
        kinds = [*(("efficacy", c) for c in efficacy), *(("paraphrase", c) for c in paraphrase)]
        probes = [
            Probe(kind, f"{kind} {i}", ("Ada",), (), ("X", "leader")) for i, (kind, _) in enumerate(kinds)
        ]  # type: ignore[arg-type]
        answers = {f"{kind} {i}": "Ada" if c == "+" else "Bo" for i, (kind, c) in enumerate(kinds)}
        return facts_told(answers, probes)["X", "leader"]

    assert told("++", "++--") and told("+", "")
    assert not told("+-", "++++") and not told("++", "+---")


def test_a_guess_that_changes_is_no_damage() -> None:
    """Of two guarding probes the base answered one right: only that one can be forgotten."""
    known, guessed = (Probe("canary", p, ("Ada",), (), (p, "leader")) for p in ("known", "guessed"))
    before = {"known": "Ada", "guessed": "Bo"}
    assert unchanged(before, {"known": "Ada", "guessed": "Cy"}, [known, guessed])["others"] == (1, 1)
    assert unchanged(before, {"known": "Cy", "guessed": "Bo"}, [known, guessed])["others"] == (0, 1)
