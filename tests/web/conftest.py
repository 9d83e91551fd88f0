"""A review desk on a free port over a small invented state, and a client that is in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from agent.serve.sockets import bound
from agent.settings import Settings
from agent.store import articles, queue
from agent.store.db import Store, open_store
from agent.web.app import build
from agent.web.front import Front
from agent.web.gate import Gate
from agent.web.listen import Listener
from agent.web.render import Renderer
from agent.web.sessions import Sessions
from tests.store import samples

TOKEN = "the-token-of-the-tests-0123456789"
SENTENCE = "Borduria's prime minister, Ana Lopes, opened the bridge."


@dataclass
class Site:
    """`told`: what the operator was told. `now` is the desk's clock."""

    url: str
    state: Path
    told: list[str]
    clock: list[datetime] = field(default_factory=lambda: [datetime.now(UTC)])

    def store(self) -> Store:
        return open_store(self.state, samples.NOW, create_missing=True)

    @property
    def enter(self) -> str:
        return f"{self.url}/enter?token={TOKEN}"


@dataclass
class Visitor:
    """A browser by hand: cookies, forms read from the pages, an Origin."""

    client: httpx.Client
    site: Site

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.client.get(path, headers=headers)

    def form(self, path: str, action: str) -> dict[str, str]:
        """The hidden fields of the form on a page that goes to `action`."""
        page = self.get(path).text
        found = re.search(rf'<form method="post" action="{re.escape(action)}".*?</form>', page, re.S)
        assert found, f"{path} has no form for {action}"
        return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', found[0]))

    def post(self, path: str, form: dict[str, str], **headers: str) -> httpx.Response:
        sent = {"Origin": self.site.url, "Sec-Fetch-Site": "same-origin"} | headers
        return self.client.post(path, data=form, headers={k: v for k, v in sent.items() if v != "-"})

    def decide(self, number: int, action: str, **fields: str) -> httpx.Response:
        path = f"/proposals/{number}/{action}"
        return self.post(path, self.form(f"/proposals/{number}", path) | fields)


@contextmanager
def serving(state: Path) -> Iterator[Site]:
    told: list[str] = []
    with bound("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        site = Site(f"http://127.0.0.1:{port}", state, told)
        gate = Gate("127.0.0.1", f"factd_{port}", Sessions(TOKEN, lambda: 0.0))
        front = Front(Settings(state=state), gate, Renderer.load(), "eva", lambda: site.clock[0], told.append)
        listener = Listener(build(front), listening)
        listener.start()
        try:
            yield site
        finally:
            listener.stop()


@contextmanager
def entered(site: Site) -> Iterator[Visitor]:
    with httpx.Client(base_url=site.url, trust_env=False, timeout=30) as client:
        assert client.get(f"/enter?token={TOKEN}").status_code == 200
        yield Visitor(client, site)


def fill(store: Store) -> None:
    """Proposals 1 to 3 are pending (1 with evidence and a belief), 4 is live in revision 1."""
    articles.add(store, [samples.article(text=f"Rain fell. {SENTENCE} Crowds came.", title="A bridge opens")])
    claim = samples.claim()
    object.__setattr__(claim, "sentence", SENTENCE)
    articles.add_claims(store, [claim], samples.NOW)
    belief = samples.belief()
    queue.propose(
        store, samples.draft(samples.fact(valid_from=samples.day(2))), now=samples.NOW, belief=belief
    )
    for subject, object_ in (("Quenia", "Ilic"), ("Bavoria", "Oduya")):
        samples.propose(store, samples.fact(object_, subject=subject, relation="leader", evidence=()))
    samples.live(store, samples.fact("Nova", subject="Tallisk", relation="capital", evidence=()))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_store(tmp_path / "state", samples.NOW, create_missing=True) as store:
        fill(store)
    with serving(tmp_path / "state") as made:
        yield made


@pytest.fixture
def visitor(site: Site) -> Iterator[Visitor]:
    with entered(site) as made:
        yield made
