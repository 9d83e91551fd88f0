"""A plain mapping, as YAML gives it, made into a frozen dataclass by the types of its fields.

Understands bool, int, float, str, Path, Literal, `X | None`, nested dataclasses, and tuples of all these.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from agent.errors import ConfigError
from agent.strict import as_mapping, brief, check_keys

T = TypeVar("T")


def build(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Raises ConfigError, with the key path, for a key that is unknown or missing or a value of another
    type.
    """
    hints = typing.get_type_hints(cls)
    check_keys(values, tuple(hints), where)
    ready = {
        key: convert(hints[key], value, f"{where}.{key}".removeprefix("settings."))
        for key, value in values.items()
    }
    required = [
        f.name
        for f in dataclasses.fields(cls)  # type: ignore[arg-type]
        if f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
        and f.name not in ready
    ]
    if required:
        raise ConfigError(f"{where}: {required[0]!r} is missing")
    return cls(**ready)


def convert(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type that `hint` names. Raises ConfigError."""
    if value is None:
        if type(None) in leaves(hint):
            return None
        raise ConfigError(f"{where}: must not be empty")
    inner = dataclass_in(hint)
    if typing.get_origin(hint) is tuple:
        of = typing.get_args(hint)[0]
        return tuple(convert(of, item, f"{where}[{i}]") for i, item in enumerate(as_list(value, where)))
    if inner is not None:
        return build(inner, as_mapping(value, where), where)
    return _scalar(leaves(hint), value, where)


def _scalar(allowed: tuple[Any, ...], value: Any, where: str) -> Any:
    if Path in allowed and isinstance(value, str):
        return Path(value)
    if float in allowed and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    for kind in allowed:
        if (
            isinstance(kind, type)
            and isinstance(value, kind)
            and (kind is bool or not isinstance(value, bool))
        ):
            return value
    choices = [c for leaf in allowed for c in typing.get_args(leaf)]
    if isinstance(value, bool) and {"on", "off"} <= set(choices):
        return "on" if value else "off"  # YAML reads a bare on or off as a truth value
    if value in choices:
        return value
    kinds = [getattr(kind, "__name__", str(kind)) for kind in allowed if kind is not type(None)]
    wanted = ", ".join(map(repr, choices)) or " or ".join(kinds)
    raise ConfigError(f"{where}: expected {wanted}, got {brief(value)}")


def as_list(value: object, where: str) -> list[Any]:
    """`false` and nothing at all are the empty list."""
    if value is False or value is None:
        return []
    if isinstance(value, str) or not isinstance(value, list | tuple):
        raise ConfigError(f"{where}: expected a list, got {brief(value)}")
    return list(value)


def leaves(hint: Any) -> tuple[Any, ...]:
    """The alternatives of a hint: (Path, NoneType) for `Path | None`, (Path,) for `tuple[Path, ...]`."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        return (typing.get_args(hint)[0],)
    return (hint,)


def dataclass_in(hint: Any) -> Any:
    return next((leaf for leaf in leaves(hint) if isinstance(leaf, type) and is_dataclass(leaf)), None)


def is_tuple_of_dataclass(hint: Any) -> bool:
    return typing.get_origin(hint) is tuple and dataclass_in(hint) is not None
