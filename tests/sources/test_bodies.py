"""The page behind an item: read under the guard, by the site's rules, and never at the item's cost."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent.catalogue import Catalogue
from agent.settings import Settings
from agent.sources.base import SourceSpec, new_state
from agent.sources.bodies import MAX_PAGES, Body, Job, jobs_for, read_bodies
from agent.sources.http import Client, Response
from agent.sources.pages import NEEDED, missing
from agent.sources.robots import robots_of
from agent.sources.web import WebSource
from agent.store import articles
from agent.store.db import open_store
from agent.types import Article
from tests.sources.conftest import NOW, Site, answer, item, rss
from tests.sources.test_pages import SENTENCES, page

needs_extra = pytest.mark.skipif(bool(missing(*NEEDED)), reason=missing(*NEEDED))
HTML = "text/html; charset=utf-8"


def feed(site: Site, *links: str, **more: str) -> tuple[SourceSpec, tuple[Article, ...]]:
    """A feed of these links, polled."""
    site.pages["/f"] = answer(200, rss(*(item(n, link=link, **more) for n, link in enumerate(links, 1))))
    spec = SourceSpec("local", f"{site.url}/f", allow_private=True, body=True)
    return spec, WebSource().fetch(spec, new_state(spec), Client(timeout_s=5), NOW).articles


def read(jobs: Sequence[Job], client: Client, pause_s: float = 0.0) -> list[Body]:
    return list(read_bodies(jobs, client, clock=lambda: NOW, pause_s=pause_s))


def asked(site: Site) -> list[str]:
    return [seen[":path"] for seen in site.seen if seen[":path"] != "/f"]


@needs_extra
def test_a_teaser_becomes_the_story(site: Site, client: Client) -> None:
    site.pages["/a"] = answer(200, page().encode(), content_type=HTML)
    spec, (teaser,) = feed(site, f"{site.url}/a")
    (body,) = read(jobs_for(spec, [teaser]), client)
    filled = body.article
    assert filled is not None and body.note == ""
    assert all(sentence in filled.text for sentence in SENTENCES)
    assert (filled.id, filled.title, filled.url) == (teaser.id, teaser.title, teaser.url)
    assert (filled.publisher, filled.published_at) == (teaser.publisher, teaser.published_at)
    assert filled.sha256 != teaser.sha256 and filled.simhash != teaser.simhash
    assert filled.fetched_at > teaser.fetched_at
    assert asked(site) == ["/robots.txt", "/a"]


@needs_extra
@pytest.mark.parametrize(
    ("answered", "why"),
    [
        (answer(404), "HTTP 404"),
        (answer(200, b"%PDF-1.7", content_type="application/pdf"), "no page"),
        (answer(200, b"<html><body><p>Please log in.</p></body></html>", content_type=HTML), "page"),
        (answer(200, b"<p>" + b"x" * (6 * 2**20), content_type=HTML), "MB"),
        (answer(302, location="file:///etc/passwd"), "neither http nor https"),
        (answer(302, location="http://169.254.169.254/latest"), "link-local"),
    ],
)
def test_a_page_that_cannot_be_had_leaves_the_item_as_it_was(site: Site, answered: object, why: str) -> None:
    site.pages["/a"] = answered  # type: ignore[assignment]
    spec, found = feed(site, f"{site.url}/a")
    (body,) = read(jobs_for(spec, found), Client(timeout_s=5, max_bytes=5 * 2**20))
    assert body.article is None and why in body.note, body.note


@needs_extra
def test_links_into_the_local_network_are_not_followed(site: Site, client: Client) -> None:
    """Not without leave, and with leave for one host and port to no other."""
    site.pages["/a"] = answer(200, page().encode(), content_type=HTML)
    port = int(site.url.rpartition(":")[2])
    spec, found = feed(
        site, f"http://localhost:{port}/a", f"http://127.0.0.1:{port - 1}/a", "http://10.0.0.1/a"
    )
    closed = SourceSpec("local", spec.url, allow_private=False, body=True)
    jobs = (*jobs_for(spec, found), *(Job(closed, a) for a in feed(site, f"{site.url}/a")[1]))
    refused = read(jobs[:3], client) + read(jobs[3:], client)
    assert len(refused) == 4 and asked(site) == []
    assert all(body.article is None and "may not reach" in body.note for body in refused)


class _Redirected(Client):
    """Two public sites cannot be had on loopback, which the guard keeps shut; this one answers from another."""

    def get(self, url: str, headers: Mapping[str, str] | None = None, *, private_host: str = "") -> Response:
        if url.endswith("/robots.txt"):
            return Response(404, url, "", {}, b"")
        return Response(200, "https://www.other.example/a", "", {"content-type": HTML}, page().encode())


@needs_extra
def test_another_sites_words_do_not_pass_for_the_publishers(site: Site) -> None:
    spec, (article,) = feed(site, "https://paper.example/a")
    assert article.publisher == "paper.example"
    (body,) = read([Job(spec, article)], _Redirected())
    assert body.article is None and "another site, other.example" in body.note
    pinned = replace(article, publisher="whoever I say")
    (body,) = read([Job(spec, pinned)], _Redirected())
    assert body.article is not None and body.article.publisher == "whoever I say"


@needs_extra
def test_robots_txt_is_obeyed(site: Site, client: Client) -> None:
    rules = b"User-agent: *\nDisallow: /\nAllow: /*.html$\n\nUser-agent: factd\nDisallow: /private/\nCrawl-delay: 0.4\n"
    site.pages["/robots.txt"] = answer(200, rules)
    for path in ("/a", "/b", "/private/c"):
        site.pages[path] = answer(200, page().encode(), content_type=HTML)
    spec, found = feed(site, *(f"{site.url}{path}" for path in ("/a", "/b", "/private/c")))
    started = time.monotonic()
    bodies = {
        body.job.article.url.removeprefix(site.url): body for body in read(jobs_for(spec, found), client)
    }
    assert time.monotonic() - started > 0.8
    assert bodies["/a"].article and bodies["/b"].article
    assert bodies["/private/c"].article is None and "robots.txt" in bodies["/private/c"].note
    assert "/private/c" not in asked(site) and asked(site).count("/robots.txt") == 1


@needs_extra
def test_without_robots_txt_all_is_allowed_and_with_a_broken_one_nothing(site: Site, client: Client) -> None:
    url = f"{site.url}/a"
    host = "127.0.0.1"
    assert robots_of(url, client, host).refusal(url) == ""
    for page_ in (answer(500), answer(429), answer(302, location="http://10.0.0.1/")):
        site.pages["/robots.txt"] = page_
        assert "cannot be read" in robots_of(url, client, host).refusal(url)


@needs_extra
def test_hostile_robots_txt_costs_little(site: Site, client: Client) -> None:
    url = f"{site.url}/{'a' * 2000}"
    started = time.perf_counter()
    for body in (
        b"User-agent: *\nDisallow: /" + b"a*" * 200_000 + b"b\n",
        b"User-agent: *\n" + b"Disallow: /*a*a*a*a*a*b$\n" * 20_000,
        b"Crawl-delay: 1e999\nUser-agent: *\nCrawl-delay: nan\n" * 10_000,
        b"\xff\x00" * 250_000,
        b"User-agent: " + b"x" * 400_000,
    ):
        site.pages["/robots.txt"] = answer(200, body)
        robots = robots_of(url, client, "127.0.0.1")
        assert isinstance(robots.refusal(url), str) and robots.pause_s() >= 0
    assert time.perf_counter() - started < 30


def test_only_short_items_with_a_link_and_only_so_many(site: Site) -> None:
    spec, found = feed(site, *(f"{site.url}/{n}" for n in range(MAX_PAGES + 5)))
    jobs = jobs_for(spec, found)
    assert len(jobs) == MAX_PAGES
    assert min(j.article.published_at for j in jobs) >= sorted(a.published_at for a in found)[5]
    assert jobs_for(SourceSpec("local", spec.url), found) == ()
    long, nowhere = feed(site, f"{site.url}/1", description="word " * 200)[1], feed(site, "")[1]
    assert jobs_for(spec, [*long, *nowhere]) == ()


@needs_extra
def test_one_site_is_asked_one_by_one_and_sites_side_by_side(site: Site, client: Client) -> None:
    site.pages["/a"] = site.pages["/b"] = answer(200, page().encode(), content_type=HTML)
    spec, found = feed(site, f"{site.url}/a", f"{site.url}/b")
    started = time.monotonic()
    assert all(body.article for body in read(jobs_for(spec, found), client, pause_s=0.3))
    assert time.monotonic() - started > 0.6


@needs_extra
def test_a_round_stores_the_teaser_then_the_story_and_asks_once(site: Site, tmp_path: Path) -> None:
    from agent import pipeline
    from agent.workshop import Workshop

    site.pages["/a"] = answer(200, page().encode(), content_type=HTML)
    spec, (teaser, _) = feed(site, f"{site.url}/a", f"{site.url}/none")
    clock = iter(NOW + timedelta(minutes=n) for n in range(100))
    with open_store(tmp_path, NOW, create_missing=True) as store:
        shop = Workshop(Settings(sources=(spec,)), store, {}, Catalogue({}, {}, {}, {}), lambda: next(clock))
        (first,) = pipeline.fetch(shop, everything=True)
        assert "1 of 2 pages read" in first.message and "HTTP 404" in first.notes[-1]
        assert SENTENCES[0] in articles.get(store, teaser.id).text
        site.seen.clear()
        (second,) = pipeline.fetch(shop, everything=True)
        assert "pages" not in second.message and asked(site) == []
        assert SENTENCES[0] in articles.get(store, teaser.id).text, "the teaser does not come back"
        assert articles.count(store) == 2


def test_without_the_extra_the_items_stay_and_the_note_says_what_to_install(
    site: Site, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.sources.pages.importlib.util.find_spec", lambda name: None)
    spec, found = feed(site, f"{site.url}/a")
    (body,) = read(jobs_for(spec, found), client)
    assert body.article is None and "pip install 'factd[bodies]'" in body.note
    assert asked(site) == []
