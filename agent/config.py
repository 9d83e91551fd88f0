"""Settings (`agent.settings`): YAML and environment to one frozen record, strictly, with the origin of every value.

From weak to strong: built-in defaults < the checkpoint's factd-editing.yaml
< $XDG_CONFIG_HOME/factd/factd.yaml < ./factd.yaml (or --config, or
$FACTD_CONFIG) < FACTD_* variables (FACTD_MODEL__PATH=... sets model.path) < flags of the command line. A
relative path is relative to the file it stands in, for variables and flags to the working folder;
`shipped:demo/world` is a file of the installed package.
"""

from __future__ import annotations

import dataclasses
import os
import typing
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from agent.editing.settings import EditSettings
from agent.errors import ConfigError
from agent.paths import SHIPPED, shipped
from agent.settings import ModelSettings, Settings
from agent.strict import as_mapping, at_home, check_keys, read_yaml
from agent.typed import as_list, build, convert, dataclass_in, is_tuple_of_dataclass, leaves
from agent.types import SourceSpec
from agent.wikibase import is_source

T = TypeVar("T")
PROJECT_FILE = "factd.yaml"
MODEL_FILE = "factd-editing.yaml"
_PREFIX = "FACTD_"
_PATHS_OR_NAMES = ("model.path", "ner")
# Fields of the records that no file may set.
_DERIVED = ("given",)
# Variables that steer the program and are no settings.
_NOT_SETTINGS = ("FACTD_CONFIG", "FACTD_FAULT", "FACTD_TRACEBACK")


@dataclass(frozen=True, slots=True)
class _Layer:
    """Settings of one origin: nested as in YAML. Relative paths in it are relative to `folder`."""

    origin: str
    folder: Path
    values: Mapping[str, Any]


