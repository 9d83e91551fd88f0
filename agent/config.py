"""Settings: YAML and environment to one frozen record, strictly, with the origin of every value.

From weak to strong: built-in defaults < $XDG_CONFIG_HOME/factd/factd.yaml < ./factd.yaml (or --config, or $FACTD_CONFIG)
< FACTD_* variables (FACTD_MODEL__PATH=... sets model.path) < flags of the command line. A relative path is relative to the file
it stands in, for variables and flags to the working folder.
"""

from __future__ import annotations

import dataclasses
import os
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from agent.editing.settings import EditSettings
from agent.errors import ConfigError
from agent.paths import MORE, POCKET, WORLD, data_file
from agent.policy import Policy
from agent.strict import as_mapping, check_keys, read_yaml
from agent.types import SourceSpec

T = TypeVar("T")
PROJECT_FILE = "factd.yaml"
_PREFIX = "FACTD_"
# Variables that steer the program and are no settings.
_NOT_SETTINGS = ("FACTD_CONFIG", "FACTD_FAULT", "FACTD_TRACEBACK")


@dataclass(frozen=True, slots=True)
class ArchSettings:
    """Where the MLPs of a family are that `agent.lm.arch` does not know: `family` is config.json's model_type."""

    family: str
    layers: str
    down: str


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """`path`: a checkpoint folder or a hub id. `dtype`: auto (the checkpoint's own), float32, bfloat16, float16."""

    path: str = str(POCKET)
    dtype: str = "auto"
    device: str = "auto"
    arch: ArchSettings | None = None


@dataclass(frozen=True, slots=True)
class VerifySettings:
    """The gate's thresholds (shares from 0 to 1, `ppl_ratio` a factor) and how much is asked.

    `same_subject_prompts`: prompts for each other fact of an edited subject; `same_relation`: facts per edited relation;
    `canary`: facts in all. `texts`: a file with one held-out document a line, for perplexity; without it the base's own samples.
    `max_trials`: compilations at most when the gate refuses and culprits are searched.
    """

    efficacy: float = 0.95
    paraphrase: float = 0.80
    same_subject: float = 0.90
    others: float = 0.97
    ppl_ratio: float = 1.05
    every_fact: bool = True
    same_subject_prompts: int = 2
    same_relation: int = 30
    canary: int = 300
    texts: Path | None = None
    max_trials: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("efficacy", "paraphrase", "same_subject", "others"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"verify.{name} must be between 0 and 1, got {getattr(self, name)}")
        if self.ppl_ratio < 1 or self.max_trials < 1 or min(self.same_subject_prompts, self.same_relation, self.canary) < 0:
            raise ConfigError("verify: ppl_ratio and max_trials must be at least 1, the numbers of probes zero or more")


@dataclass(frozen=True, slots=True)
class DaemonSettings:
    """`poll_minutes`: between two rounds; which sources are due in a round comes from the database."""

    poll_minutes: float = 15.0

    def __post_init__(self) -> None:
        if not self.poll_minutes > 0:
            raise ConfigError(f"daemon.poll_minutes must be more than zero, got {self.poll_minutes}")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a run depends on. `preserve_limit`: keys of other subjects' facts that a compilation protects."""

    state: Path = Path("state")
    model: ModelSettings = ModelSettings()
    sources: tuple[SourceSpec, ...] = ()
    relations: Path = field(default_factory=lambda: data_file("relations.yaml"))
    catalogue: tuple[Path, ...] = (WORLD, MORE)
    ner: str | None = None
    editing: EditSettings = EditSettings()
    preserve_limit: int = 1500
    verify: VerifySettings = VerifySettings()
    policy: Policy = Policy()
    daemon: DaemonSettings = DaemonSettings()


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
    for layer in [*_files(config, environ), _environment(environ), _flags(state, model)]:
        settled = _resolved(Settings, dict(layer.values), layer, "")
        _overlay(merged, settled, layer.origin, origins, "")
    return _build(Settings, merged, "settings"), origins


def flat(settings: Settings) -> dict[str, Any]:
    """Every setting by its dotted key, as plain values: for `factd config show`."""
    found: dict[str, Any] = {}

    def walk(value: object, prefix: str) -> None:
        for f in dataclasses.fields(value):  # type: ignore[arg-type]
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
    home = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "~")).expanduser() / ".config")
    user, named = home / "factd" / PROJECT_FILE, config or (Path(environ["FACTD_CONFIG"]) if environ.get("FACTD_CONFIG") else None)
    paths = [path for path in (user,) if path.is_file()]
    if named is not None:
        paths.append(named)
    elif Path(PROJECT_FILE).is_file():
        paths.append(Path(PROJECT_FILE))
    return [_Layer(str(path), path.parent.absolute(), as_mapping(read_yaml(path), str(path))) for path in paths]


def _environment(environ: Mapping[str, str]) -> _Layer:
    values: dict[str, Any] = {}
    for name, text in sorted(environ.items()):
        if name.startswith(_PREFIX) and name not in _NOT_SETTINGS:
            *sections, last = name.removeprefix(_PREFIX).lower().split("__")
            inner = values
            for section in sections:
                inner = inner.setdefault(section, {})
            try:
                inner[last] = yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise ConfigError(f"{name}: {text!r} is not a YAML value") from error
    return _Layer("environment", Path.cwd(), values)


