"""The pages that only show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from agent.errors import UnknownId
from agent.page.html import allowed, html
from agent.page.metrics import metric_rows
from agent.page.view import around, view
from agent.reportfiles import kept, thresholds
from agent.store import desk, published
from agent.store.desk import Filter
from agent.types import Status
from agent.web.front import Front, number, printable
from agent.web.sessions import Notice, Visitor

STATUSES = ("due", "deferred", *(status for status in get_args(Status) if status != "pending"), "")


@dataclass(frozen=True, slots=True)
class Views:
    front: Front

    def home(self, _request: Request, _visitor: Visitor) -> Response:
        return RedirectResponse("/queue", status_code=303)

    def queue(self, request: Request, visitor: Visitor) -> Response:
        asked = request.query_params
        status = asked.get("status", "due")
        wanted = Filter(
            status if status in STATUSES else "due",
            asked.get("relation", ""),
            printable(asked.get("find", "")),
        )
        now = self.front.now()
        with self.front.reading() as store:
            page = desk.listed(store, wanted, now, number(asked.get("page", "")))
            cases = desk.cases(store, page.items)
            relations = [name for name in desk.relations(store) if name.isprintable()]
        query = {
            "status": "" if wanted.status == "due" else wanted.status or "all",
            "relation": wanted.relation,
        }
        return self.front.page(
            request, visitor, "queue.html", page=page, cases=cases, wanted=wanted, relations=relations,
            query={**query, "find": wanted.text}, statuses=STATUSES,
        )  # fmt: skip

    def proposal(self, request: Request, visitor: Visitor) -> Response:
        return self.one(request, visitor, request.path_params["id"])

    def one(
        self,
        request: Request,
        visitor: Visitor,
        proposal_id: int,
        *,
        status: int = 200,
        wrong: str = "",
        draft: str = "",
    ) -> Response:
        """A proposal's page. `wrong`: why a decision was not made; `draft`: the reason that was typed for it."""
        with self.front.reading() as store:
            case = desk.case(store, proposal_id)
        if wrong:
            visitor.notice = Notice(wrong, good=False)
        return self.front.page(
            request, visitor, "proposal.html", status=status, case=case, draft=draft, back=f"/proposals/{proposal_id}"
        )  # fmt: skip

    def evidence(self, request: Request, visitor: Visitor) -> Response:
        with self.front.reading() as store:
            found = desk.evidence(store, request.query_params.get("claim", ""))
        if found is None:
            raise UnknownId("There is no such sentence, or its article is gone.")
        claim, article = found
        return self.front.page(
            request, visitor, "evidence.html", claim=claim, article=article,
            parts=around(article.text, claim.sentence),
        )  # fmt: skip

    def beliefs(self, request: Request, visitor: Visitor) -> Response:
        find = printable(request.query_params.get("find", ""))
        with self.front.reading() as store:
            page = desk.beliefs(store, find, number(request.query_params.get("page", "")))
        return self.front.page(request, visitor, "beliefs.html", page=page, find=find, query={"find": find})

    def history(self, request: Request, visitor: Visitor) -> Response:
        with self.front.reading() as store:
            page = desk.happened(store, number(request.query_params.get("page", "")), 50)
        return self.front.page(request, visitor, "history.html", page=page, query={})

    def subject(self, request: Request, visitor: Visitor) -> Response:
        name = request.query_params.get("name", "")
        with self.front.reading() as store:
            tracks = desk.subject(store, name)
        status = 200 if tracks else 404
        return self.front.page(request, visitor, "subject.html", status=status, name=name, tracks=tracks)

    def revisions(self, request: Request, visitor: Visitor) -> Response:
        with self.front.reading() as store, store.reading():
            rows = [*reversed(published.revisions(store)), published.get(store, published.BASE)]
            served, statuses, keepings = (
                published.pointer(store),
                published.statuses(store),
                published.keepings(store),
            )
        return self.front.page(
            request, visitor, "revisions.html", rows=rows, served=served, statuses=statuses, keepings=keepings,
            wrong="", draft="",
        )  # fmt: skip

    def revision(self, request: Request, visitor: Visitor) -> Response:
        wanted = request.path_params["id"]
        with self.front.reading() as store, store.reading():
            found = published.get(store, wanted)
            members, places = published.members(store, wanted), published.places(store, wanted)
            served = published.pointer(store)
        metrics = (
            () if found.report is None else metric_rows(found.report, thresholds(self.front.settings.verify))
        )
        return self.front.page(
            request, visitor, "revision.html", revision=found, members=members, places=places, served=served,
            metrics=metrics,
        )  # fmt: skip

    def report(self, request: Request, _visitor: Visitor) -> Response:
        """The verification report as it was kept at publication, with the rules that it has for itself."""
        with self.front.reading() as store:
            found = view(kept(store, self.front.settings, self.front.now(), request.path_params["id"]))
        policy = f"{allowed()}; frame-ancestors 'none'"
        return HTMLResponse(html(found), headers={"Content-Security-Policy": policy})
