"""What feeds say reaches a terminal as text only: every string of the list, through a feed into the state and out of each command."""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import replace
from typing import Any

import pytest

from agent.cli import text as cli_text
from agent.cli.text import emit, err, out, safe_text, table
from agent.sources.body import parse_body
from agent.sources.items import Context
from agent.store import articles, queue
from agent.types import Fact, SourceSpec
from tests.cli.conftest import World
from tests.security.lists import cases, ids
from tests.store import samples

STRINGS = cases("strings")
# What no line of ours may hold. The tab and the line break are ours alone.
UNFIT = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def unfit(printed: str) -> str:
    """What is left in `printed` that steers a terminal; "" when nothing is."""
    return ascii("".join(c for c in printed if c != "\n" and unicodedata.category(c) in UNFIT))[1:-1]


def got_through(case: dict[str, Any], capture: pytest.CaptureFixture[str]) -> str:
    """By each way to the terminal that a command has; "" when every one held."""
    text = case["text"]
    capture.readouterr()
    out(text)
    err(text)
    for line in table(("a", text), [(text, text)], width=None):
        out(line)
    emit({"text": text, text: [text]})
    printed = capture.readouterr()
    lines = printed.out.splitlines()
    wrong = unfit(printed.out) or unfit(printed.err)
    if not wrong and (len(printed.err.splitlines()) != 1 or lines[0] != printed.err.rstrip("\n")):
        wrong = "more lines than were printed"
    if not wrong and case.get("markup") and "\\[" not in cli_text.safe_text(text, markup=True):
        wrong = "markup"
    return wrong


@pytest.mark.parametrize("case", STRINGS, ids=ids(STRINGS))
def test_no_string_steers_the_terminal(case: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert got_through(case, capsys) == ""


@pytest.mark.parametrize("case", STRINGS, ids=ids(STRINGS))
def test_nor_does_it_stay_in_an_article(case: dict[str, Any]) -> None:
    """What was read is clean before it is stored: names are compared, and models are asked with them."""
    text = html.escape(re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f]", lambda c: f"&#{ord(c[0])};", case["text"]))
    item = f"<item><guid>{text}</guid><title>{text}</title><description>{text}</description></item>"
    body = f"<rss version='2.0'><channel><title>{text}</title>{item}</channel></rss>".encode()
    context = Context(SourceSpec("x", "https://paper.example/feed"), samples.NOW)
    for article in parse_body(body, context).articles:
        assert unfit(article.title + article.publisher + article.url + article.text) == ""


def test_no_command_lets_one_through(world: World) -> None:
    """All strings at once as the subject, the object, the title, the publisher and the sentence of a proposal, and as a reason."""
    said = " ".join(case["text"] for case in STRINGS)
    with world.store() as store:
        articles.add(store, [samples.article(100, title=said, publisher=said, url=said, source=said)])
        told = replace(samples.claim("c100", "feed:100"), sentence=said, subject="Zorland", object=said)
        articles.add_claims(store, [told], samples.NOW)
        fact = Fact("Zorland", "capital", said, samples.NOW, (told.id,), (said, said + "b"))
        drafted = replace(samples.draft(fact), reason=said, target_old=said)
        placed = queue.propose(store, drafted, now=samples.NOW).proposal
        queue.reject(store, placed.id, who=said, reason=said, now=samples.NOW)
    shown = world.run("queue", "show", str(placed.id))
    assert "bank.example" in shown.out and "proposal 7 approved" in shown.out
    for command in (["queue", "show", placed.id], ["queue", "show", placed.id, "--json"], ["queue", "list"],
                    ["queue", "list", "--status", "rejected"], ["timeline", "Zorland"], ["audit", "log"]):  # fmt: skip
        printed = world.run(*command)
        assert printed.code == 0 and unfit(printed.out) == "" and unfit(printed.err) == "", command


def test_nor_does_an_error_that_names_them(world: World) -> None:
    text = " ".join(case["text"].replace("\0", "") for case in STRINGS)
    for command in (
        ["timeline", text],
        ["queue", "show", text],
        ["feeds", "remove", text],
        [text],
        ["queue", text],
    ):
        printed = world.run(*command)
        assert printed.code != 0 and printed.err, command
        assert unfit(printed.out) == "" and unfit(printed.err) == "", command


def test_without_the_guard_they_get_through(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli_text, "safe_text", lambda text, markup=False: str(text))
    through = [case["name"] for case in STRINGS if got_through(case, capsys)]
    assert len(through) >= len(STRINGS) - 2, through  # a tab and braces harm nobody


def test_what_the_list_holds_is_hostile() -> None:
    harmless = {"format characters"}
    for case in STRINGS:
        changed = safe_text(case["text"], markup=True) != case["text"]
        assert changed or case["name"] in harmless, case["name"]
