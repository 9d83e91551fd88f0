"""The desk in a real Chromium: with keys, without JavaScript, against another site, small and large, light and dark."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import agent.web
from agent.store import articles, queue
from tests.page.test_browser import contrast
from tests.store import samples
from tests.store.samples import NOW, day, status
from tests.web.conftest import Site
from tests.web.driver import CHROMIUM, DRIVER, Browser, browsing

pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium or chromedriver is not installed")
PATHS = ("/queue?status=all", "/proposals/1", "/evidence?claim=c1", "/beliefs", "/history", "/subject?name=Borduria",
         "/revisions", "/revisions/1")  # fmt: skip
# Pixels that the page scrolls sideways, and what reaches over the right edge.
STICKS_OUT = """
const right = innerWidth + 1;
const wide = [...document.querySelectorAll("body *")].filter(
  (e) => e.getBoundingClientRect().right > right && !e.closest(".unseen, caption, thead, .skip, details:not([open])"));
return [document.documentElement.scrollWidth - innerWidth, wide.map((e) => e.outerHTML.slice(0, 80))];
"""
# Fields without a label, buttons without words, pictures, more or less than one h1, main without a name for skipping to.
UNNAMED = """
const named = (e) => e.labels?.length > 0 || e.getAttribute("aria-label");
const fields = [...document.querySelectorAll("input:not([type=hidden]), select")].filter((e) => !named(e));
const buttons = [...document.querySelectorAll("button, a, summary")].filter((e) => e.textContent.trim() === "");
const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
const pointed = [...document.querySelectorAll("[aria-labelledby]")].filter((e) => !document.getElementById(e.getAttribute("aria-labelledby")));
return [...[...fields, ...buttons, ...pointed].map((e) => e.outerHTML), ...ids.filter((id, i) => ids.indexOf(id) !== i),
  document.querySelectorAll("h1").length, document.querySelectorAll("main").length, document.documentElement.lang];
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("browser")) as made:
        yield made


@pytest.fixture
def inside(browser: Browser, site: Site) -> Iterator[Browser]:
    """A browser that came in by the printed address."""
    browser.size(1280)
    browser.go(site.enter)
    browser.until("location.pathname === '/queue'")
    yield browser
    browser.javascript(True)
    browser.cdp("Network.clearBrowserCookies")


def test_keys_decide(inside: Browser, site: Site) -> None:
    assert "token" not in inside.url(), "not in the address any more"
    inside.press("a")
    assert inside.run("return document.activeElement.innerText.includes('Borduria')"), (
        "nothing was chosen yet"
    )
    inside.press("j")
    inside.press("k")
    with site.store() as store:
        assert status(store, 1) == "pending"
    inside.press("a")
    inside.until("document.querySelector('.notice')?.innerText.includes('Proposal 1 (Borduria) is approved')")
    assert inside.run("return document.activeElement.matches('article.card')"), "it goes on where it was"
    inside.press("r")
    inside.type("details[open] input[name=reason]", "a hoax, read j a r")
    inside.press("\ue007")
    inside.until("document.querySelector('.notice')?.innerText.includes('rejected')")
    inside.press("u")
    inside.until("document.querySelector('.notice')?.innerText.includes('Undone')")
    with site.store() as store:
        assert [status(store, n) for n in (1, 2, 3)] == ["approved", "pending", "pending"]
        assert [e.reason for e in queue.events(store, 3)][1] == "a hoax, read j a r"
    assert inside.complaints() == []


def test_without_javascript_everything_works(inside: Browser, site: Site) -> None:
    inside.javascript(False)
    inside.go(f"{site.url}/queue")
    assert inside.run("return document.querySelector('.keys').hidden") is True, (
        "no word of keys that do nothing"
    )
    inside.click("article.card .primary")
    inside.until("document.body.innerText.includes('Proposal 1 (Borduria) is approved')")
    inside.click(".notice button")
    inside.until("document.body.innerText.includes('Undone')")
    inside.click("article.card details summary")
    inside.type("article.card details[open] input[name=reason]", "a hoax")
    inside.click("article.card details[open] button")
    inside.until("document.body.innerText.includes('Proposal 1 (Borduria) is rejected')")
    inside.go(f"{site.url}/revisions")
    inside.click("article.card details summary")
    inside.type("article.card details[open] input[name=reason]", "all wrong")
    inside.click("article.card details[open] button")
    inside.until("document.body.innerText.includes('The base model is served')")
    with site.store() as store:
        assert [status(store, n) for n in (1, 4)] == ["rejected", "rolled_back"]


