"""What people write, read strictly: a YAML file that is not a mapping, a key nobody knows, a home that nobody has is an error that says where
and what was meant.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from agent.errors import ConfigError, FactdError
from agent.masked import masked

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_DEPTH = 100
_Dumper: Any = yaml.SafeDumper  # the C one breaks lines where it likes


def read_yaml(path: Path) -> Any:
    """The parsed content of `path`. Raises ConfigError when it cannot be read or is not YAML, with line and column, or nested too deep."""
    try:
        content = path.read_bytes()
        _check_depth(content, path)
        return yaml.load(content, Loader=_Loader)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "unreadable"
        raise ConfigError(f"{path}{where}: not valid YAML: {problem}") from error
    except ValueError as error:  # a number of 10,000 digits, a date of no calendar
        raise ConfigError(f"{path}: holds a value that is none ({str(error)[:200]})") from error


def _check_depth(content: bytes, path: Path) -> None:
    """The C loader goes down the stack with every list in a list, and ends the process with it. Raises ConfigError."""
    depth = 0
    for event in yaml.parse(content, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                raise ConfigError(f"{path}: nested more than {_MAX_DEPTH} deep; nothing that is read here is")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


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


def brief(value: object) -> str:
    """`value` as an error shows it. With aliases, a line of YAML is a list whose `repr` takes gigabytes."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 120
    short.maxlevel = 3
    return masked(short.repr(value))


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
        raise ConfigError(f"{where}: expected a list of non-empty strings, got {brief(value)}")
    return tuple(items)


def check_keys(mapping: Mapping[str, object], known: Collection[str], where: str) -> None:
    """Raise ConfigError for the first key of `mapping` that is not in `known`, naming the nearest that is."""
    for key in mapping:
        if key not in known:
            near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known keys: {', '.join(sorted(known))}"
            raise ConfigError(f"{where}: unknown key {key!r}{hint}")


def at_home(path: str, refusal: type[FactdError]) -> Path:
    """The path with `~` and `~name` filled in. Raises `refusal` for somebody who has no home."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise refusal(
            f"{path[:200]!a}: there is no such home folder; write ./~... for a file of that name"
        ) from error
