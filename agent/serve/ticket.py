"""A request between the thread that owns the model and the one that answers clients: what was asked, and what comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent.errors import RequestRefused
from agent.lm.stream import Finish
from agent.serve.order import Order
from agent.serve.served import Current
from agent.types import Fact


@dataclass(frozen=True, slots=True)
class Started:
    """The prompts were read. All choices are answered by this revision. `told`: facts of its overlay that were used."""

    current: Current
    prompt_tokens: int
    told: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """More of one choice's answer. With `finish` it is the last of it, and `tokens` are those it has in all."""

    choice: int
    text: str
    finish: Finish | None = None
    tokens: int = 0


Event = Started | Text | RequestRefused


@dataclass(eq=False, slots=True)
class Ticket:
    """`deliver` is called in the model's thread. `given_up`: set by who no longer waits, looked at between two tokens."""

    order: Order
    deliver: Callable[[Event], None]
    given_up: bool = False

    def give_up(self) -> None:
        self.given_up = True