def test_another_site_can_neither_read_nor_change(inside: Browser, site: Site) -> None:
    """Its forms, scripts and frames, on another port of this machine, where cookies are sent along; and how strict they are."""
    form = site.url + "/proposals/1/approve"
    with page_of(
        f'<form method="post" action="{form}"><input name="seen" value="1"><button>Win</button></form>'
        f'<iframe src="{site.url}/queue"></iframe>'
    ) as foreign:
        inside.go(foreign)
        assert (
            inside.run(
                f"return fetch('{site.url}/queue', {{credentials: 'include'}}).then(() => 'read', () => 'no')"
            )
            == "no"
        )
        assert (
            inside.run("try { return frames[0].document.body.innerText } catch (e) { return 'no' }") == "no"
        )
        inside.click("button")
        inside.until("document.body.innerText.includes('was not sent by the desk itself')")
    with site.store() as store:
        assert status(store, 1) == "pending"
    inside.complaints()


def test_hostile_words_run_nothing(inside: Browser, site: Site) -> None:
    evil = "evil <script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\u202e"
    with site.store() as store:
        articles.add(
            store, [samples.article(7, title=evil, text=evil, url="javascript:document.title='owned'")]
        )
        claim = samples.claim("c7", "feed:7", evil)
        object.__setattr__(claim, "sentence", evil)
        articles.add_claims(store, [claim], NOW)
        samples.propose(store, samples.fact(evil, subject=evil, evidence=("c7",), valid_from=day(9)))
    for path in ("/queue", "/proposals/5", "/evidence?claim=c7", "/history"):
        inside.go(site.url + path)
        assert inside.run("return document.title").endswith("factd") and "evil" in inside.text()
        assert inside.run("return [...document.links].every((a) => /^http/.test(a.protocol))")
    inside.run(
        "const s = document.createElement('script'); s.textContent = 'document.title=\"owned\"'; document.body.append(s)"
    )
    assert inside.run("return document.title") != "owned", "even a script that got into a page would not run"
    assert any("Content Security Policy" in said for said in inside.complaints())


def test_it_fits_every_width_and_everything_has_a_name(inside: Browser, site: Site) -> None:
    wide = "超" * 60 + "x" * 200
    with site.store() as store:
        samples.propose(
            store, samples.fact(wide, subject=wide, relation="y" * 90, publishers=("z" * 90,) * 1)
        )
    for path in PATHS:
        for width in (360, 768, 1280):
            inside.size(width)
            inside.go(site.url + path)
            inside.run("document.querySelectorAll('details').forEach((e) => { e.open = true })")
            assert inside.run(STICKS_OUT) == [0, []], (path, width)
        assert inside.run(UNNAMED) == [1, 1, "en"], path
    inside.go(f"{site.url}/queue")
    inside.press("\ue004")
    assert inside.run("return document.activeElement.innerText") == "Skip to the content", (
        "the first stop of the tab key"
    )
    assert inside.run("return document.activeElement.getBoundingClientRect().left") == 0, (
        "and it is seen then"
    )
    assert inside.complaints() == []


def test_light_and_dark(inside: Browser, site: Site) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        inside.scheme(scheme)
        inside.go(f"{site.url}/queue")
        seen[scheme] = inside.run(
            "return [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )
    inside.scheme("light")
    numbers = {name: [sum(map(int, re.findall(r"\d+", c))) for c in pair] for name, pair in seen.items()}
    assert numbers["light"][0] > 600 > 300 > numbers["light"][1]
    assert numbers["dark"][0] < 200 < 500 < numbers["dark"][1]


@contextmanager
def page_of(body: str) -> Iterator[str]:
    """A page of somebody else's, on loopback too: the nearest that another site can be."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = f"<!doctype html><title>foreign</title>{body}".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


def test_colours_are_far_enough_apart() -> None:
    """WCAG AA: 4.5 to 1 for text, 3 to 1 for the edges of fields and buttons, in both schemes."""
    css = (Path(agent.web.__file__).parent / "desk.css").read_text(encoding="utf-8")
    schemes = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", css, re.S)
    ]
    assert len(schemes) == 2 and schemes[0].keys() == schemes[1].keys()
    for scheme in schemes:
        text = [(c, p) for c in ("ink", "soft", "accent", "good", "bad") for p in ("paper", "raised")]
        text += [("ink", f"{c}-paper") for c in ("good", "bad", "warn")] + [
            ("on-accent", "accent"),
            ("ink", "mark"),
        ]
        text += [(c, f"{c}-paper") for c in ("good", "bad", "warn")]
        for least, pairs in ((4.5, text), (3.0, [("field", "paper"), ("field", "raised")])):
            for one, other in pairs:
                assert contrast(scheme[one], scheme[other]) >= least, (one, other)
