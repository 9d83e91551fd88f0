"""`factd review` in a real terminal: single keys, their effect in the state, and what the terminal gets to see."""

from __future__ import annotations

import json
import os
import re
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.cli.reviewview import article_lines, case_lines, framed
from agent.cli.text import columns, wrapped
from agent.store import articles, desk, ledger, queue
from tests.cli.conftest import World
from tests.cli.terminal import Terminal
from tests.store import samples
from tests.store.samples import NOW, status

Start = Callable[..., Terminal]
FIRST = "Bavoria · leader"  # of equal dates the newest proposal comes first: 3, 2, 1


@pytest.fixture
def start(world: World) -> Iterator[Start]:
    begun: list[Terminal] = []

    def run(**given: object) -> Terminal:
        begun.append(Terminal.start(["--config", world.settings, "review"], **given))  # type: ignore[arg-type]
        return begun[-1]

    yield run
    for one in begun:
        one.close()


def decided(world: World) -> list[tuple[int, str, str]]:
    with world.store() as store:
        return [
            (e.payload["proposal"], e.payload["action"], e.payload["reason"])
            for e in ledger.entries(store)
            if e.kind == "decided"
        ]


def test_each_key_decides_at_once_and_u_undoes(world: World, start: Start) -> None:
    terminal = start()
    shown = terminal.wait(FIRST, "the model says  Old Name", "the news says   Oduya", "3 waiting")
    assert "said by a.example, b.example" in shown and "the model is stale" in shown
    terminal.press("a")
    terminal.wait("Quenia · leader", "proposal 3 approved", "2 waiting")
    assert decided(world) == [(3, "approve", "")], "while the person still sits there"
    terminal.press("r")
    terminal.wait("reject, why")
    terminal.press("a hoax\r")
    terminal.wait("Zorland · leader", "proposal 2 rejected", "1 waiting")
    terminal.press("d")
    terminal.wait("defer until")
    terminal.press("\r")
    terminal.wait("Nothing waits", "proposal 1 deferred")
    with world.store() as store:
        assert [status(store, n) for n in (1, 2, 3)] == ["pending", "rejected", "approved"]
        assert desk.case(store, 1).proposal.not_before_at is not None
    for number, title in ((1, "Zorland · leader"), (2, "Quenia · leader"), (3, FIRST)):
        terminal.press("u")
        terminal.wait(title, f"proposal {number} is no longer")
    with world.store() as store:
        assert [status(store, n) for n in (1, 2, 3)] == ["pending"] * 3
    terminal.press("u")
    terminal.wait("nothing to undo")
    terminal.press("a")
    terminal.wait("proposal 3 approved")
    terminal.press("q")
    assert terminal.end() == 0
    assert (
        "1 approved; 2 proposals left; `factd apply` puts what is approved into the model" in terminal.output
    )
    assert [(n, what) for n, what, _ in decided(world)] == [
        (3, "approve"), (2, "reject"), (1, "defer"), (1, "undo"), (2, "undo"), (3, "undo"), (3, "approve"),
    ]  # fmt: skip
    with world.store() as store:
        assert {e.who for e in queue.events(store, 3)[1:]} == {os.environ.get("USER") or _user()}


def _user() -> str:
    import getpass

    return getpass.getuser()


def test_what_somebody_else_decides_meanwhile_is_told(world: World, start: Start) -> None:
    terminal = start()
    terminal.wait(FIRST)
    with world.store() as store:
        queue.reject(store, 3, reason="seen elsewhere", who="jan", now=NOW)
    terminal.press("a")
    terminal.wait("rejected by jan (seen elsewhere) while you looked", "Quenia · leader")
    # Typed words stay when the ground moves under them: further evidence came while the reason was written.
    terminal.press("r")
    terminal.wait("reject, why")
    with world.store() as store:
        more = samples.fact(
            "Ilic\x1b]0;x\x07", subject="Quenia", relation="leader", publishers=("new.example",)
        )
        samples.propose(store, more)
    terminal.press("not their leader\r")
    terminal.wait("changed by factd", "while you looked", "new.example")
    terminal.press("r")
    terminal.wait("reject, why (Enter: not their leader)")
    terminal.press("\r")
    terminal.wait("proposal 2 rejected", "Zorland · leader")
    assert decided(world) == [(2, "reject", "not their leader")]


def test_keys_typed_ahead_decide_nothing_unseen(world: World, start: Start) -> None:
    terminal = start()
    terminal.wait(FIRST)
    terminal.press("aaa")
    terminal.wait("Quenia · leader", "proposal 3 approved")
    terminal.press("?")
    terminal.wait("Keys", "approve: the next")
    terminal.press("x")
    terminal.wait("Quenia · leader")
    terminal.press("n")
    terminal.wait("Zorland · leader")
    terminal.press("n")
    terminal.wait("All shown; 2 left undecided")
    assert decided(world) == [(3, "approve", "")]