def _flags(state: Path | None, model: str | None) -> _Layer:
    values: dict[str, Any] = {}
    if state is not None:
        values["state"] = str(state)
    if model is not None:
        values["model"] = {"path": model}
    return _Layer("flag", Path.cwd(), values)


def _resolved(cls: Any, values: dict[str, Any], layer: _Layer, prefix: str) -> dict[str, Any]:
    """Check the keys of one layer and make its relative paths absolute, while it is known which file they stand in."""
    hints = typing.get_type_hints(cls)
    check_keys(values, tuple(hints), f"{layer.origin}: {prefix.rstrip('.') or 'settings'}")
    settled: dict[str, Any] = {}
    for key, value in values.items():
        inner = _dataclass_in(hints[key])
        where = f"{layer.origin}: {prefix}{key}"
        if inner is SourceSpec or _is_tuple_of_dataclass(hints[key]):
            settled[key] = [_source(as_mapping(item, where), layer) if inner is SourceSpec else item for item in _as_list(value, where)]
        elif inner is not None and value is not None:
            settled[key] = _resolved(inner, as_mapping(value, where), layer, f"{prefix}{key}.")
        elif Path in _leaves(hints[key]):
            settled[key] = [_path(v, layer) for v in value] if isinstance(value, list) else _path(value, layer)
        elif (prefix, key) == ("model.", "path") and isinstance(value, str):
            settled[key] = _model_path(value, layer)
        else:
            settled[key] = value
    return settled


def _path(value: object, layer: _Layer) -> object:
    return _at(layer, value) if isinstance(value, str) else value


def _at(layer: _Layer, value: str) -> str:
    return os.path.normpath(layer.folder / Path(value).expanduser())


def _model_path(value: str, layer: _Layer) -> str:
    """A folder beside the settings file if there is one, else as it stands: it may be a hub id."""
    local = _at(layer, value)
    return local if Path(local).exists() or value.startswith((".", "~")) else value


def _source(entry: dict[str, Any], layer: _Layer) -> dict[str, Any]:
    url = entry.get("url")
    if isinstance(url, str) and "://" not in url:
        entry = {**entry, "url": _at(layer, url)}
    return entry


def _overlay(target: dict[str, Any], values: Mapping[str, Any], origin: str, origins: dict[str, str], prefix: str) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(target.get(key, {}), dict):
            _overlay(target.setdefault(key, {}), value, origin, origins, f"{prefix}{key}.")
        else:
            target[key] = value
            origins[prefix + key] = origin


def _build(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    hints = typing.get_type_hints(cls)
    check_keys(values, tuple(hints), where)
    ready = {key: _convert(hints[key], value, f"{where}.{key}".removeprefix("settings.")) for key, value in values.items()}
    required = [
        f.name
        for f in dataclasses.fields(cls)  # type: ignore[arg-type]
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and f.name not in ready
    ]
    if required:
        raise ConfigError(f"{where}: {required[0]!r} is missing")
    return cls(**ready)


def _convert(hint: Any, value: Any, where: str) -> Any:
    if value is None:
        if type(None) in _leaves(hint):
            return None
        raise ConfigError(f"{where}: must not be empty")
    inner = _dataclass_in(hint)
    if typing.get_origin(hint) is tuple:
        of = typing.get_args(hint)[0]
        return tuple(_convert(of, item, f"{where}[{i}]") for i, item in enumerate(_as_list(value, where)))
    if inner is not None:
        return _build(inner, as_mapping(value, where), where)
    return _scalar(_leaves(hint), value, where)


def _scalar(leaves: tuple[Any, ...], value: Any, where: str) -> Any:
    if Path in leaves and isinstance(value, str):
        return Path(value)
    if float in leaves and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    for kind in leaves:
        if isinstance(kind, type) and isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
            return value
    choices = [c for leaf in leaves for c in typing.get_args(leaf)]
    if value in choices:
        return value
    wanted = ", ".join(map(repr, choices)) or " or ".join(getattr(k, "__name__", str(k)) for k in leaves if k is not type(None))
    raise ConfigError(f"{where}: expected {wanted}, got {value!r}")


def _as_list(value: object, where: str) -> list[Any]:
    if value is False or value is None:
        return []
    if isinstance(value, str) or not isinstance(value, list | tuple):
        raise ConfigError(f"{where}: expected a list, got {value!r}")
    return list(value)


def _leaves(hint: Any) -> tuple[Any, ...]:
    """The alternatives of a hint: (Path, NoneType) for `Path | None`, (Path,) for `tuple[Path, ...]`."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        return (typing.get_args(hint)[0],)
    return (hint,)


def _dataclass_in(hint: Any) -> Any:
    return next((leaf for leaf in _leaves(hint) if isinstance(leaf, type) and is_dataclass(leaf)), None)


def _is_tuple_of_dataclass(hint: Any) -> bool:
    return typing.get_origin(hint) is tuple and _dataclass_in(hint) is not None
