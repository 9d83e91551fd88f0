"""Pages read again over real HTTP before approved proposals are compiled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.catalogue import load_catalogue
from agent.paths import data_file
from agent.pipeline import approve_by_rule
from agent.policy import AutoRule, Policy
from agent.refetch import check
from agent.relations import load_relations
from agent.settings import Settings
from agent.store import articles, queue
from agent.store.db import open_store
from agent.types import Article, Claim, Fact, Proposal, SourceSpec
from agent.workshop import Workshop
from tests.sources.conftest import Site, answer, site  # noqa: F401  (a fixture)

NOW = datetime(2025, 7, 1, 12, tzinfo=UTC)
SENTENCE = "Shigeru Ishiba has been appointed prime minister of Japan."
HTML = {"content_type": "text/html"}


@dataclass(frozen=True)
class Desk:
    """A queue with one approved proposal that rests on /a of source a and /b of source b."""

    shop: Workshop
    site: Site
    proposal: Proposal

    def serve(self, path: str, body: str, status: int = 200) -> None:
        page = f"<html><head><title>Title {path[-1]} of the day</title></head><body>{body}</body></html>"
        self.site.pages[path] = answer(status, page.encode(), **HTML)

    def check(self, **policy: object) -> tuple[list[int], dict[int, str]]:
        settings = replace(self.shop.settings, policy=replace(self.shop.settings.policy, **policy))  # type: ignore[arg-type]
        found = check(
            replace(self.shop, settings=settings), queue.proposals(self.shop.store, "approved"), pause_s=0.0
        )
        return [p.id for p in found.kept], dict(found.returned)

    @property
    def status(self) -> str:
        return queue.get(self.shop.store, self.proposal.id).status


@pytest.fixture
def desk(tmp_path: Path, site: Site) -> Iterator[Desk]:  # noqa: F811
    (tmp_path / "world.yaml").write_text(
        "- {name: Japan, kind: country, demonyms: [Japanese]}\n- {name: Shigeru Ishiba, kind: person}\n"
    )
    sources = tuple(
        SourceSpec(name, f"{site.url}/{name}.xml", publisher=f"{name}.example", allow_private=True)
        for name in "ab"
    )
    settings = Settings(state=tmp_path / "state", sources=sources)
    with open_store(tmp_path / "state", NOW, create_missing=True) as store:
        for name in "ab":
            at = NOW - timedelta(days=5)
            words = " ".join(f"{name}{n}" for n in range(20))
            made = Article(
                name, name, f"{name}.example", f"{site.url}/{name}", f"Title {name} of the day",
                f"{SENTENCE} {words}", at, NOW, name * 64, 7 if name == "a" else 2**63,
            )  # fmt: skip
            articles.add(store, [made])
            claim = Claim(
                f"c{name}", "Japan", "head_of_government", "Shigeru Ishiba", "change", name, SENTENCE, at
            )
            articles.add_claims(store, [claim], NOW)
        fact = Fact(
            "Japan", "head_of_government", "Shigeru Ishiba", NOW, ("ca", "cb"), ("a.example", "b.example")
        )
        proposal = queue.propose(store, Proposal(0, fact, "pending", "so"), now=NOW).proposal
        queue.approve(store, proposal.id, who="eva", now=NOW)
        relations, catalogue = (
            load_relations(data_file("relations.yaml")),
            load_catalogue([tmp_path / "world.yaml"]),
        )
        made_desk = Desk(Workshop(settings, store, relations, catalogue, lambda: NOW), site, proposal)
        made_desk.serve("/a", f"<p>{SENTENCE}</p>")
        made_desk.serve("/b", "<p>In the Diet on Monday, Japanese Prime Minister Shigeru Ishiba bowed.</p>")
        yield made_desk


def test_pages_that_still_say_so_let_it_pass(desk: Desk) -> None:
    assert desk.check() == ([desk.proposal.id], {})
    assert desk.status == "approved"
    assert sorted({seen[":path"] for seen in desk.site.seen} - {"/robots.txt"}) == ["/a", "/b"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("", 404, "b.example: its page is gone"),
        ("", 410, "b.example: its page is gone"),
        (f"<p>{SENTENCE}</p><p>Correction: he was not.</p>", 200, "b.example: its page carries a correction"),
        (
            "<p>The vote was put off until the autumn.</p>",
            200,
            "b.example: its page does not say so any more",
        ),
    ],
)
def test_a_page_that_no_longer_says_so_sends_it_back(desk: Desk, body: str, status: int, words: str) -> None:
    desk.serve("/b", body, status)
    kept, returned = desk.check()
    assert kept == [] and words in returned[desk.proposal.id]
    assert "only a.example of 2 needed remain" in returned[desk.proposal.id]
    assert desk.status == "pending"
    last = queue.events(desk.shop.store, desk.proposal.id)[-1]
    assert (last.who, last.source, last.target, last.reason) == (
        "refetch", "approved", "pending", returned[desk.proposal.id],
    )  # fmt: skip
    assert [c.id for c in articles.claims(desk.shop.store)] == ["ca"], "what was lost counts no longer"
    assert len(articles.claims_by_id(desk.shop.store, ("ca", "cb"))) == 2, "and is still there to be seen"


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_trouble_proves_nothing_and_blocks_nothing(desk: Desk, status: int) -> None:
    for path in ("/a", "/b"):
        desk.serve(path, "", status)
    assert desk.check() == ([desk.proposal.id], {})


def test_nor_does_a_host_that_does_not_answer(desk: Desk) -> None:
    for name in "ab":
        desk.shop.store.run("UPDATE article SET url = 'http://127.0.0.1:1/x' WHERE id = ?", (name,))
    assert desk.check() == ([desk.proposal.id], {})


def test_another_port_of_its_own_private_host_is_not_asked(desk: Desk) -> None:
    sources = tuple(replace(s, url="http://127.0.0.1:9/x.xml") for s in desk.shop.settings.sources)
    shop = replace(desk.shop, settings=replace(desk.shop.settings, sources=sources))
    desk.serve("/b", "", 404)
    assert check(shop, queue.proposals(shop.store, "approved"), pause_s=0.0).returned == {}
    assert desk.site.seen == []


def test_a_private_address_of_another_host_is_not_asked(desk: Desk) -> None:
    """An item may link anywhere; the guard of the feeds holds for pages too."""
    desk.shop.store.run("UPDATE article SET url = replace(url, '127.0.0.1', 'localhost') WHERE id = 'b'")
    desk.serve("/b", "", 404)
    assert desk.check() == ([desk.proposal.id], {})
    assert {seen[":path"] for seen in desk.site.seen} - {"/robots.txt"} == {"/a"}


def test_a_site_that_asks_programs_to_stay_away_is_left_alone(desk: Desk) -> None:
    pytest.importorskip("protego")
    desk.site.pages["/robots.txt"] = answer(200, b"User-agent: *\nDisallow: /b\n", content_type="text/plain")
    desk.serve("/b", "", 404)
    assert desk.check() == ([desk.proposal.id], {})
    assert "/b" not in {seen[":path"] for seen in desk.site.seen}


def test_off_is_off(desk: Desk) -> None:
    desk.serve("/b", "", 404)
    assert desk.check(refetch="off") == ([desk.proposal.id], {})
    assert desk.site.seen == []


def test_files_are_not_fetched_again(desk: Desk) -> None:
    sources = tuple(replace(s, url=f"/news/{s.name}.xml") for s in desk.shop.settings.sources)
    shop = replace(desk.shop, settings=replace(desk.shop.settings, sources=sources))
    assert check(shop, queue.proposals(shop.store, "approved")).returned == {}
    assert desk.site.seen == []


def test_the_person_has_the_last_word_and_a_rule_has_not(desk: Desk) -> None:
    desk.serve("/b", "", 404)
    desk.check()
    policy = Policy(auto_approve=(AutoRule(min_publishers=1, min_age_h=0.0),))
    ruled = replace(desk.shop, settings=replace(desk.shop.settings, policy=policy))
    assert not approve_by_rule(ruled)[desk.proposal.id].rule and desk.status == "pending"
    queue.approve(desk.shop.store, desk.proposal.id, who="eva", now=NOW, reason="I have the printed paper")
    seen = len(desk.site.seen)
    assert desk.check() == ([desk.proposal.id], {})
    assert len(desk.site.seen) == seen


def test_enough_others_remain(desk: Desk) -> None:
    desk.serve("/b", "", 404)
    assert desk.check(min_publishers=1) == ([desk.proposal.id], {})
    assert len(articles.claims(desk.shop.store)) == 2


def test_a_rule_counts_publishers_of_which_the_reader_was_sure(desk: Desk) -> None:
    """From what is stored: the proposal's own sentences, their publishers and their scores."""
    least = 0.7
    desk.shop.store.run("UPDATE claim SET score = ? WHERE id = ?", (least, desk.proposal.fact.evidence[0]))
    queue.send_back(desk.shop.store, desk.proposal.id, reason="look again", who="eva", now=NOW)

    def ruling(min_score: float) -> str:
        rule = AutoRule(min_publishers=len(desk.proposal.fact.publishers), min_age_h=0.0, min_score=min_score)
        policy = Policy(auto_approve=(rule,))
        shop = replace(desk.shop, settings=replace(desk.shop.settings, policy=policy))
        return str(approve_by_rule(shop)[desk.proposal.id])

    assert "waits for a person: rule 1 wants" in ruling((1 + least) / 2)
    assert ruling(least).startswith("approved by rule 1")
    (last,) = queue.events(desk.shop.store, desk.proposal.id)[-1:]
    assert last.who == "policy" and last.reason.startswith("policy.auto_approve, rule 1: ")


def test_a_rule_does_not_overrule_somebody_who_said_no(desk: Desk) -> None:
    store, number = desk.shop.store, desk.proposal.id
    queue.reject(store, number, reason="I asked them", who="eva", now=NOW)
    queue.reopen(store, number, reason="look again", who="eva", now=NOW)
    policy = Policy(auto_approve=(AutoRule(min_publishers=1, min_age_h=0.0),))
    shop = replace(desk.shop, settings=replace(desk.shop.settings, policy=policy))
    assert str(approve_by_rule(shop)[number]) == "waits for a person: somebody refused it before"
    assert desk.status == "pending"
