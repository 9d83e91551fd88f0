"""Every way in which a stranger's word becomes an address that is dialled, with every hostile URL of the list."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from agent.errors import SourceError
from agent.sources.base import Fetched
from agent.sources.bodies import jobs_for, read_bodies
from agent.sources.fetch import fetch
from agent.sources.opml import choose, parse_opml
from agent.sources.page import fetch_page
from agent.sources.subscribe import subscribe
from agent.types import SourceSpec
from tests.security.lists import cases, ids
from tests.security.net import FRONT, Net, network, say

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
SECRET = "the secret of this machine"
URLS = cases("urls")
HOME = SourceSpec("home", f"http://{FRONT}/feed")


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    with network() as found:
        yield found


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("secret") / "secret.xml"
    path.write_text(f"<rss version='2.0'><channel><item><title>{SECRET}</title></item></channel></rss>")
    return path


def as_feed(net: Net, url: str) -> str:
    """The owner pasted it. A file or a path is theirs to name."""
    if not url.strip().lower().startswith("http") or "://" not in url:
        return ""
    return _told(fetch(SourceSpec("x", url), None, net.client, NOW))


def as_redirect(net: Net, url: str) -> str:
    net.pages["/feed"] = say(b"", 302, location=url.encode())
    return _told(fetch(HOME, None, net.client, NOW))


def as_permanent_redirect(net: Net, url: str) -> str:
    """From a source that may lie in the local network itself."""
    if (_parts(url) or "") == "127.0.0.1":
        return ""
    net.pages["/feed"] = say(b"", 301, location=url.encode())
    spec = SourceSpec("lan", f"http://{FRONT}/feed", allow_private=True)
    return _told(fetch(spec, None, net.client, NOW))


def as_page_again(net: Net, url: str) -> str:
    """The page behind a proposal, read again before it is applied."""
    page = fetch_page(url, HOME, net.client)
    return page.text if page.status == "read" else _fit(page.message)


def as_link_of_an_item(net: Net, url: str) -> str:
    item = f"<item><title>A story of some length</title><link>{html.escape(url)}</link><guid>1</guid></item>"
    body = f"<rss version='2.0'><channel>{item}</channel></rss>".encode("utf-8", "replace")
    net.pages["/feed"] = say(body)
    spec = SourceSpec("home", HOME.url, body=True)
    polled = fetch(spec, None, net.client, NOW)
    found = read_bodies(jobs_for(spec, polled.articles), net.client, clock=lambda: NOW, pause_s=0)
    return " ".join(body.article.text if body.article else _fit(body.note) for body in found)


def as_feed_that_a_page_names(net: Net, url: str) -> str:
    link = f'<link rel="alternate" type="application/rss+xml" href="{html.escape(url)}">'
    net.pages["/feed"] = say(f"<html><head>{link}</head></html>".encode("utf-8", "replace"), kind="text/html")
    try:
        found = subscribe(HOME, (), net.client, NOW)
    except SourceError as problem:
        return _fit(str(problem))
    return "" if found.fetched is None else _told(found.fetched)


def as_entry_of_a_list(net: Net, url: str) -> str:
    """OPML: a stranger's file must not name a file of ours."""
    row = (
        f'<opml version="2.0"><body><outline type="rss" text="x" xmlUrl="{html.escape(url)}"/></body></opml>'
    )
    try:
        new = choose(parse_opml(row.encode("utf-8", "replace")), ()).new
    except SourceError as problem:
        return _fit(str(problem))
    return " ".join(_told(fetch(spec, None, net.client, NOW)) for spec in new)


WAYS: tuple[Callable[[Net, str], str], ...] = (
    as_feed,
    as_redirect,
    as_permanent_redirect,
    as_page_again,
    as_link_of_an_item,
    as_feed_that_a_page_names,
    as_entry_of_a_list,
)


def got_through(net: Net, secret: Path, case: dict[str, Any], way: Callable[[Net, str], str]) -> str:
    """What the attack reached or read; "" when it was blocked."""
    url = case["url"].replace("{port}", str(net.inner_port)).replace("{secret}", str(secret))
    net.start(case.get("resolves"))
    told = way(net, url)
    if case.get("twice") and not net.reached:
        told += way(net, url)
    return net.reached or (SECRET if SECRET in told else "")


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("case", URLS, ids=ids(URLS))
def test_no_url_leads_inside(
    net: Net, secret: Path, case: dict[str, Any], way: Callable[[Net, str], str]
) -> None:
    assert got_through(net, secret, case, way) == ""


def test_the_inner_server_and_the_secret_can_be_reached_when_nothing_forbids_it(
    net: Net, secret: Path
) -> None:
    """Else the list would be blocked by an accident of the test."""
    net.start()
    inner = SourceSpec("x", f"http://127.0.0.1:{net.inner_port}/", allow_private=True)
    fetch(inner, None, net.client, NOW)
    assert net.asked == ["/"]
    assert SECRET in _told(fetch(SourceSpec("x", str(secret)), None, net.client, NOW))


def _told(found: Fetched) -> str:
    return " ".join([_fit(found.message), *(f"{a.title} {a.text}" for a in found.articles)])


def _fit(message: str) -> str:
    """What is told of a refusal is fit to be printed."""
    assert message.isprintable(), ascii(message)
    return message


def _parts(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
