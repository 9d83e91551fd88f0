"""A sitting of `factd review`: which proposal is on the screen, what each key does, what was decided."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from agent.cli.edits import moment
from agent.cli.keys import END, RESIZED, Keyboard
from agent.cli.reviewview import EVIDENCE_KEYS, HELP, KEYS, article_lines, case_lines, framed, last_top
from agent.cli.text import Line, minute, plural, safe_text, screen
from agent.errors import FactdError, UsageError
from agent.page.links import safe_link
from agent.store import desk
from agent.store.db import Store
from agent.store.decisions import Decision, Made, decide, undo
from agent.store.desk import Case

_DONE = {"approve": "approved", "reject": "rejected", "defer": "deferred"}
_DOWN, _UP = ("j", "down"), ("k", "up")


@dataclass(slots=True)
class Reviewer:
    """One sitting. `made`: the decisions that can be undone; `passed`: what was left undecided."""

    store: Store
    now: Callable[[], datetime]
    who: str
    made: list[tuple[str, Made]] = field(default_factory=list)
    passed: set[int] = field(default_factory=set)
    current: int | None = None
    message: Line = ("", "")
    top: int = 0
    draft: str = ""

    def run(self, keys: Keyboard) -> None:
        """Until the person quits. Raises KeyboardInterrupt."""
        shown: int | None = None
        while True:
            case = self._case()
            if shown != self.current:
                self.top, self.draft, shown = 0, "", self.current
                keys.forget()
            self._draw(case)
            key = keys.key()
            if key in ("q", END):
                return
            if key != RESIZED:
                self.message = ("", "")
                self._act(keys, key, case)

    def summary(self) -> str:
        """What was done, in a line."""
        done = Counter(_DONE[action] for action, _ in self.made)
        told = ", ".join(f"{count} {what}" for what, count in done.items()) or "nothing decided"
        left = plural(len(desk.waiting(self.store, self.now())), "proposal")
        more = "; `factd apply` puts what is approved into the model" if done["approved"] else ""
        return f"{told}; {left} left{more}"

    def _case(self) -> Case | None:
        """The proposal on the screen, as it is now; the next one where it no longer waits."""
        waiting = desk.waiting(self.store, self.now())
        if self.current not in waiting:
            if self.current is not None and not self.message[1]:
                self._tell_what_became_of(self.current)
            self.current = next((number for number in waiting if number not in self.passed), None)
        return None if self.current is None else desk.case(self.store, self.current)

    def _tell_what_became_of(self, number: int) -> None:
        """Somebody else, or the daemon, was faster."""
        newest = desk.case(self.store, number).events[-1]
        why = f" ({newest.reason})" if newest.reason else ""
        self.message = (
            "bad",
            f"proposal {number} is {newest.target.replace('_', ' ')} now, by {newest.who}{why}",
        )

    def _draw(self, case: Case | None) -> None:
        width, height = _size()
        foot: list[Line] = [self.message, ("bar", f" {KEYS}")]
        if case is None:
            left = len(set(desk.waiting(self.store, self.now())) & self.passed)
            body: list[Line] = [("", ""), ("strong", "Nothing waits for a decision.")]
            if left:
                body = [
                    ("", ""),
                    ("strong", f"All shown; {left} left undecided."),
                    ("", "n shows them again."),
                ]
            _show(framed("factd review", body, foot, height, 0), width)
            return
        body = case_lines(case, width)
        self.top = min(self.top, last_top(body, len(foot), height))
        waiting = len(desk.waiting(self.store, self.now()))
        head = f"proposal {case.proposal.id} · {waiting} waiting"
        _show(framed(head, body, foot, height, self.top), width)

    def _act(self, keys: Keyboard, key: str, case: Case | None) -> None:
        """Decisions go wrong with a message, and nothing is lost."""
        try:
            if key == "?":
                self._help(keys)
            elif key == "u":
                self._undo()
            elif key == "n":
                self._next()
            elif case is None:
                self.message = ("", f"{key} does nothing here; ? for help")
            elif key in (*_DOWN, *_UP, "page down", "page up"):
                self.top = max(0, self.top + _step(key, _size()[1]))
            elif key == "e":
                self._evidence(keys, case)
            elif key == "a":
                self._decide(case, Decision("approve"))
            elif key == "r":
                self._reject(keys, case)
            elif key == "d":
                self._defer(keys, case)
            else:
                self.message = ("", f"{key} does nothing here; ? for help")
        except FactdError as error:
            self.message = ("bad", str(error))

    def _decide(self, case: Case, decision: Decision) -> None:
        """Raises StaleState when somebody touched the proposal since it was drawn, StoreError."""
        made = decide(self.store, case.proposal.id, decision, seen=case.seen, who=self.who, now=self.now())
        self.made.append((decision.action, made))
        aside = f"; put aside: {', '.join(map(str, made.others))}" if made.others else ""
        self.message = ("good", f"proposal {made.proposal.id} {_DONE[decision.action]}{aside} (u undoes it)")
        self.draft = ""

    def _reject(self, keys: Keyboard, case: Case) -> None:
        hint = f"Enter: {self.draft}" if self.draft else "Enter alone: do not"
        said = keys.line(f"\nreject, why ({hint})? ")
        reason = "" if said is None else safe_text(said).strip() or self.draft
        if not reason:
            self.message = ("", "not rejected")
            return
        self.draft = reason  # kept, should somebody have been faster
        self._decide(case, Decision("reject", reason))

    def _defer(self, keys: Keyboard, case: Case) -> None:
        said = keys.line("\ndefer until (3d, 12h, 2w, or a date; Enter: 3d)? ")
        if said is None:
            self.message = ("", "not deferred")
            return
        try:
            until = moment(said or "3d", self.now())
        except UsageError as error:
            self.message = ("bad", str(error).removeprefix("--until: "))
            return
        self._decide(case, Decision("defer", "", until))
        self.message = ("good", f"{self.message[1]}, until {minute(until)} UTC")

    def _undo(self) -> None:
        if not self.made:
            self.message = ("", "there is nothing to undo in this sitting")
            return
        action, last = self.made.pop()
        try:
            undone = undo(self.store, last.proposal.id, last.event, who=self.who, now=self.now())
        except FactdError as error:
            self.message = ("bad", f"not undone: {error}")
            return
        self.current = last.proposal.id
        back = f"; back as {', '.join(map(str, undone.others))}" if undone.others else ""
        self.message = ("good", f"proposal {last.proposal.id} is no longer {_DONE[action]}{back}")

    def _next(self) -> None:
        if self.current is None:
            self.passed.clear()
        else:
            self.passed.add(self.current)
            waiting = desk.waiting(self.store, self.now())
            self.current = next((number for number in waiting if number not in self.passed), None)

    def _help(self, keys: Keyboard) -> None:
        while True:
            width, height = _size()
            _show(framed("factd review · help", HELP, [], height, 0), width)
            if keys.key() != RESIZED:
                return

    def _evidence(self, keys: Keyboard, case: Case) -> None:
        """The sentences in their articles."""
        if not case.claims:
            self.message = ("", "there is no evidence: a person gave this")
            return
        place, top, message = 0, 0, ("", "")
        while True:
            width, height = _size()
            claim = case.claims[place]
            article = case.cited.get(claim.article_id)
            body, foot = article_lines(claim, article, width), [message, ("bar", f" {EVIDENCE_KEYS}")]
            top = min(top, last_top(body, len(foot), height))
            head = f"proposal {case.proposal.id} · evidence {place + 1} of {len(case.claims)}"
            _show(framed(head, body, foot, height, top), width)
            key = keys.key()
            if key in ("e", "q", "escape", END):
                return
            if key in ("n", "right", "p", "left"):
                place, top = (place + (1 if key in ("n", "right") else -1)) % len(case.claims), 0
            elif key == "o":
                message = _opened(keys, article.url if article else "")
                continue
            elif key != RESIZED:
                top = max(0, top + _step(key, height))
            message = message if key == RESIZED else ("", "")


def _opened(keys: Keyboard, url: str) -> Line:
    """Open an address in the person's browser, if it is one of the web."""
    link = safe_link(url)
    if not link:
        return ("bad", "this is no address of the web; it is not opened")
    import webbrowser

    with keys.cooked():
        done = webbrowser.open(link)
    return ("good", "opened") if done else ("bad", "there is no browser here; copy the address")


def _step(key: str, height: int) -> int:
    """How many lines a key scrolls."""
    return {"j": 1, "down": 1, "k": -1, "up": -1, "page down": height - 4, "page up": 4 - height}.get(key, 0)


def _size() -> tuple[int, int]:
    """Columns and lines of the terminal as they are now; not COLUMNS and LINES, which do not follow."""
    try:
        size = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        return 80, 24
    return size.columns or 80, size.lines or 24


def _show(lines: list[Line], width: int) -> None:
    styled = not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
    screen(lines, width, styled=styled)
