"""Words on a terminal: every string that a feed, a model or an edit file may have shaped passes `safe_text`.

A terminal obeys what it is sent: ESC and C1 sequences set its title, clear it or hide text in links,
bidirectional overrides make one name read as another. Tables and lines are built here, so that no command can
forget.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TextIO

from agent.masked import masked

JSON_VERSION = 1
# Control, format (bidi overrides, zero-width, tags), surrogates, private use, line and paragraph separators.
_OUT = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_SPACES = frozenset("\t\n\r\v\f\x1c\x1d\x1e\x1f\x85\u2028\u2029")
_WIDE = frozenset("WF")

Line = tuple[str, str]  # a style and a text
_STYLES: dict[str, dict[str, object]] = {
    "strong": {"bold": True},
    "soft": {"dim": True},
    "bar": {"reverse": True},
    "good": {"fg": "green", "bold": True},
    "bad": {"fg": "red"},
    "mark": {"bold": True, "underline": True},
}


def safe_text(text: object, *, markup: bool = False) -> str:
    """`text` as one line without anything a terminal or a reader's eye could be deceived by.

    Line breaks and tabs become spaces; other control and format characters go. With `markup` Rich's own
    markup is escaped, for text that Rich will print; plain printing interprets none.
    """
    line = "".join(" " if c in _SPACES else c for c in str(text))
    clean = "".join(c for c in line if unicodedata.category(c) not in _OUT)
    if markup:
        from rich.markup import escape

        return escape(clean)
    return clean


def out(line: object = "") -> None:
    """One line of a command's result, on stdout, without the logins and keys of URLs."""
    print(masked(safe_text(line)))


def out_whole(line: object) -> None:
    """As `out`, logins and keys included: for who asked for them."""
    print(safe_text(line))


def err(line: object) -> None:
    """One line for the person at the terminal, on stderr, so that stdout stays the result alone."""
    print(masked(safe_text(line)), file=sys.stderr)


def out_lines(lines: Iterable[object]) -> None:
    for line in lines:
        out(line)


def emit(document: Mapping[str, object]) -> None:
    """`document` as the JSON result of a command, with its format's version first.

    Escaped to ASCII: JSON's own escapes do not cover C1 and bidi characters, and a terminal may be at the
    other end.
    """
    shown = _without_secrets({"version": JSON_VERSION, **document})
    print(json.dumps(shown, indent=2, default=_plain, allow_nan=False))


def _without_secrets(value: object) -> object:
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {key: _without_secrets(inner) for key, inner in value.items()}
    return [_without_secrets(inner) for inner in value] if isinstance(value, list | tuple) else value


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, width: int | None = None) -> list[str]:
    """The lines of a table, each cell made safe. With `width` (columns) the last column is cut to fit."""
    cells = [tuple(headers), *(tuple(safe_text(cell) for cell in row) for row in rows)]
    widths = [max(columns(row[i]) for row in cells) for i in range(len(headers))]
    lines = [
        "  ".join(_padded(cell, w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in cells
    ]
    return [cut(line, width) for line in lines] if width else lines


def columns(text: str) -> int:
    """How many columns of a terminal `text` takes: wide characters two, combining marks none."""
    return sum(_columns(c) for c in text)


def cut(text: str, width: int) -> str:
    """The beginning of `text` in at most `width` columns, with an ellipsis where something is missing."""
    if columns(text) <= width:
        return text
    kept, used = "", 0
    for c in text:
        used += _columns(c)
        if used > width - 1:
            break
        kept += c
    return kept.rstrip() + "…"


def terminal_width(stream: TextIO | None = None) -> int | None:
    """The width of the terminal that `stream` (stdout) is; None for a pipe or a file: nothing is cut."""
    if not (stream or sys.stdout).isatty():
        return None
    import shutil

    return shutil.get_terminal_size().columns


def wrapped(text: object, width: int, indent: int = 0) -> list[str]:
    """`text`, made safe, in lines of at most `width` columns, each with `indent` spaces before it; words that are longer are broken."""
    room, lines, line = max(8, width - indent), [], ""
    for word in safe_text(text).split():
        for part in _parts(word, room):
            if line and columns(line) + 1 + columns(part) > room:
                lines.append(line)
                line = part
            else:
                line = f"{line} {part}" if line else part
    return [" " * indent + found for found in [*lines, *([line] if line else [])]]


def _parts(word: str, room: int) -> Iterator[str]:
    while columns(word) > room:
        kept = word[:room]
        while columns(kept) > room:
            kept = kept[:-1]
        yield kept
        word = word[len(kept) :]
    yield word


def screen(lines: Iterable[Line], width: int, *, styled: bool) -> None:
    """A whole screen of a terminal, in place of what it showed; each line is made safe and cut to `width` columns."""
    shown = [_styled(style, cut(safe_text(text), width), width, styled) for style, text in lines]
    print("\x1b[2J\x1b[H" + "\n".join(shown), end="", flush=True)


def _styled(style: str, line: str, width: int, styled: bool) -> str:
    import click

    text = _padded(line, width) if style == "bar" else line
    return click.style(text, **_STYLES[style]) if styled and style in _STYLES else text  # type: ignore[arg-type]


def day(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d}"


def minute(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M}"


def plural(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _columns(c: str) -> int:
    if unicodedata.combining(c):
        return 0
    return 2 if unicodedata.east_asian_width(c) in _WIDE else 1


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - columns(cell))


def _plain(value: object) -> object:
    """What JSON lacks: times as ISO 8601, everything else as its text."""
    return value.isoformat() if isinstance(value, datetime) else masked(str(value))
