"""What can be set: one frozen record, its sections, and what their values must hold to. `agent.config` reads it from files."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from agent.editing.settings import EditSettings
from agent.errors import ConfigError
from agent.paths import MORE, POCKET, WORLD, data_file
from agent.policy import Policy
from agent.types import SourceSpec

_LEAST = {"ppl_ratio": 1, "max_trials": 1, "same_subject_prompts": 0, "same_relation": 0, "canary": 0}
_VARIABLE = re.compile(r"(?!FACTD_)[A-Za-z_][A-Za-z0-9_]*")
_NO_VARIABLE = (
    "{} must be the name of an environment variable that does not begin with FACTD_, such as {}; the key itself"
    " must not stand in a settings file"
)


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
    """The gate's thresholds (shares from 0 to 1, `ppl_ratio` a factor; `drift` in nats, `entropy` a share, `norm` relative) and how
    much is asked.

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
    drift: float = 0.5
    entropy: float = 0.8
    norm: float = 5.0
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
        if not 0 <= self.entropy <= 1:
            raise ConfigError(f"verify.entropy must be between 0 and 1, got {self.entropy}")
        for name in ("drift", "norm"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"verify.{name} must be more than zero, got {getattr(self, name)}")
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ConfigError(f"verify.{name} must be at least {least}, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class DaemonSettings:
    """`factd run`. `poll_minutes`: between two rounds; which sources are due in a round comes from the database. `port`: of the status
    page, /healthz, /readyz and /metrics; None for none. `host`: the address they listen on. `stuck_minutes`: a round that makes no step for so
    long is stuck. `log`: the form of the lines on stderr.
    """

    poll_minutes: float = 15.0
    port: int | None = None
    host: str = "127.0.0.1"
    stuck_minutes: float = 60.0
    log: Literal["text", "json"] = "text"

    def __post_init__(self) -> None:
        for name in ("poll_minutes", "stuck_minutes"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"daemon.{name} must be more than zero, got {getattr(self, name)}")
        if self.port is not None and not 0 <= self.port <= 65535:
            raise ConfigError(f"daemon.port must be between 0 and 65535, or null for none; got {self.port}")


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """`factd serve`. `key_variable` names the environment variable with the key that clients must show; without
    one only loopback is served. `overlay`: what is done for facts that are beside the weights. `batch`: answers
    written at once; `waiting`: requests that may wait for their turn. `max_tokens`: the longest answer.
    `temperature`: where a request names none. `body_kb`: the largest request. `poll_s`: between two looks for
    another revision.
    """

    host: str = "127.0.0.1"
    port: int = 8400
    key_variable: str = ""
    overlay: Literal["both", "context", "off"] = "both"
    batch: int = 16
    waiting: int = 64
    max_tokens: int = 1024
    temperature: float = 0.0
    body_kb: int = 256
    poll_s: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"serve.port must be between 0 and 65535, got {self.port}")
        if self.key_variable and not _VARIABLE.fullmatch(self.key_variable):
            # The value is not shown: somebody may have put the key itself here.
            raise ConfigError(_NO_VARIABLE.format("serve.key_variable", "SERVE_KEY"))
        for name in ("batch", "waiting", "max_tokens", "body_kb"):
            if getattr(self, name) < 1:
                raise ConfigError(f"serve.{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.temperature <= 2:
            raise ConfigError(f"serve.temperature must be between 0 and 2, got {self.temperature}")
        if not self.poll_s > 0:
            raise ConfigError(f"serve.poll_s must be more than zero, got {self.poll_s}")


@dataclass(frozen=True, slots=True)
class ExtractorSettings:
    """Who reads claims out of articles: the rules, a language model behind an OpenAI-compatible endpoint, or
    both.

    `url` ends before `/chat/completions`. `key_variable` names the environment variable that holds the key;
    the key itself stands in no file. `timeout_s` is for one article, `max_articles` for one round.
    `allow_private`: the endpoint may lie on this machine or in the local network. `response_format`: how the
    server is told the form of its answer, or that it is not told; the answer is checked in any case.
    """

    kind: Literal["rules", "llm", "both"] = "rules"
    url: str = "http://127.0.0.1:8080/v1"
    model: str = ""
    key_variable: str = ""
    timeout_s: float = 120.0
    max_articles: int = 100
    allow_private: bool = True
    response_format: Literal["json_schema", "json_object", "none"] = "json_schema"

    def __post_init__(self) -> None:
        if not _is_endpoint(self.url):
            raise ConfigError(
                "extractor.url must be http(s)://host[:port]/path without login, query or fragment;"
                " a key goes into the variable that extractor.key_variable names"
            )
        if self.key_variable and not _VARIABLE.fullmatch(self.key_variable):
            # The value is not shown: somebody may have put the key itself here.
            raise ConfigError(_NO_VARIABLE.format("extractor.key_variable", "LLM_API_KEY"))
        if self.kind != "rules" and not self.model.strip():
            raise ConfigError(
                f"extractor.model must name the model where extractor.kind is {self.kind!r}: it is sent to the"
                " server, and articles are read again when it changes"
            )
        for name, least in (("timeout_s", 0.001), ("max_articles", 1)):
            if not getattr(self, name) >= least:
                raise ConfigError(f"extractor.{name} must be at least {least:g}, got {getattr(self, name)}")


def _is_endpoint(url: str) -> bool:
    try:
        parts = urlsplit(url)
        good_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    rest = parts.query or parts.fragment or "@" in parts.netloc
    return good_port and parts.scheme in ("http", "https") and bool(parts.hostname) and not rest


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
    extractor: ExtractorSettings = ExtractorSettings()
    editing: EditSettings = field(default_factory=EditSettings)
    preserve_limit: int = 1500
    verify: VerifySettings = VerifySettings()
    policy: Policy = field(default_factory=Policy)
    daemon: DaemonSettings = DaemonSettings()
    serve: ServeSettings = ServeSettings()
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
