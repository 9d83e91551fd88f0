"""Which revision is in the model: follows the state folder's pointer, and lets no damaged revision in.

Weights are base + delta in memory. Going to another revision first puts the base back bit for bit (`agent.editing.delta.applied`),
and only after the new one's files were read, checked and found to fit. What cannot be served is told, and the old one goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from agent.catalogue import Catalogue
from agent.editing.delta import Delta, applied
from agent.errors import FactdError
from agent.lm.load import LM
from agent.overlay import Overlay
from agent.relations import Relation
from agent.store import revisions
from agent.store.db import Store, read_store
from agent.types import Fact, Revision
from agent.workshop import delta_of

Tell = Callable[[str], None]
_SHOWN = 12
# A revision that was refused is tried again: somebody may have put its files back.
_AGAIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Current:
    """What is served now. `id` 0 is the base, whose `delta_sha` is that of its own files."""

    id: int
    delta_sha: str
    overlay: Overlay
    facts: int = 0

    @property
    def fingerprint(self) -> str:
        return f"factd-r{self.id}-{self.delta_sha[:_SHOWN]}"

    @property
    def beside(self) -> tuple[Fact, ...]:
        """The facts that are told to the model beside the question."""
        return self.overlay.facts


@dataclass(frozen=True, slots=True)
class Choice:
    """Which revision is to be served: the state's current one, also when it changes; or `fixed`, whatever comes (0: the base).

    `folder`: the state folder; None where the base is served without one.
    """

    folder: Path | None
    fixed: int | None = None


@dataclass(slots=True)
class Served:
    """The model with one revision in it. Belongs to the thread that opened it, as its database does."""

    lm: LM
    choice: Choice
    relations: Mapping[str, Relation]
    catalogue: Catalogue
    tell: Tell
    problem: str = ""
    current: Current = field(init=False)
    _store: Store | None = None
    _stack: ExitStack = field(default_factory=ExitStack)
    _delta: Delta | None = None
    _refused: tuple[int, float] = (-1, 0.0)

    def open(self) -> None:
        """Put the revision to be served into the model. Raises FactdError when that cannot be done: there is no old one yet."""
        if self.choice.folder is not None:
            self._store = read_store(self.choice.folder)
        self._take(self.wanted())

    def close(self) -> None:
        """The base again, bit for bit; the database is closed."""
        self._stack.close()
        if self._store is not None:
            self._store.close()

    def wanted(self) -> int:
        """The revision that should be served. Raises StoreError."""
        if self.choice.fixed is not None or self._store is None:
            return self.choice.fixed or 0
        return revisions.pointer(self._store)

    def is_due(self) -> bool:
        """Whether another revision is wanted, and was not refused just now. Cheap: one row is read."""
        try:
            wanted = self.wanted()
        except FactdError as error:
            self._complain(f"the state cannot be read: {error}")
            return False
        if wanted == self.current.id:
            self._complain("")
            return False
        refused, at = self._refused
        return wanted != refused or time.monotonic() - at >= _AGAIN_S

    def switch(self) -> None:
        """Serve the wanted revision. One that cannot be served is told, and what was served still is."""
        wanted = self.current.id
        try:
            wanted = self.wanted()
            self._take(wanted)
        except Exception as error:  # whatever is wrong with it, what was served is no worse
            self._refused = (wanted, time.monotonic())
            self._complain(f"revision {wanted} is refused, {self.current.id} is served still: {error}")
        else:
            self._complain("")

    def _take(self, revision_id: int) -> None:
        revision = (
            None if revision_id == 0 or self._store is None else revisions.get(self._store, revision_id)
        )
        delta = Delta({}, self.lm.sha)
        if self._store is not None:
            delta = delta_of(self._store, revision_id, self.lm)
        overlay = Overlay(revision.overlay if revision else (), self.relations, self.catalogue)
        self._apply(delta)
        self.current = _current(revision, self.lm.sha, overlay)

    def _apply(self, delta: Delta) -> None:
        """Raises EditError for a delta that does not fit this model; then the old one is in it again."""
        before = self._delta
        self._stack.close()
        try:
            self._stack.enter_context(applied(self.lm, delta))
        except Exception:
            if before is not None:
                self._stack.enter_context(applied(self.lm, before))
            raise
        self._delta = delta

    def _complain(self, problem: str) -> None:
        """Once for each problem, and once when it is over."""
        if problem == self.problem:
            return
        self.problem = problem
        self.tell(
            f"warning: {problem}" if problem else f"revision {self.current.id} is served, all is well again"
        )


def _current(revision: Revision | None, base_sha: str, overlay: Overlay) -> Current:
    if revision is None:
        return Current(0, base_sha, overlay)
    return Current(revision.id, revision.delta_sha, overlay, len(revision.facts))
