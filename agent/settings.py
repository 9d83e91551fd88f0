"""What can be set: one frozen record, its sections, and what their values must hold to. `agent.config` reads it from files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from agent.editing.settings import EditSettings
from agent.errors import ConfigError
from agent.paths import MORE, POCKET, WORLD, data_file
from agent.policy import Policy
from agent.types import SourceSpec

_LEAST = {"ppl_ratio": 1, "max_trials": 1, "same_subject_prompts": 0, "same_relation": 0, "canary": 0}


@dataclass(frozen=True, slots=True)
class ArchSettings:
    """Where the MLPs of a family are that `agent.lm.arch` does not know; `family` is config.json's
    model_type, `norm` a norm between the down projection and the residual stream, if there is one.
    """

    family: str
    layers: str
    down: str
    norm: str = ""


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """`path`: a checkpoint folder or a hub id. `dtype`: auto (the checkpoint's own), float32, bfloat16 or
    float16. `chat`: prompts go through the tokenizer's chat template; auto: if it has one.
    """

    path: str = str(POCKET)
    dtype: str = "auto"
    device: str = "auto"
    chat: Literal["auto", "on", "off"] = "auto"
    arch: ArchSettings | None = None


@dataclass(frozen=True, slots=True)
class VerifySettings:
    """The gate's thresholds (shares from 0 to 1, `ppl_ratio` a factor) and how much is asked.

    `same_subject_prompts`: prompts for each other fact of an edited subject; `same_relation`: facts per
    edited relation; `canary`: facts in all. `texts`: a file with one held-out document a line, for
    perplexity; without it the base's own samples. `max_trials`: compilations at most when the gate refuses
    and culprits are searched.
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
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ConfigError(f"verify.{name} must be at least {least}, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class DaemonSettings:
    """`poll_minutes`: between two rounds; which sources are due in a round comes from the database."""

    poll_minutes: float = 15.0

    def __post_init__(self) -> None:
        if not self.poll_minutes > 0:
            raise ConfigError(f"daemon.poll_minutes must be more than zero, got {self.poll_minutes}")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a run depends on. `preserve_limit`: keys of other subjects' facts that a compilation
    protects. `given`: keys of `editing` that somebody chose, so that nothing measured takes their place; no key
    itself.
    """

    state: Path = Path("state")
    model: ModelSettings = ModelSettings()
    sources: tuple[SourceSpec, ...] = ()
    relations: Path = field(default_factory=lambda: data_file("relations.yaml"))
    catalogue: tuple[Path, ...] = (WORLD, MORE)
    ner: str | None = None
    editing: EditSettings = field(default_factory=EditSettings)
    preserve_limit: int = 1500
    verify: VerifySettings = VerifySettings()
    policy: Policy = field(default_factory=Policy)
    daemon: DaemonSettings = DaemonSettings()
    given: frozenset[str] = field(default=frozenset(), compare=False)

    def __post_init__(self) -> None:
        """Raises ConfigError for a source that contradicts itself."""
        for number, source in enumerate(self.sources):
            where = f"sources[{number}] ({source.name})"
            if not 0 <= source.weight < float("inf"):
                raise ConfigError(f"{where}: weight must be zero or more, got {source.weight}")
            if source.aggregator and source.publisher:
                raise ConfigError(
                    f"{where}: an aggregator's items each count as their own publisher;"
                    " leave out `publisher` or `aggregator`"
                )
