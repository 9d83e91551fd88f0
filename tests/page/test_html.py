"""The page: well-formed, whole, self-contained, and nothing that it is told becomes part of how it is built."""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agent.page
from agent.page.html import html, percent, plain, shown
from agent.page.inputs import Inputs
from agent.page.view import view
from agent.types import Report
from tests.page.parsed import Parsed, parsed
from tests.page.samples import METRICS, inputs

FOLDER = Path(agent.page.__file__).parent
CSS, JS = ((FOLDER / name).read_text() for name in ("report.css", "report.js"))
HOSTILE = (
    "<script>document.title='owned'</script>",
    "</title></style></script><img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt;&amp;amp;&#60;",
    "]]><!--",
    "\u202egnihtyna\u202c\u2066\u200b\u200f",
    "\x00\x1b]0;x\x07\x85\ufffe\U000e0041",
    "\ud800half\udfff",
    "שלום עולם",
    "Z\u0335\u0321\u0322" * 30 + "\u0301" * 500,
    "\u3164\u2800\u115f",
    "name " * 2000,
    "n" * 10_240,
    "a\r\n\tb\u2028c\u2029d\x0b",
    "",
)


def page(found: Inputs | None = None) -> str:
    return html(view(found or inputs()))


def skeleton(found: Parsed) -> Counter[str]:
    """The elements but for the spans that `shown` makes of odd characters, long and empty texts."""
    made = {"code", "cut", "nothing"}
    return Counter(
        tag
        for tag, attributes in found.elements
        if tag != "bdi" and not (tag == "span" and attributes.get("class") in made)
    )


@cache
def benign() -> Counter[str]:
    return skeleton(parsed(page()))


def test_it_is_well_formed_and_says_all() -> None:
    found = parsed(page())
    assert "Revision 3" in found.words and "Verification passed" in found.words
    for words in ("Zorland", "Lopes", "Voss", "the weights do not take it", "cannot be said", "rolled back"):
        assert words in found.words, words
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    assert {a["href"][1:] for a in found.all("a")} <= set(ids)


@pytest.mark.parametrize("name", [*METRICS, "odd metric"])
def test_every_metric_is_there_with_its_figures(name: str) -> None:
    row = next(r for r in view(inputs()).metrics if r.name == name)
    words = parsed(page()).words
    before, after, n, (low, high) = METRICS.get(name, (1.0, 2.5, 3, (2.0, 3.0)))
    said = [f"{v:.1%}" if row.share else f"{v:.4g}" for v in (before, after, low, high)]
    start = words.index(
        f" {name.replace('_', ' ')} {row.words}".rstrip() + " ", words.index("What was edited")
    )
    place = words[start : start + 400]
    for figure in (*said, str(n)):
        assert figure in place, (figure, place)


def test_teacher_forced_figures_stand_apart_and_are_marked() -> None:
    words = parsed(page()).words
    marked = words.index("Beside: teacher forcing")
    assert words.index("teacher forced efficacy", marked) > marked > words.index("perplexity")


def test_nothing_comes_from_elsewhere() -> None:
    text = page()
    found = parsed(text)
    for tag, attributes in found.elements:
        assert not any(
            name.startswith("on") or name in ("style", "src", "srcset", "action", "data")
            for name in attributes
        ), tag
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form", "image", "use"), tag
        href = attributes.get("href", "#")
        assert href.startswith("#"), href
    assert not re.search(r"https?:|//[a-z]|url\(|@import|@font-face|file:", text.replace(JS, "")), (
        "an address"
    )
    assert not re.search(r"fetch|XMLHttp|import|eval|innerHTML|location|cookie|Storage", JS)


def test_the_policy_comes_first_and_knows_our_style_and_script_alone() -> None:
    found = parsed(page())
    metas = found.all("meta")
    assert metas[0] == {"charset": "utf-8"} and metas[1]["http-equiv"] == "Content-Security-Policy"
    told = dict(part.split(" ", 1) for part in metas[1]["content"].split("; "))
    assert (
        told["default-src"] == "'none'" and told["base-uri"] == "'none'" and told["form-action"] == "'none'"
    )
    assert {tag: len(texts) for tag, texts in found.raw.items()} == {"style": 1, "script": 1}
    for tag, text in (("style", CSS), ("script", JS)):
        assert found.raw[tag] == [text]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert told[f"{tag}-src"] == f"'sha256-{digest}'"


