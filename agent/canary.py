"""The canary: of a larger batch of approved proposals some go first, and the rest only when they came through.

A model that has become unfit for editing, a setting gone wrong or a run of bad facts then costs some proposals and not all. What waits
stays approved. A person looks and lets it go on (`factd apply`); nothing else does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agent.store import progress
from agent.store.db import Store
from agent.types import Proposal

_STAGE = "canary"


@dataclass(frozen=True, slots=True)
class Held:
    """Since when the rest waits, and why."""

    since_at: datetime
    reason: str


def held(store: Store) -> Held | None:
    """The canary that was refused and that nobody has looked at yet."""
    for stage in progress.stages(store):
        if stage.name == _STAGE and stage.detail.get("reason"):
            return Held(stage.done_at, str(stage.detail["reason"]))
    return None


def hold(store: Store, reason: str, now: datetime) -> None:
    progress.stage_done(store, _STAGE, now, {"reason": reason})


def release(store: Store, now: datetime) -> None:
    """The rest may go on; writes nothing where nothing was held."""
    if held(store) is not None:
        progress.stage_done(store, _STAGE, now, {})


def split(approved: Sequence[Proposal], canary: int) -> tuple[tuple[Proposal, ...], tuple[Proposal, ...]]:
    """Who goes first, and who waits for them: the oldest ids go first; nobody waits without a canary, or in a small batch."""
    ordered = tuple(sorted(approved, key=lambda p: p.id))
    if not canary or len(ordered) <= canary:
        return ordered, ()
    return ordered[:canary], ordered[canary:]


def objection(tried: int, compiled: int) -> str:
    """Why the rest has to wait, "" if it need not: fewer than half of the canary got into the weights.

    That a name or two cannot be written is ordinary; that most of a batch cannot is not.
    """
    if 2 * compiled >= tried:
        return ""
    return f"of the first {tried} facts {compiled} got into the weights (policy.canary)"