def load(
    config: Path | None = None,
    *,
    state: Path | None = None,
    model: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """The settings in force. Raises ConfigError naming file, key and nearest key."""
    return load_with_origin(config, state=state, model=model, environ=environ)[0]


def load_with_origin(
    config: Path | None = None,
    *,
    state: Path | None = None,
    model: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[Settings, dict[str, str]]:
    """The settings, and for every key that is not a default (`model.path`) where it came from."""
    environ = os.environ if environ is None else environ
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    layers = [*_files(config, environ), _environment(environ), _flags(state, model)]
    for layer in [*_of_model(layers), *layers]:
        settled = _resolved(Settings, dict(layer.values), layer, "")
        _overlay(merged, settled, layer.origin, origins, "")
    try:
        settings = build(Settings, merged, "settings")
        return dataclasses.replace(settings, given=_given(settings, origins)), origins
    except ConfigError as error:
        raise ConfigError(f"{_culprit(str(error), origins)}{error}") from error


def model_editing(path: str) -> dict[str, Any]:
    """What a checkpoint's own `factd-editing.yaml` says about editing it; empty without one. Raises ConfigError."""
    file = Path(path) / MODEL_FILE
    if not file.is_file():
        return {}
    values = as_mapping(read_yaml(file), str(file))
    return _resolved(EditSettings, values, _Layer(str(file), file.parent.absolute(), {}), "")


def of_checkpoint(path: str) -> Settings:
    """The built-in settings with what this checkpoint says of itself; no file of a user, no variable. Raises ConfigError."""
    values: dict[str, Any] = {"model": {"path": path}, "editing": model_editing(path)}
    settings = build(Settings, values, "settings")
    origins = {f"editing.{key}": path for key in values["editing"]}
    return dataclasses.replace(settings, given=_given(settings, origins))


def _of_model(layers: list[_Layer]) -> list[_Layer]:
    """Settings found for one checkpoint travel with it, and give way to everything that its user writes."""
    paths = [_resolved(ModelSettings, {"path": path}, layer, "model.")["path"] for layer in layers
             if isinstance(model := layer.values.get("model"), Mapping) and isinstance(path := model.get("path"), str)]  # fmt: skip
    path = paths[-1] if paths else ModelSettings().path
    values = model_editing(path)
    return [_Layer(str(Path(path) / MODEL_FILE), Path(path), {"editing": values})] if values else []


def _given(settings: Settings, origins: Mapping[str, str]) -> frozenset[str]:
    """The keys of `editing` that any layer sets. `layers: []` leaves the choice open. A checkpoint's own file is a whole: what it
    does not mention goes with the rest of it as built in, and is given as well.
    """
    if (Path(settings.model.path) / MODEL_FILE).is_file():
        return frozenset(f.name for f in dataclasses.fields(EditSettings))
    named = {key.removeprefix("editing.") for key in origins if key.startswith("editing.")}
    return frozenset(named if settings.editing.layers else named - {"layers"})


def _culprit(message: str, origins: Mapping[str, str]) -> str:
    """Where the value came from that a message like `policy.cool_off_h: expected ...` is about."""
    key = message.split()[0].rstrip(":").partition("[")[0] if message else ""
    while key and key not in origins:
        key = key.rpartition(".")[0]
    return f"{origins[key]}: " if key else ""


def flat(settings: Settings) -> dict[str, Any]:
    """Every setting by its dotted key, as plain values: for `factd config show`."""
    found: dict[str, Any] = {}

    def walk(value: object, prefix: str) -> None:
        for f in dataclasses.fields(value):  # type: ignore[arg-type]
            if f.name in _DERIVED:
                continue
            inner = getattr(value, f.name)
            if is_dataclass(inner):
                walk(inner, f"{prefix}{f.name}.")
            else:
                found[prefix + f.name] = _plain(inner)

    walk(settings, "")
    return found


def _plain(value: object) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return str(value) if isinstance(value, Path) else value


def _files(config: Path | None, environ: Mapping[str, str]) -> list[_Layer]:
    named = config or (Path(environ["FACTD_CONFIG"]) if environ.get("FACTD_CONFIG") else None)
    home = environ.get("XDG_CONFIG_HOME") or (environ.get("HOME") and f"{environ['HOME']}/.config")
    user = Path(home) / "factd" / PROJECT_FILE if home else None
    paths = [user] if user is not None and user.is_file() else []
    if named is not None:
        paths.append(named)
    elif Path(PROJECT_FILE).is_file():
        paths.append(Path(PROJECT_FILE))
    return [
        _Layer(str(path), path.parent.absolute(), as_mapping(read_yaml(path), str(path))) for path in paths
    ]


def _environment(environ: Mapping[str, str]) -> _Layer:
    values: dict[str, Any] = {}
    for name, text in sorted(environ.items()):
        if name.startswith(_PREFIX) and name not in _NOT_SETTINGS:
            *sections, last = name.removeprefix(_PREFIX).lower().split("__")
            inner = values
            for section in sections:
                inner = inner.setdefault(section, {})
                if not isinstance(inner, dict):
                    raise ConfigError(f"{name}: {_PREFIX}{section.upper()} is set as well; unset one of them")
            try:
                inner[last] = yaml.safe_load(text)
            except (yaml.YAMLError, ValueError, RecursionError) as error:
                raise ConfigError(f"{name}: {text[:200]!r} is not a YAML value") from error
    return _Layer("environment", Path.cwd(), values)


def _flags(state: Path | None, model: str | None) -> _Layer:
    values: dict[str, Any] = {}
    if state is not None:
        values["state"] = str(state)
    if model is not None:
        values["model"] = {"path": model}
    return _Layer("flag", Path.cwd(), values)


def _resolved(cls: Any, values: dict[str, Any], layer: _Layer, prefix: str) -> dict[str, Any]:
    """Check the keys of one layer and make its relative paths absolute, while it is known which file they
    stand in.
    """
    hints = {key: hint for key, hint in typing.get_type_hints(cls).items() if key not in _DERIVED}
    check_keys(values, tuple(hints), f"{layer.origin}: {prefix.rstrip('.') or 'settings'}")
    settled: dict[str, Any] = {}
    for key, value in values.items():
        inner = dataclass_in(hints[key])
        where = f"{layer.origin}: {prefix}{key}"
        if inner is SourceSpec or is_tuple_of_dataclass(hints[key]):
            items = as_list(value, where)
            settled[key] = [_source(as_mapping(i, where), layer) if inner is SourceSpec else i for i in items]
        elif inner is not None and (value is not None or type(None) not in leaves(hints[key])):
            settled[key] = _resolved(inner, as_mapping(value, where), layer, f"{prefix}{key}.")
        elif isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected a value or a list, got a mapping")
        elif Path in leaves(hints[key]):
            settled[key] = (
                [_path(v, layer) for v in value] if isinstance(value, list) else _path(value, layer)
            )
        elif f"{prefix}{key}" in _PATHS_OR_NAMES and isinstance(value, str):
            settled[key] = _path_or_name(value, layer)
        else:
            settled[key] = value
    return settled


def _path(value: object, layer: _Layer) -> object:
    return _at(layer, value) if isinstance(value, str) else value


def _at(layer: _Layer, value: str) -> str:
    if value.startswith(SHIPPED):
        return str(shipped(value))
    return os.path.normpath(layer.folder / at_home(value, ConfigError))


def _path_or_name(value: str, layer: _Layer) -> str:
    """A folder beside the settings file if there is one, else as it stands: a hub id, or a package's name."""
    local = _at(layer, value)
    return local if Path(local).exists() or value.startswith((".", "~", SHIPPED)) else value


def _source(entry: dict[str, Any], layer: _Layer) -> dict[str, Any]:
    url = entry.get("url")
    if isinstance(url, str) and "://" not in url and not is_source(url):
        entry = {**entry, "url": _at(layer, url)}
    return entry


def _overlay(
    target: dict[str, Any], values: Mapping[str, Any], origin: str, origins: dict[str, str], prefix: str
) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(target.get(key, {}), dict):
            _overlay(target.setdefault(key, {}), value, origin, origins, f"{prefix}{key}.")
        else:
            target[key] = value
            origins[prefix + key] = origin


def changed(section: T, values: Mapping[str, str], where: str) -> T:
    """A section of the settings with some keys changed; the values are YAML, as in a variable. Raises
    ConfigError.
    """
    hints = typing.get_type_hints(type(section))
    check_keys(values, tuple(hints), where)
    ready = {}
    for key, text in values.items():
        try:
            ready[key] = convert(hints[key], yaml.safe_load(text), f"{where}.{key}")
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ConfigError(f"{where}.{key}: {text[:200]!r} is not a YAML value") from error
    return dataclasses.replace(section, **ready)  # type: ignore[type-var]