def test_tables_have_headers_and_charts_have_titles() -> None:
    text = page()
    found = parsed(text)
    assert all(a.get("scope") in ("col", "row", "rowgroup") for a in found.all("th"))
    for attributes in found.all("svg"):
        assert (attributes.get("role") == "img") != (attributes.get("aria-hidden") == "true")
    assert text.count("<title>") == 1 + len([a for a in found.all("svg") if "role" in a])
    assert len(found.all("input")) == text.count("<label>")
    assert len(found.tables) >= 12 and all(len(set(rows)) == 1 for rows in found.tables), found.tables


@pytest.mark.parametrize("bad", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_words_change_nothing_but_words(bad: str) -> None:
    numbers: dict[str, int] = {}
    found = parsed(page(inputs(lambda text: f"{bad}{numbers.setdefault(text, len(numbers))}")))
    assert skeleton(found) == benign()
    _assert_visible(found)


@settings(max_examples=15, deadline=None)
@given(st.text(max_size=40), st.text(max_size=300))
def test_any_words_change_nothing_but_words(before: str, after: str) -> None:
    text = page(inputs(lambda text: f"{before}{text}{after}"))
    found = parsed(text)
    assert skeleton(found) == benign()
    text.encode("utf-8")
    _assert_visible(found)


@given(st.text())
def test_shown_is_one_line_that_hides_nothing(text: str) -> None:
    found = parsed(shown(text, 1000))
    _assert_visible(found)
    line = " ".join(text.split())
    if not any(unicodedata.category(c) in ("Mn", "Me") for c in line):
        expected = "".join(c if _is_plain(c) else f"U+{ord(c):04X}" for c in line)
        assert "".join(found.text) == (expected or "(nothing)")
    assert all(_is_plain(c) for c in plain(text, 1000))


def test_long_words_are_cut_and_say_so() -> None:
    said = "".join(parsed(shown("n" * 10_240)).text)
    assert said.startswith("nnn") and said.endswith("… 10,240 characters") and len(said) < 200
    assert "".join(parsed(shown("a" + "\u0301" * 500)).text).count("\u0301") == 4
    assert "".join(parsed(shown(" \n ")).text) == "(nothing)"


@pytest.mark.parametrize(
    ("share", "said"),
    [(1.0, "100.0%"), (0.0, "0.0%"), (0.9999, "99.9%"), (0.00001, "< 0.1%"), (0.955, "95.5%"), (None, "–")],
)
def test_only_all_is_100_and_only_nothing_is_0(share: float | None, said: str) -> None:
    assert percent(share) == said


def test_a_refusal_says_why_in_words() -> None:
    words = parsed(page(inputs(passed=False))).words
    assert "Verification refused" in words and "50.0% of 2, 90.0% wanted" in words
    assert "✗ missed" in words and "missed, let pass" in words


def test_pages_of_nothing() -> None:
    full = inputs()
    bare = replace(full, report=None, members=(), left_out=(), history=(), settings={}, moved={}, fresh=False)
    assert "No report was kept" in parsed(page(bare)).words
    base = replace(bare, revision=replace(full.revision, id=0, base_sha="", delta_sha="", facts=()))
    assert "Nothing to verify: the base model" in parsed(page(base)).words
    empty = replace(bare, report=Report({}, {}, {}, passed=False, reasons=("nothing was asked",)))
    assert "nothing was asked" in parsed(page(empty)).words
    odd = Report(
        {"perplexity": float("nan")}, {"perplexity": float("inf"), "x": float("-inf")}, {}, passed=False
    )
    assert "perplexity" in parsed(page(replace(bare, report=odd, members=full.members))).words


def test_the_same_report_gives_the_same_page() -> None:
    assert page() == page()


def _assert_visible(found: Parsed) -> None:
    for _, attributes in found.elements:
        assert all(map(_is_plain, "".join(attributes.values())))
    assert all(_is_plain(c) or c == "\n" for c in "".join(found.text))


def _is_plain(c: str) -> bool:
    odd = (
        unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
        or c in "\u115f\u1160\u2800\u3164\uffa0"
    )
    return not odd and ord(c) & 0xFFFE != 0xFFFE and not 0xFDD0 <= ord(c) <= 0xFDEF
