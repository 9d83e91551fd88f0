"""YAML read strictly: a file that is not a mapping, or a key nobody knows, is an error that says where and what was meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from agent.errors import ConfigError

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = yaml.SafeDumper  # the C one breaks lines where it likes


def read_yaml(path: Path) -> Any:
    """The parsed content of `path`. Raises ConfigError when it cannot be read or is not YAML, with line and column."""
    try:
        with path.open("rb") as stream:
            return yaml.load(stream, Loader=_Loader)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "unreadable"
        raise ConfigError(f"{path}{where}: not valid YAML: {problem}") from error


def yaml_line(row: Mapping[str, object]) -> str:
    """`row` as one entry of a YAML list in one line: `- {name: Japan, kind: country}`."""
    written: str = yaml.dump(
        [dict(row)],
        Dumper=_Dumper,
        default_flow_style=True,
        sort_keys=False,
        width=1 << 30,
        allow_unicode=True,
    )
    return f"- {written.strip()[1:-1]}"


def as_mapping(value: object, where: str) -> dict[str, Any]:
    """`value` if it is a mapping with string keys; an empty document counts as an empty one."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{where}: expected a mapping of names to values, got {type(value).__name__}")
    return dict(value)


def as_strings(value: object, where: str) -> tuple[str, ...]:
    """`value` as a tuple of non-empty strings; one string counts as a list of one."""
    items = [value] if isinstance(value, str) else ([] if value is None else value)
    if not isinstance(items, list) or not all(isinstance(item, str) and item.strip() for item in items):
        raise ConfigError(f"{where}: expected a list of non-empty strings, got {value!r}")
    return tuple(items)


def check_keys(mapping: Mapping[str, object], known: Collection[str], where: str) -> None:
    """Raise ConfigError for the first key of `mapping` that is not in `known`, naming the nearest that is."""
    for key in mapping:
        if key not in known:
            near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known keys: {', '.join(sorted(known))}"
            raise ConfigError(f"{where}: unknown key {key!r}{hint}")
