"""New entries in the `sources` of a settings file, with every other byte of it as it was.

A YAML library that writes the whole file back changes quotes, widths and indents that its owner chose. So the
parser only tells where the list ends, the entries go in there as text, and the result is parsed again: unless
it says exactly what the old file said plus the entries, nothing is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from agent.errors import ConfigError
from agent.whole import write_whole

KEY = "sources"
Entry = Mapping[str, str | bool]


def add_to_file(path: Path, entries: Sequence[Entry]) -> None:
    """Add `entries` to the settings file at `path`, which is replaced in one step; a link stays a link.

    Raises:
        ConfigError: the file cannot be read, is not UTF-8, or its list is written in a way that cannot be
            added to; the message has the lines to add by hand.
        OSError: it cannot be written; it is then as it was.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8; save it as UTF-8 first") from error
    try:
        target = path.resolve()
        write_whole(target, with_sources(text, entries), like=target.stat())
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def with_sources(text: str, entries: Sequence[Entry]) -> str:
    """`text` with `entries` at the end of its list of sources. Raises ConfigError with the lines to add by
    hand.
    """
    if not entries:
        return text
    rows = [row(entry) for entry in entries]
    by_hand = "".join(f"\n  - {line}" for line in rows)
    advice = f"; add this by hand under {KEY}:{by_hand}"
    try:
        changed = _inserted(text, rows)
        before, after = yaml.safe_load(text) or {}, yaml.safe_load(changed)
        if after != {**before, KEY: [*(before.get(KEY) or []), *map(dict, entries)]}:
            raise ConfigError("its list of sources is written in a way that cannot be added to")
    except ConfigError as error:
        raise ConfigError(f"{error}{advice}") from error
    except (yaml.YAMLError, TypeError, AttributeError, ValueError) as error:
        raise ConfigError(f"its list of sources cannot be added to{advice}") from error
    return changed


def row(entry: Entry) -> str:
    """One source as a line of YAML, whatever is in its words."""
    values = (f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items())
    return "{" + ", ".join(values) + "}"


def _inserted(text: str, rows: Sequence[str]) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None:
        return _appended(text, rows, newline, 0)
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise ConfigError("it is no block of `key: value` lines")
    found = [(key, value) for key, value in root.value if key.value == KEY]
    if not found:
        return _appended(text, rows, newline, root.start_mark.column)
    key, value = found[-1]
    start, end = value.start_mark.index, value.end_mark.index
    if start < key.end_mark.index:
        raise ConfigError("its list of sources is an alias of another list")
    if isinstance(value, yaml.SequenceNode) and value.value:
        return (_into_flow if value.flow_style else _under_block)(text, value, rows, newline)
    if isinstance(value, yaml.SequenceNode) and ("\n" in text[start:end] or "#" in text[start:end]):
        return text[: end - 1] + ", ".join(rows) + text[end - 1 :]
    return _instead_of_nothing(text, start, end, rows, newline, " " * key.start_mark.column)


def _appended(text: str, rows: Sequence[str], newline: str, column: int) -> str:
    gap = "" if not text or text.endswith("\n") else newline
    margin = " " * column
    return f"{text}{gap}{margin}{KEY}:{newline}" + "".join(f"{margin}  - {r}{newline}" for r in rows)


def _instead_of_nothing(
    text: str, start: int, end: int, rows: Sequence[str], newline: str, margin: str
) -> str:
    """`sources: []   # why` becomes `sources:   # why` with the rows below."""
    line_end = text.find("\n", end)
    rest = text[end:] if line_end < 0 else text[end:line_end].removesuffix("\r")
    after = "" if line_end < 0 else text[line_end + 1 :]
    head = text[:start].rstrip(" ") + rest
    return f"{head}{newline}" + "".join(f"{margin}  - {r}{newline}" for r in rows) + after


def _into_flow(text: str, value: Any, rows: Sequence[str], newline: str) -> str:
    """Right behind the last item, so that a comma or a comment after it stays good."""
    last = _end(value.value[-1], value)
    return text[:last] + "".join(f", {r}" for r in rows) + text[last:]


def _under_block(text: str, value: Any, rows: Sequence[str], newline: str) -> str:
    last = _end(value.value[-1], value)
    lines = "".join(f"{' ' * value.start_mark.column}- {r}{newline}" for r in rows)
    if last and text[last - 1] == "\n":
        return text[:last] + lines + text[last:]
    line_end = text.find("\n", last)
    if line_end < 0:
        return text + newline + lines
    return text[: line_end + 1] + lines + text[line_end + 1 :]


def _end(node: Any, whole: Any) -> int:
    """Where the last word of `node` ends; a block's own end mark lies behind the comments that follow it."""
    while not isinstance(node, yaml.ScalarNode) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    end = int(node.end_mark.index)
    if not whole.start_mark.index < end <= whole.end_mark.index:
        raise ConfigError("its last source is an alias")
    return end
