"""Before approved proposals are compiled, the pages behind them are read again. `agent.support` decides."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from agent import support
from agent.decide import needed_for
from agent.eligible import Names, fold, index
from agent.evidence import Heard, heard
from agent.sources.bodies import PAUSE_S
from agent.sources.http import Client
from agent.sources.page import fetch_page, is_web, private_host
from agent.sources.pages import PageReaderMissing
from agent.sources.robots import Robots, robots_of
from agent.store import articles, queue
from agent.store.db import Store
from agent.types import Article, Claim, Page, Proposal, SourceSpec
from agent.voices import Evidence
from agent.workshop import Workshop

WHO = "refetch"
_THREADS = 4
_BUDGET_S = 300.0  # for all pages of one run; what is not read by then proves nothing


@dataclass(frozen=True, slots=True)
class Checked:
    """`kept` go on; `returned` maps the id of each proposal that is pending again to why."""

    kept: tuple[Proposal, ...]
    returned: Mapping[int, str]


def check(shop: Workshop, approved: Sequence[Proposal], *, pause_s: float = PAUSE_S) -> Checked:
    """Read the pages behind `approved` again and send back what they no longer support, in one transaction for
    each proposal. `pause_s`: between two requests to one site. A proposal that was sent back before and approved again by a person goes on unread.
    """
    wanted = [p for p in approved if p.fact.evidence and p.fact.relation in shop.relations]
    wanted = [p for p in wanted if not sent_back_before(shop.store, p)]
    if shop.settings.policy.refetch == "off" or not wanted or not any(map(is_web, shop.settings.sources)):
        return Checked(tuple(approved), {})
    cited = {p.id: articles.claims_by_id(shop.store, p.fact.evidence) for p in wanted}
    read = heard(shop.store, shop.settings.sources, cited_by=[c for claims in cited.values() for c in claims])
    evidence = {p.id: read.evidence(cited[p.id], shop.clock()) for p in wanted}
    pages = _pages(shop, read, [item for items in evidence.values() for item in items], pause_s)
    if not pages:
        return Checked(tuple(approved), {})
    looks = _looks(shop, read, evidence, pages)
    returned: dict[int, str] = {}
    for proposal in wanted:
        items = evidence[proposal.id]
        gone = support.lost(items, looks)
        needed = needed_for(shop.relations[proposal.fact.relation], shop.settings.policy)
        if why := support.objection(items, gone, needed):
            held = {e.claim.id for e in items if e.publisher not in gone}
            _send_back(shop, proposal, why, {e.claim.id for e in items} - held)
            returned[proposal.id] = why
    return Checked(tuple(p for p in approved if p.id not in returned), returned)


def sent_back_before(store: Store, proposal: Proposal) -> bool:
    """Whether its pages were found wanting once: then a person decides, and the last word is theirs."""
    return any(event.who == WHO for event in queue.events(store, proposal.id))


def _send_back(shop: Workshop, proposal: Proposal, why: str, claims: Iterable[str]) -> None:
    """Back to pending, and the claims that no longer hold count no longer."""
    with shop.store.writing("send-back"):
        queue.send_back(shop.store, proposal.id, reason=why, who=WHO, now=shop.clock())
        articles.retire(shop.store, claims, shop.clock())


def _pages(shop: Workshop, read: Heard, evidence: Iterable[Evidence], pause_s: float) -> dict[str, Page]:
    """The pages of the articles that decide and that came from the web, by article id."""
    sources = {source.name: source for source in shop.settings.sources if is_web(source)}
    wanted = [read.cited[i] for i in support.to_look_at(evidence)]
    wanted = [a for a in wanted if a.source in sources and a.url.startswith(("http://", "https://"))]
    sites: dict[str, list[Article]] = {}
    for article in wanted:
        sites.setdefault(urlsplit(article.url).netloc, []).append(article)
    client, until = Client(), time.monotonic() + _BUDGET_S

    def visit(own: Sequence[Article]) -> list[Page]:
        """The pages of one site, one after the other."""
        robots = _robots(own[0], sources[own[0].source], client)
        pages: list[Page] = []
        for article in own:
            wait_s = max(pause_s, robots.pause_s()) if pages else 0.0
            if time.monotonic() + wait_s > until:
                pages.append(Page("unread", message="there was no time left"))
            elif why := robots.refusal(article.url):
                pages.append(Page("unread", message=why))
            else:
                time.sleep(wait_s)
                pages.append(fetch_page(article.url, sources[article.source], client))
        return pages

    found: dict[str, Page] = {}
    with ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="refetch") as pool:
        for own, pages in zip(sites.values(), pool.map(visit, sites.values()), strict=True):
            found |= {article.id: page for article, page in zip(own, pages, strict=True)}
            shop.progress("read again", len(found), len(wanted))
    return found


def _robots(article: Article, source: SourceSpec, client: Client) -> Robots:
    """What the site asks of programs; without the extra that reads it, these few pages are read all the same."""
    try:
        return robots_of(article.url, client, private_host(source, article.url))
    except PageReaderMissing:
        return Robots()


def _looks(
    shop: Workshop, read: Heard, evidence: Mapping[int, Sequence[Evidence]], pages: Mapping[str, Page]
) -> dict[str, support.Look]:
    """What each page says of each claim that was read in its article, by claim id."""
    texts = [i for i, page in pages.items() if page.status == "read"]
    on_page: dict[str, list[Claim]] = {}
    if texts:
        bare = [replace(read.cited[i], title="", text=pages[i].text) for i in texts]
        on_page = dict(zip(texts, shop.reader().read_many(bare), strict=True))
    names = index(shop.catalogue)
    claims = {
        e.claim.id: e.claim for items in evidence.values() for e in items if e.claim.article_id in pages
    }
    found: dict[str, support.Look] = {}
    for claim in claims.values():
        same = [
            c
            for c in on_page.get(claim.article_id, ())
            if _meant(shop, names, c) == _meant(shop, names, claim)
        ]
        article = read.cited[claim.article_id]
        found[claim.id] = support.look(claim, article, pages[claim.article_id], same)
    return found


def _meant(shop: Workshop, names: Names, claim: Claim) -> tuple[str, str, str]:
    """Subject, relation and object of a claim, so that spellings of one are equal."""
    relation = shop.relations[claim.relation]
    subject = names.canonical(claim.subject, relation.subject, relation.kinds)
    return (fold(subject), claim.relation, fold(names.canonical(claim.object, relation.object)))