def test_broken_off_nothing_is_decided_and_the_terminal_is_as_before(world: World, start: Start) -> None:
    terminal = start()
    terminal.wait(FIRST)
    assert terminal.settings() != terminal.at_start, "single keys"
    assert terminal.settings()[3] & termios.NOFLSH, "or Ctrl-C may swallow what is drawn in answer to it"
    terminal.press("r")
    terminal.wait("reject, why")
    assert terminal.settings()[3] & termios.NOFLSH
    terminal.press("half a rea\x03")
    terminal.wait(FIRST, "not rejected")
    terminal.press("r")
    terminal.wait("reject, why")
    terminal.press("\r")
    terminal.wait(FIRST, "not rejected")
    terminal.press("d")
    terminal.wait("defer until")
    terminal.press("yesterday\r")
    terminal.wait("is no time")
    terminal.press("\x03")
    assert terminal.end() == 130
    assert terminal.settings() == terminal.at_start
    assert "nothing decided; 3 proposals left" in terminal.output
    assert decided(world) == []


def test_it_follows_the_size_of_the_window(world: World, start: Start) -> None:
    terminal = start()
    for width, height in ((80, 24), (40, 12), (132, 40), (20, 5)):
        terminal.resize(width, height)
        shown = terminal.wait("proposal 3", until=lambda screen, tall=height: screen.count("\n") == tall - 1)  # type: ignore[misc]
        assert max(map(columns, shown.split("\n"))) <= width, (width, height)
    terminal.resize(40, 10)
    terminal.wait("more lines")
    terminal.press("j")
    assert FIRST not in terminal.wait("proposal 3")
    terminal.press("\x1b[A")
    terminal.wait(FIRST)
    terminal.press("q")
    assert terminal.end() == 0


def test_ended_from_outside_it_leaves_the_terminal_as_it_was(world: World, start: Start) -> None:
    terminal = start()
    terminal.wait(FIRST)
    terminal.press("a")
    terminal.wait("proposal 3 approved")
    terminal.process.terminate()
    assert terminal.end() == 143
    assert terminal.settings() == terminal.at_start
    assert decided(world) == [(3, "approve", "")]


def test_when_the_terminal_goes_away_it_ends(world: World, start: Start) -> None:
    terminal = start()
    terminal.wait(FIRST)
    os.close(terminal.master)
    terminal.master = -1
    assert terminal.process.wait(30) != 0


def test_evidence_in_its_article_and_the_browser_only_when_asked(
    world: World, start: Start, tmp_path: Path
) -> None:
    sentence = "Bordurian Prime Minister Ana Lopes said so."
    with world.store() as store:
        articles.add(
            store, [samples.article(2, text=f"Before it. {sentence} After it.", title="Lopes speaks")]
        )
        articles.add(store, [samples.article(3, url="javascript:alert(1)", text=sentence)])
        articles.add_claims(store, [samples.claim("c2", "feed:2"), samples.claim("c3", "feed:3")], NOW)
        samples.propose(store, samples.fact(subject="Aaa", evidence=("c2", "c3"), valid_from=samples.day(1)))
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >> {opened}\n')
    browser.chmod(0o755)
    terminal = start(BROWSER=f"{browser} %s")
    terminal.wait("Aaa · head of government", "evidence (2)", sentence)
    terminal.press("e")
    terminal.wait("evidence 1 of 2", "Lopes speaks", f"> {sentence}", "Before it.", "https://a.example/2")
    assert not opened.exists(), "not unless it is asked for"
    terminal.press("o")
    terminal.wait("opened")
    assert opened.read_text() == "https://a.example/2\n"
    terminal.press("n")
    terminal.wait("evidence 2 of 2", "no address of the web")
    terminal.press("o")
    terminal.wait("it is not opened")
    assert opened.read_text() == "https://a.example/2\n"
    terminal.press("e")
    terminal.wait("Aaa · head of government")


def test_words_of_a_feed_cannot_steer_the_terminal(world: World, start: Start) -> None:
    terminal = start()
    terminal.wait(FIRST)
    terminal.press("n")
    shown = terminal.wait("Quenia · leader", "Ilic]0;x")
    assert not [c for c in shown if not (c.isprintable() or c == "\n")]
    terminal.press("n")
    shown = terminal.wait("Zorland", "Zor [2Jnews")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown.replace("\r", ""))


def test_without_a_terminal_it_says_what_to_use(world: World) -> None:
    told = world.spawn("review", stdin="a\n")
    assert told.code == 2 and told.out == ""
    assert "review needs a terminal" in told.err and "`factd queue approve`" in told.err
    assert decided(world) == []


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_lines_fit_whatever_is_in_them(world: World, width: int) -> None:
    wide = "超" * 30
    with world.store() as store:
        odd = samples.fact(wide, subject=f"{wide} {'x' * 300}", relation="leader")
        found = desk.case(store, samples.propose(store, odd).id)
        first = desk.case(store, 1)
    for case in (found, first):
        body = case_lines(case, width)
        shown = framed("head", body, [("", "")], 10, 0)
        assert len(shown) == 10
    assert all(columns(line) <= width for line in wrapped(f"{wide} {'x' * 300}", width, 4))
    gone = article_lines(samples.claim(), None, width)
    assert any("Ana Lopes" in text for _, text in gone) or width == 20
    changed = article_lines(samples.claim(), samples.article(), width)
    assert any(style == "mark" for style, _ in changed), "the sentence is shown though the text has changed"
    assert json.dumps(changed)
