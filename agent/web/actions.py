"""What changes something: decisions, undoing them, another revision, coming in and leaving. Always by POST."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast, get_args

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from agent.errors import FactdError, StaleState, UsageError
from agent.store import published, revisions
from agent.store.decisions import Action, Decision, decide, undo
from agent.store.lock import worker_lock
from agent.web.front import Form, Front, back_to, number, printable, status_of
from agent.web.gate import form_of
from agent.web.sessions import Notice, Visitor
from agent.web.views import Views

_SPANS = {
    "1d": timedelta(days=1),
    "3d": timedelta(days=3),
    "1w": timedelta(weeks=1),
    "4w": timedelta(weeks=4),
}
_REASON = 2000
_DONE: dict[Action, str] = {
    "approve": "approved; factd apply, or the daemon, puts it into the model",
    "reject": "rejected",
    "defer": "deferred",
    "due": "due again",
    "reopen": "back in the queue",
    "send_back": "back in the queue",
    "take_back": "taken back; the model is served as before until the next factd apply",
}
_UNDOABLE: frozenset[Action] = frozenset({"approve", "reject", "defer"})


@dataclass(frozen=True, slots=True)
class Actions:
    front: Front

    def decide(self, request: Request, visitor: Visitor, form: Form) -> Response:
        """A decision that could not be made comes back as the proposal's page, with what was typed."""
        proposal_id, action = request.path_params["id"], request.path_params["action"].replace("-", "_")
        if action not in get_args(Action):
            raise UsageError("there is no such decision")
        reason, now = _words(form.get("reason", "")), self.front.now()
        try:
            decision = Decision(
                cast(Action, action), reason, _until(form, now) if action == "defer" else None
            )
            with self.front.writing() as store:
                made = decide(store, proposal_id, decision, seen=_seen(form), who=self.front.who, now=now)
        except FactdError as error:
            views = Views(self.front)
            return views.one(
                request, visitor, proposal_id, status=status_of(error), wrong=_sentence(error), draft=reason
            )
        text = f"Proposal {made.proposal.id} ({made.proposal.fact.subject}) is {_DONE[decision.action]}."
        if made.others:
            text += f" Put aside with it: {', '.join(map(str, made.others))}."
        step = (proposal_id, made.event) if action in _UNDOABLE else None
        visitor.notice = Notice(text, undo=step)
        return back_to(form)

    def undo(self, request: Request, visitor: Visitor, form: Form) -> Response:
        proposal_id = request.path_params["id"]
        try:
            with self.front.writing() as store:
                made = undo(
                    store,
                    proposal_id,
                    number(form.get("event", ""), 0),
                    who=self.front.who,
                    now=self.front.now(),
                )
        except FactdError as error:
            wrong = f"Not undone: {_sentence(error)}"
            return Views(self.front).one(request, visitor, proposal_id, status=status_of(error), wrong=wrong)
        back = f" Back with it, as new proposals: {', '.join(map(str, made.others))}." if made.others else ""
        visitor.notice = Notice(f"Undone: proposal {proposal_id} waits for a decision again.{back}")
        return back_to(form)

    def rollback(self, request: Request, visitor: Visitor, form: Form) -> Response:
        """Serve another revision, if the one that the page showed as served still is."""
        wanted, reason = request.path_params["id"], _words(form.get("reason", ""))
        try:
            if not reason:
                raise UsageError("going back needs a reason, it stays in the ledger")
            with self.front.writing() as store:
                revisions.get(store, wanted)
                with worker_lock(store.folder):
                    _still_served(published.pointer(store), number(form.get("served", ""), -1))
                    for line in revisions.repair(store):
                        self.front.tell(line)
                    found = revisions.rollback(
                        store, wanted, reason=reason, who=self.front.who, now=self.front.now()
                    )
        except FactdError as error:
            visitor.notice = Notice(_sentence(error), good=False)
            return RedirectResponse("/revisions", status_code=303)
        what = "The base model" if found.id == published.BASE else f"Revision {found.id}"
        visitor.notice = Notice(f"{what} is served.")
        return RedirectResponse("/revisions", status_code=303)

    async def enter(self, request: Request) -> Response:
        """The token of the start, in the address or from the field, for a cookie."""
        self.front.gate.check_host(request)
        if request.method == "POST":
            self.front.gate.check_origin(request)
            token = (await form_of(request)).get("token", "")
        else:
            token = request.query_params.get("token", "")
        visitor = self.front.gate.sessions.enter(token.strip())
        if visitor is None:
            message = "This token is not the right one. It changes each time that factd web starts."
            page = self.front.renderer.page("bare.html", message=message, title="Come in", token=True)
            return HTMLResponse(page, status_code=403)
        # Not a redirect: a strict cookie would not be sent along after a click in another site's page, a mail program's say.
        answer = HTMLResponse(self.front.renderer.page("entered.html"))
        answer.set_cookie(self.front.gate.cookie, visitor.cookie, httponly=True, samesite="strict", path="/")
        return answer

    def leave(self, _request: Request, visitor: Visitor, _form: Form) -> Response:
        self.front.gate.sessions.leave(visitor)
        page = self.front.renderer.page(
            "bare.html", message="You have left. The token lets you in again.", title="Left", token=True
        )
        answer = HTMLResponse(page)
        answer.delete_cookie(self.front.gate.cookie, path="/")
        return answer


def _still_served(now: int, seen: int) -> None:
    if now != seen:
        raise StaleState(f"revision {now} is served by now, not {seen}; nothing was changed, look again")


def _seen(form: Form) -> int:
    """A form that does not say what its page showed decides nothing. Raises UsageError."""
    seen = number(form.get("seen", ""), 0)
    if not seen:
        raise UsageError("the form does not say what was seen; load the page again")
    return seen


def _until(form: Form, now: datetime) -> datetime:
    """Raises UsageError."""
    day, span = form.get("date", "").strip(), form.get("until", "")
    if day:
        try:
            return datetime.fromisoformat(day).replace(tzinfo=UTC)
        except ValueError as error:
            raise UsageError("that is no date; give one like 2026-01-31") from error
    if span not in _SPANS:
        raise UsageError("say until when it is put off")
    return now + _SPANS[span]


def _words(text: str) -> str:
    """What a person typed, as one line of printable words."""
    return printable(text[:_REASON])


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
