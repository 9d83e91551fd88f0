"""Secrets are planted wherever one can be, commands are run, and everything that is written is searched."""

from __future__ import annotations

import http.server
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cli import text as cli_text
from agent.masked import MASK, masked
from agent.sources.http import shown
from agent.store import articles
from tests.cli.conftest import World, write_settings
from tests.security.lists import cases
from tests.store import samples

CANARIES = {
    "login": "canary-login", "password": "canary-passw0rd", "token": "canary-t0ken", "serve": "canary-serve",
    "extractor": "canary-extractor", "push": "canary-push", "cookie": "canary-cookie",
}  # fmt: skip
VARIABLES = {"SERVE_KEY": "serve", "LLM_KEY": "extractor", "VLLM_KEY": "push"}


class _Echo(http.server.BaseHTTPRequestHandler):
    """Says in every answer what it was sent, and sets a cookie."""

    def do_GET(self) -> None:
        told = f"{self.path} {self.headers.get('Authorization', '')} {self.requestline}"
        if self.path.startswith("/moved"):
            self.send_response(301)
            self.send_header("Location", f"/feed?token={CANARIES['token']}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        good = self.path.startswith("/feed")
        item = "<item><guid>1</guid><title>A story</title><link>story</link></item>"
        body = (
            f"<rss version='2.0'><channel>{item}</channel></rss>" if good else f"no feed: {told}"
        ).encode()
        self.send_response(200 if good or self.path.startswith("/odd") else 500)
        self.send_header("Set-Cookie", f"session={CANARIES['cookie']}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def planted(bare: World, echo: int, monkeypatch: pytest.MonkeyPatch) -> World:
    """Settings with logins and keys in urls, variables with keys, and a state."""
    login = f"{CANARIES['login']}:{CANARIES['password']}@"
    at = f"http://{login}127.0.0.1:{echo}"
    feeds = [f"{at}/{page}?token={CANARIES['token']}" for page in ("feed", "moved", "odd", "failing")]
    feeds += [f"http://{login}127.0.0.1:1/closed?api_key={CANARIES['token']}"]
    rows = "".join(
        f"  - {{name: s{n}, url: {url!r}, allow_private: true, body: true}}\n" for n, url in enumerate(feeds)
    )
    write_settings(bare.folder, model="none")
    given = bare.settings.read_text().replace("sources:\n  []", f"sources:\n{rows}")
    given = given.replace("relations: relations.yaml", "relations: shipped:configs/relations.yaml")
    more = (
        f"serve: {{key_variable: SERVE_KEY}}\nextractor: {{kind: both, model: m, url: 'http://127.0.0.1:{echo}/v1',"
        " key_variable: LLM_KEY}\n"
    )
    bare.settings.write_text(given + more)
    for name, what in VARIABLES.items():
        monkeypatch.setenv(name, CANARIES[what])
    with bare.store() as store:
        articles.add(store, [samples.article(text="Nordwind is steered by Ann Ruiz.")])
    return bare


COMMANDS: tuple[tuple[str, ...], ...] = (
    ("config", "show"), ("config", "show", "--origin", "--json"), ("feeds", "list"), ("feeds", "list", "--json"),
    ("feeds", "export"), ("feeds", "check"), ("doctor", "--json"),
    ("run", "--once"), ("feeds", "list"), ("feeds", "list", "--json"),
    ("serve", "--port", "0"), ("push", "vllm", "--url", "http://127.0.0.1:1", "--key-variable", "VLLM_KEY"),
    ("push", "vllm", "--url", f"http://u:{CANARIES['password']}@127.0.0.1:1"), ("queue", "list"), ("audit", "log"),
    ("serve", "--key-variable", f"{CANARIES['serve']}!"), ("push", "vllm", "--key-variable", f"{CANARIES['push']}!"),
    ("verify", "--report", "report"), ("timeline", "Zorland"), ("audit", "verify", "--json"),
    ("feeds", "add", f"http://x:{CANARIES['password']}@127.0.0.1:1/f?token={CANARIES['token']}"),
)  # fmt: skip


def leaks(text: str) -> list[str]:
    return sorted(name for name, canary in CANARIES.items() if canary in text)


def test_no_command_says_a_secret(planted: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(planted.folder)
    ran = 0
    for command in COMMANDS:
        done = planted.run(*command)
        ran += bool(done.out or done.err)
        assert leaks(done.out + done.err) == [], (command, done.out, done.err)
    assert ran == len(COMMANDS)
    assert MASK in planted.run("config", "show").out


def test_no_file_holds_a_secret_but_the_settings_and_the_feeds_own_rows(
    planted: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a feed is polled must be kept; it stands in the database, which nobody else may read."""
    monkeypatch.chdir(planted.folder)
    assert planted.run("run", "--once").code in (0, 1)
    for path in planted.folder.rglob("*"):
        if path.is_file() and path != planted.settings and "factd.db" not in path.name:
            assert leaks(path.read_bytes().decode("latin-1")) == [], path
    with closing(sqlite3.connect(planted.state / "factd.db")) as conn:
        tables = [row[0] for row in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        held: set[str] = set()
        for table in tables:
            rows = conn.execute(f'SELECT * FROM "{table}"')
            columns = [column[0] for column in rows.description]
            held |= {
                f"{table}.{c}" for row in rows for c, v in zip(columns, row, strict=True) if leaks(str(v))
            }
    assert {name.partition(".")[2] for name in held} == {"url", "origin"} and len(held) == 2, held


def test_without_the_guard_they_are_said(planted: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_text, "masked", lambda text: text)
    said = {name for command in COMMANDS[:6] for name in leaks(planted.run(*command).out)}
    assert {"login", "password", "token"} <= said


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("https://me:pw@a.example/x", "https://***@a.example/x"),
        ("https://me@a.example", "https://***@a.example"),
        ("https://me:p@w@a.example/x@y", "https://***@a.example/x@y"),
        (
            "see https://a.example/x@y and mail me@a.example",
            "see https://a.example/x@y and mail me@a.example",
        ),
        ("https://a.example/f?token=abc&n=1", "https://a.example/f?token=***&n=1"),
        ("https://a.example/f?n=1&amp;X-Api-Key=abc", "https://a.example/f?n=1&amp;X-Api-Key=***"),
        ("https://a.example/f?access_token=a.b-c#d", "https://a.example/f?access_token=***#d"),
        ("https://a.example/f?monkey=1&keyword=2", "https://a.example/f?monkey=1&keyword=2"),
        ("feed://u:p@[::1]:80/", "feed://***@[::1]:80/"),
    ],
)
def test_what_is_masked(text: str, wanted: str) -> None:
    assert masked(text) == wanted == masked(masked(text))


@given(st.text("abcXYZ019%-._~!$&()+,;=:", min_size=1, max_size=30))
def test_no_login_survives(login: str) -> None:
    assert f"{login}@" not in masked(f"get https://{login}@a.example/f now")
    assert f"{login}@" not in shown(f"https://{login}@a.example/f")


def test_the_hostile_urls_say_no_login_either() -> None:
    for case in cases("urls"):
        if "@" in case["url"].partition("://")[2].partition("/")[0].rpartition("\\")[0]:
            continue
        assert "example.org:80@" not in masked(case["url"])


def test_a_key_is_not_in_what_an_object_says_of_itself() -> None:
    from agent.serve.guard import Guard
    from agent.sources.chat import Endpoint
    from agent.sources.http import Client
    from agent.vllm import server_at

    key = CANARIES["serve"]
    for holder in (
        Guard("0.0.0.0", key, 1),
        Endpoint("http://a.example", "m", key),
        server_at("http://a.example", Client(), key),
    ):
        assert key not in repr(holder) and key not in str(holder)


def test_the_settings_file_is_where_it_was(planted: World) -> None:
    assert leaks(Path(planted.settings).read_text()) == ["login", "password", "token"]
