"""Nothing that a feed says may steer a terminal."""

from __future__ import annotations

import io
import json
import re
import unicodedata
from contextlib import redirect_stdout
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cli.progress import ProgressLine, shows_progress
from agent.cli.text import columns, cut, emit, safe_text, screen, table, wrapped

HOSTILE = [
    "\x1b]0;owned\x07",
    "\x1b[2J",
    "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "\x9b31m",
    "user\u202egnp.exe",
    "\u2066left\u2069",
    "zero\u200bwidth\ufeff",
    "two\nlines\r\nand\u2028more\x85",
    "\x00\x7f",
    "tag\U000e0041",
    "lone\ud800surrogate",
]
ANY = st.text(st.characters(exclude_categories=()), max_size=60)


@given(ANY)
def test_nothing_that_steers_a_terminal_is_left(text: str) -> None:
    clean = safe_text(text)
    assert not {unicodedata.category(c) for c in clean} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    assert safe_text(clean) == clean
    clean.encode("utf-8")


@given(st.text(st.characters(codec="ascii", exclude_categories=("Cc",))))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert safe_text(text) == text


@pytest.mark.parametrize("text", HOSTILE)
def test_known_attacks_are_disarmed(text: str) -> None:
    clean = safe_text(text)
    assert clean.isprintable()
    assert len(clean.splitlines()) <= 1


def test_names_with_accents_and_other_scripts_survive() -> None:
    for name in ("Szohôd", "Nguyễn Phú Trọng", "東京", "Ολάφ", "עברית"):
        assert safe_text(name) == name


@given(ANY)
def test_markup_cannot_be_smuggled_into_rich(text: str) -> None:
    from rich.text import Text

    shown = Text.from_markup(f"[bold]{safe_text(text, markup=True)}[/bold]")
    assert shown.plain == safe_text(text)
    assert [str(span.style) for span in shown.spans if span.start < span.end] == ["bold"] * bool(
        safe_text(text)
    )


@given(st.lists(st.tuples(ANY, ANY), max_size=5))
def test_a_table_has_one_line_a_row_and_is_clean(rows: list[tuple[str, str]]) -> None:
    lines = table(("a", "b"), rows)
    assert len(lines) == len(rows) + 1
    assert all(safe_text(line) == line for line in lines)


def test_columns_stand_under_one_another_with_wide_characters() -> None:
    lines = table(("name", "x"), [("東京", 1), ("e\u0301", 2)])
    assert [columns(line) for line in lines] == [7, 7, 7]


@given(ANY.map(safe_text), st.integers(2, 40))
def test_a_cut_line_fits(text: str, width: int) -> None:
    assert columns(cut(text, width)) <= width


@given(ANY)
def test_json_is_ascii_and_says_what_was_put_in(text: str) -> None:
    import contextlib

    buffer = io.StringIO()
    with contextlib.redirect_stdout(buffer):
        emit({"text": text, "at": datetime(2026, 1, 1, tzinfo=UTC)})
    printed = buffer.getvalue()
    assert printed.isascii()
    assert json.loads(printed) == {"version": 1, "text": text, "at": "2026-01-01T00:00:00+00:00"}


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_that_is_taken_away() -> None:
    stream = _Terminal()
    with ProgressLine(True, stream) as line:
        line("read", 1, 3)
        line("read", 2, 3)  # too soon after the first to be drawn
        line("read", 3, 3)
    assert stream.getvalue() == "\r\x1b[Kreading articles 1/3\r\x1b[Kreading articles 3/3\r\x1b[K"


def test_progress_is_shown_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert shows_progress(_Terminal(), quiet=False)
    assert not shows_progress(_Terminal(), quiet=True)
    assert not shows_progress(io.StringIO(), quiet=False)
    monkeypatch.setenv("TERM", "dumb")
    assert not shows_progress(_Terminal(), quiet=False)
    stream = io.StringIO()
    with ProgressLine(False, stream) as line:
        line("read", 1, 1)
    assert stream.getvalue() == ""


@given(st.text(max_size=200), st.integers(12, 100), st.integers(0, 4))
def test_wrapped_lines_fit_and_lose_no_letter(text: str, width: int, indent: int) -> None:
    lines = wrapped(text, width, indent)
    assert all(columns(line) <= width and safe_text(line) == line for line in lines)
    assert "".join("".join(lines).split()) == "".join(safe_text(text).split())


@given(
    st.lists(st.tuples(st.sampled_from(["", "bar", "mark", "bad", "none"]), st.text(max_size=60)), max_size=4)
)
def test_a_screen_has_no_sequences_but_its_own(lines: list[tuple[str, str]]) -> None:
    with redirect_stdout(io.StringIO()) as caught:
        screen(lines, 40, styled=True)
    printed = re.sub(r"\x1b\[[0-9;]*m", "", caught.getvalue().removeprefix("\x1b[2J\x1b[H"))
    assert not [c for c in printed if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs")]
    assert printed.count("\n") == max(0, len(lines) - 1)
