"""The one thread that owns the model: it takes requests in turn, writes many answers at once, and follows the revision.

    submit -> waiting -> [room in the batch] -> prompts read -> a token for everybody -> ... -> text to each ticket

A request joins between two tokens of the others. When another revision is wanted nobody joins until the batch is written to its
end, then the weights change: no answer mixes two revisions, and none is dropped for it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from agent.errors import RequestRefused
from agent.lm.stream import Decoder, Piece, Row
from agent.serve.prompts import prepare
from agent.serve.served import Current, Served, Tell
from agent.serve.ticket import Started, Text, Ticket
from agent.settings import ServeSettings

State = Literal["starting", "running", "finishing", "halting", "stopped"]
_RETRY_S = 1


@dataclass(slots=True)
class Engine:
    """Start it, submit tickets from any thread, `finish` it. `served` is opened, used and closed by the engine's thread alone."""

    served: Served
    settings: ServeSettings
    tell: Tell
    state: State = "starting"
    _waiting: deque[Ticket] = field(default_factory=deque)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _thread: threading.Thread | None = None
    _failure: BaseException | None = None
    _decoder: Decoder = field(init=False)
    _of: dict[Row, tuple[Ticket, int]] = field(default_factory=dict)
    _looked_at: float = 0.0
    _due: bool = False

    def __post_init__(self) -> None:
        self._decoder = Decoder(self.served.lm)

    def start(self) -> None:
        """Returns once a revision is served. Raises FactdError when that cannot be."""
        self._thread = threading.Thread(target=self._run, name="factd-model", daemon=True)
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self.state != "starting")
        if self._failure is not None:
            raise self._failure

    def submit(self, ticket: Ticket) -> None:
        """Put a request into the queue. Raises RequestRefused: 429 when too many wait, 503 when the server stops."""
        with self._changed:
            if self.state != "running":
                raise RequestRefused(
                    "the server is stopping; try again in a moment", status=503, retry_after_s=_RETRY_S
                )
            if len(self._waiting) >= self.settings.waiting:
                raise RequestRefused(
                    f"{len(self._waiting)} requests wait already (serve.waiting); try again in a moment",
                    status=429,
                    code="rate_limit_exceeded",
                    retry_after_s=_RETRY_S,
                )
            self._waiting.append(ticket)
            self._changed.notify_all()

    def finish(self, *, now: bool = False, timeout_s: float | None = None) -> None:
        """Take no more requests, answer those there are (`now`: refuse them), give the base back, end the thread."""
        with self._changed:
            if self.state in ("running", "finishing"):
                self.state = "halting" if now else "finishing"
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)

    @property
    def current(self) -> Current:
        return self.served.current

    @property
    def load(self) -> tuple[int, int]:
        """(answers being written, requests that wait)."""
        return len(self._of), len(self._waiting)

    def _run(self) -> None:
        try:
            self.served.open()
        except BaseException as error:
            self._failure = error
            self._move("stopped")
            return
        self._move("running")
        try:
            while self._turn():
                pass
        except BaseException as error:  # our fault; nobody may wait for a thread that is gone
            self.tell(f"error: the model's thread ended: {type(error).__name__}: {error}")
        finally:
            self._move("stopped")
            self._refuse_all(_broken("the server has stopped; start it again", 503))
            self.served.close()

    def _turn(self) -> bool:
        """One step of everything; False when it is time to end."""
        if self.state == "halting":
            return False
        self._drop_given_up()
        if self._switch_is_due():
            if not self._of:
                self.served.switch()
        else:
            self._admit()
        if self._of:
            self._step()
            return True
        with self._changed:
            if not self._waiting:
                if self.state == "finishing":
                    return False
                self._changed.wait(self.settings.poll_s)
        return True

    def _switch_is_due(self) -> bool:
        """Looked up every `poll_s`, and before a batch begins. Once due it stays so, and nobody joins, or the batch would never end."""
        now = time.monotonic()
        if not self._of or now - self._looked_at >= self.settings.poll_s:
            self._looked_at, self._due = now, self.served.is_due()
        return self._due

    def _admit(self) -> None:
        """Requests in their turn, as far as there is room; their prompts are read in one pass."""
        rows: list[Row] = []
        while (ticket := self._next(len(self._of))) is not None:
            rows += self._begin(ticket)
        if not rows:
            return
        try:
            self._deliver(self._decoder.admit(rows))
        except Exception as error:
            self._fail(error)

    def _next(self, running: int) -> Ticket | None:
        with self._changed:
            while self._waiting and self._waiting[0].given_up:
                self._waiting.popleft()
            room = self.settings.batch - running
            if not self._waiting or self._waiting[0].order.rows > room or not self._decoder.is_open:
                return None
            return self._waiting.popleft()

    def _begin(self, ticket: Ticket) -> list[Row]:
        """The rows of a request; none when it is refused."""
        try:
            lm, current = self.served.lm, self.served.current
            prepared = prepare(lm, ticket.order, current.overlay, self.settings)
            rows = [Row.of(lm, wanted) for wanted in prepared.wanted]
        except RequestRefused as error:
            ticket.deliver(error)
            return []
        except Exception as error:
            self.tell(f"error: a request could not be prepared: {type(error).__name__}: {error}")
            ticket.deliver(_broken("the request could not be prepared"))
            return []
        ticket.deliver(Started(current, prepared.prompt_tokens, prepared.told))
        self._of.update({row: (ticket, choice) for choice, row in enumerate(rows)})
        return rows

    def _step(self) -> None:
        try:
            self._deliver(self._decoder.step())
        except Exception as error:
            self._fail(error)

    def _deliver(self, pieces: list[Piece]) -> None:
        for row, text in pieces:
            ticket, choice = self._of.get(row, (None, 0))
            if ticket is None or not (text or row.finish):
                continue
            ticket.deliver(Text(choice, text, row.finish, row.written))
            if row.finish:
                del self._of[row]

    def _drop_given_up(self) -> None:
        gone = [row for row, (ticket, _) in self._of.items() if ticket.given_up]
        if gone:
            self._decoder.drop(gone)
            for row in gone:
                del self._of[row]

    def _fail(self, error: Exception) -> None:
        """The batch is lost (memory, most likely): its clients are told, and the next batch begins anew."""
        self.tell(f"error: a batch of {len(self._of)} failed: {type(error).__name__}: {error}")
        self._decoder.clear()
        running = {ticket for ticket, _ in self._of.values()}
        self._of.clear()
        for ticket in running:
            ticket.deliver(_broken("the model failed while it wrote this answer; try again"))

    def _refuse_all(self, error: RequestRefused) -> None:
        with self._changed:
            tickets = {*self._waiting, *(ticket for ticket, _ in self._of.values())}
            self._waiting.clear()
        self._of.clear()
        for ticket in tickets:
            ticket.deliver(error)

    def _move(self, state: State) -> None:
        with self._changed:
            self.state = state
            self._changed.notify_all()


def _broken(message: str, status: int = 500) -> RequestRefused:
    return RequestRefused(message, status=status, code="server_error")
