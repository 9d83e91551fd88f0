"""What `factd plan --explain` tells somebody who has never seen a code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import agent
from agent.cli.explain import CODES, skip_lines
from agent.paths import data_file
from agent.types import Fact, Proposal, Skip
from tests.store.samples import NOW

ROOT = Path(agent.__file__).parent
DECIDERS = ("decide", "choose", "eligible", "caps", "pipeline")


def codes_given() -> set[str]:
    """Every code that a decider gives: the word before the reason, wherever a Skip or a refusal is made."""
    found = set()
    for name in DECIDERS:
        for node in ast.walk(ast.parse((ROOT / f"{name}.py").read_text(encoding="utf-8"))):
            parts: list[ast.expr] = []
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("Skip", "skip", "Skip.of")):
                parts = node.args
            elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
                parts = node.value.elts[:1]
            words = [p.value for p in parts if isinstance(p, ast.Constant) and isinstance(p.value, str)]
            found |= {word for word in words if re.fullmatch(r"[a-z_]+", word)}
    return found


def test_every_code_has_a_meaning_and_no_meaning_is_left_over() -> None:
    """Those that are put together from a word: the kinds that are only listed, and the caps."""
    made = {"future", "hedged", "acting", "over_day", "over_relation", "over_subject"}
    assert len(codes_given()) > 12
    assert (codes_given() - {"day"}) | made == set(CODES)


def test_every_setting_that_is_named_exists() -> None:
    text = data_file("factd.yaml").read_text(encoding="utf-8")
    named = {key for _, remedy in CODES.values() for key in re.findall(r"policy\.(\w+)", remedy)}
    assert len(named) > 8
    for key in named - {"editable"}:
        assert re.search(rf"(?m)^  {key}:", text), key


def test_every_code_is_in_the_document() -> None:
    text = (ROOT.parent / "docs/trust.md").read_text(encoding="utf-8")
    assert [code for code in CODES if f"`{code}`" not in text] == []


def test_skips_stand_under_what_they_mean_and_both_sides_of_a_contradiction_together() -> None:
    both = "A says X, last on 01 June 2025; but B says Y, last on 02 June 2025; none is proposed"
    lines = skip_lines(
        [
            Skip("Japan", "ceo", "Z", "cool_off", "fresh"),
            Skip("Japan", "capital", "X", "contradiction", both),
            Skip("Japan", "capital", "Y", "contradiction", both),
            Skip("Chad", "capital", "", "unheard_of", "why not"),
        ]
    )
    assert lines[1].startswith("Publishers contradict each other") and lines[1].endswith(
        "(2) [contradiction]"
    )
    assert "policy.contest_days" in lines[2]
    assert lines[3] == f"  - Japan, capital, X or Y: {both}"
    assert lines[4:6] == ["", "Too fresh: corroborated, but not for long enough yet (1) [cool_off]"]
    assert lines[-2:] == ["unheard_of (1) [unheard_of]", "  - Chad, capital, ?: why not"]


def test_it_says_which_rule_approves_and_what_the_others_miss() -> None:
    from agent.approve import Ruling
    from agent.cli.run import _ruling_lines
    from agent.pipeline import Gathered

    new = [Proposal(i, Fact(f"S{i}", "ceo", "X", NOW), "pending", "") for i in (1, 2)]
    rulings = {
        1: Ruling("rule 1 (chiefs)", "3 publishers"),
        2: Ruling("", "rule 1 (chiefs) wants 3 publishers, has 2"),
    }
    assert _ruling_lines(Gathered((), 0, tuple(new), (), (new[0],), rulings=rulings))[2:] == [
        "  - S1, ceo, X: approved by rule 1 (chiefs): 3 publishers",
        "  - S2, ceo, X: waits for a person: rule 1 (chiefs) wants 3 publishers, has 2",
    ]
    assert _ruling_lines(Gathered((), 0, (), ())) == []
