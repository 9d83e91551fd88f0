"""What a compilation depends on besides the facts: one frozen record, hashed into every cache key and
revision.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from agent.errors import ConfigError

AlgorithmName = Literal["alphaedit", "emmet", "ft", "memit", "pmet", "rome"]
Mode = Literal["joint", "sequential"]


@dataclass(frozen=True, slots=True)
class EditSettings:
    """Settings of the compiler.

    `layers`: edited layers, ascending; the last one is where values are optimised; empty for the family's own
    choice. `steps`, `lr`: Adam on the value vectors; a step is about `lr` * |h| long. `kl`: weight of the
    relation KL. `decay`: weight of |delta|²/|h|². `clamp`: largest |delta| relative to |h|, for n facts of one subject sqrt(n) times
    that. `stop_loss`: a request stops once its mean NLL (nats per token) is below. `covariance`: weight of the key covariance, in
    units of d_in (MEMIT's lambda is about 1); alphaedit: its L2, in units of the mean squared key. `null_share`: alphaedit writes
    only where at most this share of the covariance's trace lies. `preserve`: weight of a preserve key relative to an edit key. More than a
    hundred facts in one solve weigh as much against these two as a hundred.
    `contexts`: sampled prefixes per prompt besides the bare one, `context_tokens` long. `batch_rows`: rows of one forward pass.
    `corpus`: folder of texts on which the key statistics are measured; without it on texts that the model writes, `sample_tokens`
    long each: `samples` of them, or with 0 as many as the statistics need. `statistics_tokens`: tokens they are measured on; 0: until
    they are steady, between 10 and 40 a dimension. `statistics`: .npz files that hold them already (a folder or a pattern).
    `carriers`: also write at the bare subject in short generic texts. `rounds`: MEMIT solves, each making up for what the one
    before fell short of; pmet solves once, and looks at all keep prompts in every step whatever `turns` says.
    `polish`: Adam steps on the written values in the edited model, all facts at once (`agent.editing.polish`), of 150 facts and more;
    n fewer ones take sqrt(n / 150) of them, at least a third. `polish_lr`: their first rate, `polish_covariance`: the weight of what
    they change of ordinary text; not used with ft, whose update has no column per fact.
    `prompts`: how many of a fact's prompts, the first ones, its value is optimised on; 0: all. Polishing looks at all.
    `turns`: every step looks, by turns, at two edit prompts of a fact (or at one in `turns` of many), and at one in `turns` of the
    prompts whose answers should stay. `keep_tokens`: how many tokens of such an answer, from its first one on, are held.
    `ft_eps`: ft moves no entry of the weight by more than this, in units of the weight's root mean square over the root of d_in: the
    largest change of an output relative to its usual size. ft reads besides it `layers` (the last), `steps`, `lr` (a step moves an entry by
    about `lr` of the bound), `stop_loss` and `batch_rows` only; it has no values, no covariance and nothing to preserve.
    `give_up`: a request whose mean NLL is still above this after all steps gets no value; 0 for never.
    `chunk`: subjects whose values are optimised together. `batch`: facts of one step in sequential mode.
    `history`: in sequential mode the prompts of earlier batches about other subjects are preserve texts as well, with the weight
    `preserve` (2605.26670); without it each batch is solved as if there had been none before it, as peers do.
    """

    algorithm: AlgorithmName = "memit"
    mode: Mode = "joint"
    layers: tuple[int, ...] = ()
    steps: int = 25
    lr: float = 0.2
    kl: float = 0.0625
    decay: float = 0.05
    clamp: float = 1.5
    stop_loss: float = 0.05
    give_up: float = 0.0
    prompts: int = 0
    turns: int = 1
    keep_tokens: int = 4
    covariance: float = 0.1
    preserve: float = 1.0
    null_share: float = 0.02
    contexts: int = 2
    carriers: bool = True
    rounds: int = 3
    polish: int = 0
    polish_lr: float = 0.1
    polish_covariance: float = 0.0
    ft_eps: float = 1.0
    context_tokens: int = 8
    samples: int = 0
    sample_tokens: int = 48
    corpus: Path | None = None
    statistics: Path | None = None
    statistics_tokens: int = 0
    batch_rows: int = 512
    chunk: int = 64
    batch: int = 1
    history: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that cannot work."""
        if self.algorithm not in get_args(AlgorithmName):
            known = ", ".join(get_args(AlgorithmName))
            raise ConfigError(f"editing.algorithm must be one of {known}, got {self.algorithm!r}")
        if self.mode not in ("joint", "sequential"):
            raise ConfigError(f"editing.mode must be joint or sequential, got {self.mode!r}")
        if list(self.layers) != sorted(set(self.layers)) or any(layer < 0 for layer in self.layers):
            raise ConfigError(f"editing.layers must be ascending layer numbers, got {list(self.layers)}")
        for name in (
            "steps",
            "lr",
            "clamp",
            "rounds",
            "turns",
            "keep_tokens",
            "batch_rows",
            "chunk",
            "batch",
            "sample_tokens",
            "null_share",
            "ft_eps",
        ):
            if getattr(self, name) <= 0:
                raise ConfigError(f"editing.{name} must be more than zero, got {getattr(self, name)}")
        for name in (
            "kl",
            "decay",
            "covariance",
            "preserve",
            "contexts",
            "context_tokens",
            "samples",
            "statistics_tokens",
            "stop_loss",
            "give_up",
            "prompts",
            "polish",
            "polish_lr",
            "polish_covariance",
        ):
            if getattr(self, name) < 0:
                raise ConfigError(f"editing.{name} must not be negative, got {getattr(self, name)}")

    @property
    def sha(self) -> str:
        """SHA-256 (hex) of all settings."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True, default=str).encode()).hexdigest()
