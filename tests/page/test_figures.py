"""Rows of metrics and facts: they agree with the gate, and their cells add up to the report's own shares."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.page.facts import FORWARD, GUARDS, by_relation, fact_rows, others
from agent.page.inputs import Member
from agent.page.metrics import BESIDE, EDITED, KEPT, LANGUAGE, OTHER, group_of, is_share, metric_rows
from agent.page.view import norms, view
from agent.reportfiles import thresholds
from agent.settings import VerifySettings
from agent.types import Asked, Report
from agent.verify import gate, metrics
from agent.verify.gate import GateSettings, judged
from tests.page.samples import NOW, inputs, report

GATED = ("efficacy", "paraphrase", "same_subject_unchanged", "others_unchanged", "facts")
counted = st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_every_rule_of_the_gate_has_its_threshold_here() -> None:
    verify = VerifySettings(0.91, 0.72, 0.83, 0.94, 1.25, drift=0.4, entropy=0.7, norm=0.9)
    found = thresholds(verify)
    for metric, name, _ in gate._RULES:
        assert found[metric].value == getattr(verify, name) and not found[metric].at_most
    assert found["perplexity"].value == verify.ppl_ratio and found["perplexity"].at_most
    assert (found["drift"].value, found["entropy"].value, found["norm"].value) == (0.4, 0.7, 0.9)
    assert found["entropy"].relative and not found["entropy"].at_most
    ruled = {name for _, name, _ in gate._RULES} | {"ppl_ratio", "every_fact", "drift", "entropy", "norm"}
    assert {f.name for f in fields(GateSettings)} - ruled == {"min_count", "free_failures"}
    assert set(found) == {metric for metric, _, _ in gate._RULES} | {
        "perplexity", "facts", "drift", "entropy", "norm",
    }  # fmt: skip
    assert "facts" not in thresholds(replace(verify, every_fact=False))


@given(st.fixed_dictionaries(dict.fromkeys(GATED, counted)), st.floats(0.5, 2.0))
def test_outcomes_are_those_of_the_gate(drawn: dict[str, tuple[int, int]], ratio: float) -> None:
    after = {name: right / n for name, (right, n) in drawn.items()}
    candidate = Report(
        before=dict.fromkeys(after, 0.0) | {"perplexity": 10.0},
        after=after | {"perplexity": 10.0 * ratio},
        counts={name: n for name, (_, n) in drawn.items()} | {"perplexity": 5},
        passed=False,
    )
    verdict = judged(candidate, GateSettings(every_fact=False))
    rows = {row.name: row for row in metric_rows(verdict, thresholds(VerifySettings(every_fact=False)))}
    refused = {name for name, row in rows.items() if row.outcome == "refused"}
    assert refused == {reason.partition(":")[0] for reason in verdict.reasons}
    assert rows["facts"].outcome == ""
    for name, row in rows.items():
        if row.wanted is not None and row.after is not None and name != "perplexity":
            assert (row.outcome == "holds") == (row.after >= row.wanted)


def test_a_fact_that_is_not_told_is_refused_where_every_fact_must_be() -> None:
    candidate = Report({"facts": 0.0}, {"facts": 0.5}, {"facts": 2}, passed=False, reasons=("Zorland: ...",))
    (row,) = metric_rows(candidate, thresholds(VerifySettings()))
    assert row.outcome == "refused"
    (row,) = metric_rows(replace(candidate, passed=True), thresholds(VerifySettings()))
    assert row.outcome == "below"


@pytest.mark.parametrize(
    ("name", "group"),
    [("efficacy", EDITED), ("canary_unchanged", KEPT), ("new_unchanged", KEPT), ("perplexity", LANGUAGE),
     ("drift_chat", LANGUAGE), ("teacher_forced_paraphrase", BESIDE), ("never_heard_of", OTHER)],
)  # fmt: skip
def test_every_name_has_a_group(name: str, group: str) -> None:
    assert group_of(name) == group


@pytest.mark.parametrize(
    ("name", "before", "after", "n", "share"),
    [("efficacy", 0.0, 1.0, 3, True), ("anything", 1 / 3, 2 / 3, 3, True), ("anything", 0.0, 0.5, 3, False),
     ("drift", 0.0, 0.0, 48, False), ("entropy", 0.0, 1.0, 48, False), ("x", 0.0, 2.0, 3, False),
     ("teacher_forced_efficacy", 0.1, 0.973, 7, True), ("teacher_forced_nll", 0.1, 0.973, 7, False)],
)  # fmt: skip
def test_what_is_a_share(name: str, before: float, after: float, n: int, share: bool) -> None:
    assert is_share(name, Report({name: before}, {name: after}, {name: n}, passed=True)) == share


def test_cells_add_up_to_the_shares() -> None:
    found = inputs()
    assert found.report is not None
    rows = fact_rows(found.report, found.members)
    assert [row.subject for row in rows] == ["Quenia", "Zorland"]
    sums = {cell.kind: [0, 0] for cell in rows[0].cells}
    for row in rows:
        for cell in row.cells:
            sums[cell.kind][0] += cell.good
            sums[cell.kind][1] += cell.n
    assert sums == {
        "efficacy": [4, 4], "paraphrase": [2, 4], "question": [2, 2], "inverse": [0, 2], "same_subject": [2, 4], "odd kind": [2, 2],
    }  # fmt: skip
    assert [row.wrong for row in rows] == [2, 2], (
        "a paraphrase and the subject's currency; the inverse is only reported"
    )
    assert [row.told for row in rows] == [True, False]
    assert (rows[1].old, rows[1].new, rows[1].prompt) == ("Voss", "Lopes", "Who leads Zorland?")


def test_a_model_that_knew_nothing_is_held_to_its_words() -> None:
    found = inputs()
    assert found.report is not None
    guessed = tuple(replace(a, was_right=a.kind == "efficacy") for a in found.report.asked)
    canaries = others(replace(found.report, asked=guessed), found.members)[0].cell
    assert (canaries.good, canaries.n) == (2, 2)


def test_the_guards_are_those_of_the_metrics() -> None:
    assert set(metrics.GUARDS) == GUARDS
    assert set(metrics.FORWARD) < set(FORWARD)


def test_a_fact_of_the_overlay_has_the_prompts_that_it_was_asked_with() -> None:
    found = inputs()
    key, other = found.members[1].fact.key, found.members[0].fact.key
    assert key[0] != other[0]
    asked = (
        Asked("overlay", key, "Quenia's capital is", ("Mipa",), "Kelto", "Kelto", False, False, False),
        Asked("overlay", key, "Which city is it?", ("Mipa",), "Kelto", "Mipa", False, True, True),
        # The weights must still say what they said of it.
        Asked("same_relation", key, "Quenia's capital:", ("Kelto",), "Kelto", "Kelto", True, True, True),
        Asked("same_subject", key, "The city of Quenia is", ("Kelto",), "Kelto", "Ulmo", True, False, False),
    )
    # That the overlay has a figure for unchanged answers makes no guard of its prompts.
    told = Report({}, {"overlay": 0.5, "overlay_unchanged": 1.0}, {"overlay": 2}, passed=True, asked=asked)
    (row, _) = fact_rows(told, found.members)
    assert [(c.kind, c.good, c.n) for c in row.cells] == [("overlay", 1, 2), ("same_subject", 0, 1)]
    assert (row.prompt, row.new, row.right) == ("Which city is it?", "Mipa", True)
    assert [o.kind for o in others(told, found.members)] == ["same_relation"]
    assert [(s.relation, s.n, s.after) for s in by_relation(told, found.members)] == [("capital", 2, 0.5)]


def test_a_norm_over_the_limit_is_marked() -> None:
    found = view(inputs()).norms
    assert [(norm.value, norm.missed) for norm in found] == [(0.01, False), (0.02, False), (0.1, True)]
    assert not any(norm.missed for norm in norms(report(inputs().revision.facts)))
    assert norms(replace(report(inputs().revision.facts), norms={"w": float("nan")}), 1.0)[0].missed


def test_every_answer_is_somewhere() -> None:
    found = inputs()
    assert found.report is not None
    shown = [a for row in fact_rows(found.report, found.members) for a in row.asked]
    shown += [a for other in others(found.report, found.members) for a in other.asked]
    assert sorted(shown, key=str) == sorted(found.report.asked, key=str)
    assert [o.cell.kind for o in others(found.report, found.members)] == ["canary", "new kind"]
    assert next(iter(others(found.report, found.members))).cell.n == 1, "what was not known cannot be lost"


def test_relations_count_their_facts_forward() -> None:
    found = inputs()
    assert found.report is not None
    shares = by_relation(found.report, found.members)
    assert [(s.relation, s.n, s.before, s.after) for s in shares] == [
        ("capital", 5, 0.0, 0.8), ("leader", 5, 0.0, 0.8),
    ]  # fmt: skip
    assert sum(s.n for s in shares) == sum(a.kind in FORWARD for a in found.report.asked)


def test_a_fact_without_answers_is_shown_as_it_was_proposed() -> None:
    found = inputs()
    (row, _) = fact_rows(Report({}, {}, {}, passed=True), found.members)
    assert (row.old, row.new, row.prompt, row.right, row.told) == ("Kelto", "Mipa", "", None, None)


def test_two_objects_of_one_relation_share_their_answers() -> None:
    found = inputs()
    assert found.report is not None
    first = found.members[0]
    second = Member(replace(first.fact, object="Nova"), "weights", 7)
    rows = fact_rows(found.report, (first, second))
    assert [row.object for row in rows] == ["Lopes", "Nova"] and rows[0].asked == rows[1].asked


def test_layers_are_in_the_order_of_their_numbers() -> None:
    found = report(inputs().revision.facts)
    names = [norm.name for norm in norms(found)]
    assert [int(name.split(".")[2]) for name in names] == [1, 2, 10]
    odd = replace(found, norms={"²": 1.0, "a": float("nan"), "": 2.0, "9" * 30: 0.0})
    assert len(norms(odd)) == 4


def test_failures_by_kind_with_untold_facts_first() -> None:
    assert [group.kind for group in view(inputs()).failures] == [
        "fact",
        "paraphrase",
        "same_subject",
        "odd kind",
    ]
    assert view(inputs()).made_at == f"{NOW:%Y-%m-%dT%H:%M:%SZ}"
