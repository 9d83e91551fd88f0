"""The pages and what their forms do: decisions with who and why, races, paging, hostile words."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from html import unescape
from urllib.parse import quote

import pytest

from agent.store import articles, desk, ledger, queue, revisions
from tests.page.parsed import parsed
from tests.store import samples
from tests.store.samples import NOW, day, status
from tests.web.conftest import SENTENCE, Visitor

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>\u202e{{ 7*7 }}\x1b]0;x\x07'


def test_the_queue_has_the_evidence_and_decisions_are_kept_with_who_and_why(visitor: Visitor) -> None:
    page = visitor.get("/queue").text
    assert page.index("Borduria") < page.index("Bavoria"), "the newest fact first"
    assert "<mark>Ana Lopes</mark>" in page and "Old Name" in page and "2</strong> publishers" in page
    form = visitor.form("/queue", "/proposals/1/approve")
    answer = visitor.post("/proposals/1/approve", form)
    assert answer.status_code == 303 and answer.headers["location"] == "/queue"
    after = visitor.get("/queue").text
    assert "Proposal 1 (Borduria) is approved" in after and 'action="/proposals/1/undo"' in after
    assert "is approved" not in visitor.get("/queue").text, "said once"
    visitor.decide(2, "reject", reason="ein Märchen – “超”")
    visitor.decide(3, "defer", until="3d")
    with visitor.site.store() as store:
        assert [status(store, n) for n in (1, 2, 3)] == ["approved", "rejected", "pending"]
        until = queue.get(store, 3).not_before_at
        assert until is not None and until - visitor.site.clock[0] == timedelta(days=3)
        assert [(e.who, e.reason) for n in (1, 2) for e in queue.events(store, n)[1:]] == [
            ("eva", ""),
            ("eva", "ein Märchen – “超”"),
        ]
        told = [
            (e.payload["proposal"], e.payload["action"], e.payload["who"]) for e in ledger.entries(store)[1:]
        ]
        assert told == [(1, "approve", "eva"), (2, "reject", "eva"), (3, "defer", "eva")]
    assert "Nothing waits for a decision" in visitor.get("/queue").text
    assert "Bavoria" in visitor.get("/queue?status=deferred").text
    assert "Quenia" in visitor.get("/queue?status=rejected").text


def test_undo_and_the_other_ways_back(visitor: Visitor) -> None:
    visitor.decide(1, "approve")
    undone = visitor.post("/proposals/1/undo", visitor.form("/queue", "/proposals/1/undo"))
    assert undone.status_code == 303
    visitor.decide(1, "approve")
    visitor.decide(1, "send-back", reason="read it again")
    visitor.decide(2, "reject", reason="a hoax")
    visitor.decide(2, "reopen", reason="it was true")
    visitor.decide(3, "defer", date="2099-01-31")
    assert "2099-01-31" in visitor.get("/proposals/3").text
    visitor.decide(3, "due")
    visitor.decide(4, "take-back", reason="it was a hoax")
    with visitor.site.store() as store:
        assert [status(store, n) for n in (1, 2, 3, 4)] == ["pending", "pending", "pending", "rolled_back"]
        assert queue.get(store, 3).not_before_at is None
        assert ledger.verify_chain(store) is None
    visitor.decide(1, "approve")
    form = visitor.form("/queue", "/proposals/1/undo")
    with visitor.site.store() as store:
        samples.verified(store, [1])
    late = visitor.post("/proposals/1/undo", form)
    assert late.status_code == 409 and "Not undone" in late.text and "verified" in late.text


@pytest.mark.parametrize(
    ("action", "fields", "code", "words"),
    [
        ("reject", {"reason": "  "}, 400, "say why"),
        ("defer", {"until": "never"}, 400, "until when"),
        ("defer", {"date": "2001-01-01"}, 400, "a time to come"),
        ("defer", {"date": "soon"}, 400, "no date"),
        ("take-back", {"reason": "x"}, 409, "is pending, not live"),
        ("reject", {"reason": "x", "seen": "999"}, 409, "while you looked"),
        ("approve", {"seen": ""}, 400, "does not say what was seen"),
        ("explode", {}, 400, "no such decision"),
    ],
)
def test_what_cannot_be_decided_says_why_and_changes_nothing(
    visitor: Visitor, action: str, fields: dict[str, str], code: int, words: str
) -> None:
    form = visitor.form("/proposals/1", "/proposals/1/approve")
    answer = visitor.post(f"/proposals/1/{action}", form | fields)
    assert (answer.status_code, words in unescape(answer.text)) == (code, True), answer.text
    with visitor.site.store() as store:
        assert len(queue.events(store, 1)) == 1


def test_somebody_was_faster_and_what_was_typed_is_still_there(visitor: Visitor) -> None:
    form = visitor.form("/proposals/1", "/proposals/1/reject")
    with visitor.site.store() as store:
        more = samples.fact(publishers=("new.example",), valid_from=day(2))
        queue.propose(store, samples.draft(more), now=NOW)
    answer = visitor.post("/proposals/1/reject", form | {"reason": "seen the photographs"})
    assert answer.status_code == 409
    assert "changed by factd" in answer.text and "new.example" in answer.text
    assert 'value="seen the photographs"' in answer.text
    with visitor.site.store() as store:
        queue.approve(store, 1, who="jan", now=NOW)
    answer = visitor.post("/proposals/1/reject", form | {"reason": "x"})
    assert "approved by" in answer.text and "jan" in answer.text
    with visitor.site.store() as store:
        assert status(store, 1) == "approved"


def test_of_many_decisions_at_once_one_is_made(visitor: Visitor) -> None:
    form = visitor.form("/proposals/1", "/proposals/1/approve") | {"reason": "first come"}
    ways = ["approve", "reject"] * 6
    with ThreadPoolExecutor(6) as pool:
        codes = list(pool.map(lambda way: visitor.post(f"/proposals/1/{way}", form).status_code, ways))
    assert sorted(codes) == [303] + [409] * 11
    with visitor.site.store() as store:
        assert len(queue.events(store, 1)) == 2
        assert [e.kind for e in ledger.entries(store)] == ["published", "decided"]


def test_rollback_moves_the_pointer_once(visitor: Visitor) -> None:
    form = visitor.form("/revisions", "/revisions/0/rollback")
    assert form["served"] == "1"
    refused = visitor.post("/revisions/0/rollback", form | {"reason": " "})
    assert refused.status_code == 303 and "needs a reason" in visitor.get("/revisions").text
    (visitor.site.state / "revisions" / ".building-x").mkdir()
    visitor.post("/revisions/0/rollback", form | {"reason": "all wrong"})
    assert visitor.site.told[-1].startswith("repaired: removed 1 unfinished")
    assert "The base model is served." in visitor.get("/revisions").text
    with visitor.site.store() as store:
        assert revisions.pointer(store) == 0 and status(store, 4) == "rolled_back"
        assert (ledger.entries(store)[-1].payload["who"], ledger.entries(store)[-1].payload["reason"]) == (
            "eva",
            "all wrong",
        )
    stale = visitor.post("/revisions/1/rollback", form | {"reason": "again"})
    assert stale.status_code == 303 and "served by now" in visitor.get("/revisions").text
    unknown = visitor.post("/revisions/9/rollback", form | {"reason": "again", "served": "0"})
    assert unknown.status_code == 303 and "there is none" in visitor.get("/revisions").text
    with visitor.site.store() as store:
        assert revisions.pointer(store) == 0


def test_thousands_of_proposals_come_in_pages(visitor: Visitor) -> None:
    with visitor.site.store() as store, store.writing():
        for number in range(2500):
            samples.propose(
                store, samples.fact(subject=f"Subject {number:04}", evidence=(), valid_from=day(-number))
            )
    page, seen, path = "", [], "/queue"
    for _ in range(3):
        page = visitor.get(path).text
        assert len(page) < 200_000
        seen += re.findall(r'id="p(\d+)"', page)
        path = unescape(re.findall(r'rel="next" href="([^"]+)"', page)[0])
    assert len(set(seen)) == 60 and "of 126" in page and "2,503 proposals" in page
    last = visitor.get("/queue?page=126").text
    assert len(re.findall(r'id="p\d+"', last)) == 3 and 'rel="next"' not in last
    assert visitor.get("/queue?page=999999999999").status_code == 200
    found = visitor.get("/queue?find=subject+0042").text
    assert "Subject 0042" in found and len(re.findall(r'id="p\d+"', found)) == 1
    approved = visitor.post(
        "/proposals/50/approve",
        visitor.form("/proposals/50", "/proposals/50/approve") | {"back": "/queue?status=all&page=7"},
    )
    assert approved.headers["location"] == "/queue?status=all&page=7"


@pytest.mark.parametrize(
    "back", ["https://evil.example", "//evil.example", "/\\evil.example", "", "x", "/a\r\nX: y"]
)
def test_a_form_leads_nowhere_else(visitor: Visitor, back: str) -> None:
    answer = visitor.decide(1, "approve", back=back)
    assert (answer.status_code, answer.headers["location"]) == (303, "/") and "x" not in answer.headers


def test_hostile_words_are_only_words(visitor: Visitor) -> None:
    """Everything that a feed or a model may shape, on every page."""
    link = "javascript:alert(document.cookie)"
    with visitor.site.store() as store:
        articles.add(
            store, [samples.article(7, url=link, title=EVIL, text=f"{EVIL} x", publisher=EVIL, source="bad")]
        )
        claim = samples.claim("c'7\"><", "feed:7", EVIL)
        object.__setattr__(claim, "subject", EVIL)
        object.__setattr__(claim, "sentence", EVIL)
        articles.add_claims(store, [claim], NOW)
        fact = samples.fact(
            EVIL, subject=EVIL, relation=EVIL, publishers=(EVIL,), evidence=("c'7\"><",), valid_from=day(5)
        )
        draft = samples.draft(fact, target_old=EVIL)
        belief = samples.belief()
        object.__setattr__(belief, "prompts", (EVIL, EVIL))
        object.__setattr__(belief, "answers", (EVIL, EVIL))
        object.__setattr__(belief, "majority", EVIL)
        made = queue.propose(store, draft, now=NOW, belief=belief).proposal.id
        queue.defer(store, made, day(90), who=EVIL, now=NOW, reason=EVIL)
        samples.live(
            store, samples.fact(EVIL, subject="x" + EVIL, relation="y" + EVIL, evidence=()), keep=[4]
        )
    links = targets(visitor.get(f"/proposals/{made}").text)
    evidence = next(href for href in links if href.startswith("/evidence"))
    subject = next(href for href in links if href.startswith("/subject"))
    evil = quote(EVIL, safe="")
    paths = (
        "/queue?status=all", f"/queue?status=all&find={evil}&relation={evil}", f"/proposals/{made}", evidence, subject,
        "/beliefs", "/history", "/revisions", "/revisions/2", "/revisions/2/report", f"/subject?name={evil}",
        f"/queue?status={evil}&page={evil}",
    )  # fmt: skip
    for path in paths:
        answer = visitor.get(path)
        assert answer.status_code in (200, 404), path
        page = parsed(answer.text)
        assert not page.all("img") and len(page.all("script")) == 1, path
        assert not [
            name for _, attributes in page.elements for name in attributes if name.startswith("on")
        ], path
        assert all(href.startswith(("/", "#", "data:,")) for href in targets(answer.text)), path
        assert "\u202e" not in answer.text and "\x1b" not in answer.text and "49" not in page.words.split(), (
            path
        )
    shown = visitor.get(evidence)
    assert link in unescape(re.sub("<[^>]+>", "", shown.text)) and "no link" in shown.text
    assert SENTENCE in visitor.get("/evidence?claim=c1").text.replace("&#39;", "'")
    assert visitor.decide(made, "reject", reason=EVIL).status_code == 303
    with visitor.site.store() as store:
        said = queue.events(store, made)[-1].reason
    assert said.isprintable() and "<script>" in said


def targets(page: str) -> list[str]:
    """Every address in a page."""
    found = parsed(page).elements
    return [
        attributes[name]
        for _, attributes in found
        for name in ("href", "src", "action")
        if name in attributes
    ]


def test_links_to_articles_are_plain_and_tell_nothing(visitor: Visitor) -> None:
    page = visitor.get("/evidence?claim=c1").text
    assert '<a href="https://a.example/1" rel="noreferrer noopener nofollow"' in page
    for path in ("/queue", "/proposals/1", "/revisions", "/history"):
        assert not re.search(r'(?:href|src|action)="(?!/|#|data:,")', visitor.get(path).text), path


@pytest.mark.parametrize("path", ["/proposals/99", "/proposals/x", "/proposals/-1", "/nowhere", "/revisions/7", "/evidence?claim=no",
                                  "/revisions/7/report", "/proposals/99999999999999999999999", "/%00", "/..%2f..%2fetc"])  # fmt: skip
def test_what_is_not_there_says_so(visitor: Visitor, path: str) -> None:
    answer = visitor.get(path)
    assert answer.status_code == 404 and "<h1>" in answer.text, answer.text
    assert visitor.site.told == []


def test_subject_beliefs_and_history_tell_what_happened(visitor: Visitor) -> None:
    visitor.decide(1, "reject", reason="a hoax")
    subject = visitor.get("/subject?name=Borduria").text
    assert (
        "rejected" in subject
        and "a hoax" in subject
        and "A bridge opens" not in subject
        and "opened the bridge" in subject
    )
    assert (
        "stale" in visitor.get("/beliefs").text and "Nothing here" in visitor.get("/beliefs?find=nobody").text
    )
    history = visitor.get("/history").text
    assert history.index("a hoax") < history.index("the model is stale")
    with visitor.site.store() as store:
        assert desk.happened(store).total > 5
