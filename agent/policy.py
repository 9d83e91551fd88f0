"""What the owner allows: how much evidence a fact needs, what is never touched, what may pass without a
person.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent.errors import ConfigError

_NOT_NEGATIVE = (
    "cool_off_h",
    "contest_days",
    "min_score",
    "max_per_run",
    "max_per_day",
    "max_per_relation",
    "max_per_subject",
    "canary",
)


@dataclass(frozen=True, slots=True)
class AutoRule:
    """One rule of automatic approval: every condition of it must hold.

    `relations`: names, empty for all. `min_publishers`: independent publishers. `publishers`: if given,
    only these count. `min_age_h`: how long the proposal has waited in the queue, by our own clock, which
    no feed can set back. `min_score`: confidence; only publishers count of which the reader was at least so sure (0 to 1)
    that they say so. `name`: how the rule is called where it approved something.
    """

    relations: tuple[str, ...] = ()
    min_publishers: int = 3
    publishers: tuple[str, ...] = ()
    min_age_h: float = 24.0
    min_score: float = 0.0
    name: str = ""

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that cannot work."""
        if self.min_publishers < 1:
            raise ConfigError(
                f"policy.auto_approve: min_publishers must be at least 1, got {self.min_publishers}"
            )
        if not 0 <= self.min_age_h < float("inf"):
            raise ConfigError(f"policy.auto_approve: min_age_h must be zero or more, got {self.min_age_h}")
        if not 0 <= self.min_score <= 1:
            raise ConfigError(f"policy.auto_approve: min_score must be between 0 and 1, got {self.min_score}")
        if self.publishers and len(set(self.publishers)) < self.min_publishers:
            raise ConfigError(
                f"policy.auto_approve: min_publishers is {self.min_publishers}, and publishers lists only"
                f" {len(set(self.publishers))}: nothing could pass"
            )


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of `decide`.

    `min_publishers`, `cool_off_h`: for every relation; None leaves it to each relation's own.
    `max_age_days`: news older than that proves nothing about today; None for no limit. `contest_days`:
    how long two corroborated answers that overlap block each other. `min_score`: claims that the reader
    was less sure of do not count. `max_per_run`: proposals of one run; `max_per_day`, `max_per_relation`,
    `max_per_subject`: within 24 hours, in all, of one relation, of one subject; None for no limit. `refetch`:
    whether the pages behind an approved proposal are read again before it is compiled. `add_unknown`: also
    propose what the model has no answer to. `allow_unknown_subjects`: also those outside the catalogue.
    `protected`: names that no proposal may touch, as subject or as object. `auto_approve`: empty for never.
    `canary`: of a larger batch of approved proposals so many are applied, verified and published first, and the rest only when most of
    those got into the weights; 0 for all at once.
    """

    min_publishers: int | None = None
    cool_off_h: float | None = None
    max_age_days: float | None = 400.0
    contest_days: float = 7.0
    min_score: float = 0.0
    max_per_run: int = 200
    max_per_day: int | None = 500
    max_per_relation: int | None = 200
    max_per_subject: int | None = 10
    refetch: Literal["off", "on"] = "on"
    add_unknown: bool = True
    allow_unknown_subjects: bool = False
    protected: tuple[str, ...] = ()
    auto_approve: tuple[AutoRule, ...] = ()
    canary: int = 0

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that cannot work."""
        if self.min_publishers is not None and self.min_publishers < 1:
            raise ConfigError(
                f"policy.min_publishers must be at least 1, got {self.min_publishers}; "
                "leave it empty for each relation's own"
            )
        if self.max_age_days is not None and not self.max_age_days > 0:
            raise ConfigError(
                f"policy.max_age_days must be more than zero, or null for no limit; got {self.max_age_days}"
            )
        for name in _NOT_NEGATIVE:
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise ConfigError(f"policy.{name} must be zero or more, got {value}")
