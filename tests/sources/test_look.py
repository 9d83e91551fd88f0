"""What is said about sources, and what becomes of the url that a person pastes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import SourceError
from agent.sources.base import SourceSpec
from agent.sources.http import Client
from agent.sources.look import Finding, look
from agent.sources.subscribe import subscribe
from tests.sources.conftest import NOW, Site, answer, item, rss


def at(spec: SourceSpec, client: Client) -> Finding:
    (found,) = look([spec], client, NOW)
    return found


def test_a_sound_feed(site: Site, client: Client) -> None:
    site.pages["/f"] = answer(200, rss(item(1), item(2)))
    found = at(site.spec("/f"), client)
    assert (found.status, found.kind, found.items, found.with_text) == ("ok", "web", 2, 2)
    assert found.publishers == ("paper.example",) and found.problems == ()
    assert found.newest_at is not None and f"{found.newest_at:%H:%M}" == "10:02"


def test_what_is_not_well_is_said_with_advice(site: Site, client: Client) -> None:
    site.pages["/bare"] = answer(
        200, rss(item(1, description="", pubDate=""), item(2, description="", pubDate=""))
    )
    site.pages["/old"] = answer(200, rss(item(1, pubDate="Mon, 02 Mar 2020 10:00:00 GMT")))
    site.pages["/empty"] = answer(200, rss())
    site.pages["/moved"] = answer(301, location="/fine")
    site.pages["/fine"] = answer(200, rss(item(1)))
    for path, what, advice in [
        ("/bare", "2 of 2 items are headlines", "body: true"),
        ("/bare", "no item has a date", "first seen"),
        ("/old", "newest item is of 2020-03-02", "writing"),
        ("/empty", "no items", "a day"),
        ("/moved", f"moved to {site.url}/fine", "settings"),
    ]:
        found = at(site.spec(path), client)
        assert found.status == "warn"
        assert any(what in p.what and advice in p.advice for p in found.problems), found.problems


@pytest.mark.parametrize(
    ("status", "body", "advice"),
    [
        (404, b"", "new address"),
        (401, b"", "log in"),
        (403, b"", "turns feed readers away"),
        (503, b"", "the site's"),
        (200, b"<html><p>hello", "look on the site"),
        (200, b'<html><link type="application/rss+xml" href="/f">', "factd feeds add"),
        (200, b"words", "check its url"),
        (200, b"<svg/>", "check its url"),
    ],
)
def test_what_cannot_be_read_fails_with_advice(
    site: Site, client: Client, status: int, body: bytes, advice: str
) -> None:
    site.pages["/f"] = answer(status, body)
    found = at(site.spec("/f"), client)
    assert found.status == "fail" and advice in found.problems[0].advice
    assert found.problems[0].what == found.message


def test_a_page_leads_to_the_feed_that_it_names(site: Site, client: Client) -> None:
    head = '<html><head><link rel="alternate" type="application/rss+xml" href="/feed?a=1&amp;b=2"></head>'
    site.pages["/news"] = answer(200, head.encode())
    site.pages["/feed?a=1&b=2"] = answer(200, rss(item(1)))
    got = subscribe(site.spec("/news"), (), client, NOW)
    assert got.is_new and got.spec.url == f"{site.url}/feed?a=1&b=2" and got.spec.allow_private
    assert "names the feed" in got.remarks[0]
    known = (replace(got.spec, name="mine"),)
    again = subscribe(site.spec("/news"), known, client, NOW)
    assert not again.is_new and again.spec.name == "mine"


def test_a_moved_feed_is_taken_at_its_new_address(site: Site, client: Client) -> None:
    site.pages["/old"] = answer(301, location="/new")
    site.pages["/new"] = answer(200, rss(item(1)))
    got = subscribe(site.spec("/old"), (), client, NOW)
    assert got.spec.url == f"{site.url}/new" and "has moved" in got.remarks[0]
    assert not subscribe(site.spec("/old"), (got.spec,), client, NOW).is_new


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html><p>nothing here", "names no feed"),
        (b'<html><link type="application/rss+xml" href="/none">', "HTTP 404"),
        (b'<html><link type="application/rss+xml" href="javascript:x">', "no web address"),
        (b'<html><link type="application/rss+xml" href="file:///etc/passwd">', "no web address"),
        (b'<html><link type="application/rss+xml" href="http://[bad">', "no url"),
        (b'<html><link type="application/rss+xml" href="/page">', "HTML page"),
        (b"", "empty"),
    ],
)
def test_a_page_without_a_readable_feed_is_refused(
    site: Site, client: Client, body: bytes, reason: str
) -> None:
    site.pages["/page"] = answer(200, body)
    with pytest.raises(SourceError, match=reason):
        subscribe(site.spec("/page"), (), client, NOW)


def test_a_page_may_not_send_us_into_the_local_network(site: Site, client: Client) -> None:
    """Leave to read one private host is no leave for another that its page names."""
    port = site.url.rpartition(":")[2]
    link = f'<html><link type="application/rss+xml" href="http://localhost:{port}/f">'
    site.pages["/page"] = answer(200, link.encode())
    site.pages["/f"] = answer(200, rss(item(1)))
    with pytest.raises(SourceError, match="loopback"):
        subscribe(site.spec("/page"), (), client, NOW)
    assert [seen[":path"] for seen in site.seen] == ["/page", "/page"]


def test_a_folder_is_a_source_too(tmp_path: Path, client: Client) -> None:
    (tmp_path / "a.xml").write_bytes(rss(item(1)))
    got = subscribe(SourceSpec("", str(tmp_path)), (), client, NOW)
    assert got.is_new and got.fetched is not None and len(got.fetched.articles) == 1
