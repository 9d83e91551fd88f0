"""Who gets in: keys, Host headers, forms and sizes, as raw HTTP."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from agent.lm.load import LM
from agent.serve.guard import Guard, is_loopback
from tests.serve.conftest import CAPITAL, Site, serving

BODY = {"model": "taught", "prompt": CAPITAL, "max_tokens": 2}
ROUTES = [
    ("GET", "/v1/models"), ("GET", "/v1/models/taught"), ("GET", "/v1/revision"), ("POST", "/v1/completions"),
    ("POST", "/v1/chat/completions"),
]  # fmt: skip


def root(site: Site) -> str:
    return site.url.removesuffix("/v1")


def raw(site: Site, text: bytes) -> bytes:
    """What comes back for these bytes, up to the end of the connection."""
    address = site.listener.socket.getsockname()
    with socket.create_connection(address, timeout=20) as line:
        line.sendall(text)
        answer = b""
        while part := line.recv(65536):
            answer += part
    return answer


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_the_key_nothing_is_answered(locked: Site, method: str, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret"}, {"Authorization": "Basic s3cret"},
                    {"Authorization": "Bearer s3cretx"}, {"Authorization": b"Bearer s3cr\xe9t"}):  # fmt: skip
        answer = httpx.request(
            method, root(locked) + path, headers=headers, json=BODY if method == "POST" else None
        )  # type: ignore[arg-type]
        assert answer.status_code == 401, headers
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["error"]["code"] == "invalid_api_key"


def test_with_the_key_everything_is(locked: Site) -> None:
    with locked.client(api_key="s3cret") as client:
        assert client.completions.create(**BODY).choices[0].text == " Tebbin."  # type: ignore[call-overload]
    with locked.client(api_key="other") as client, pytest.raises(openai.AuthenticationError):
        client.models.list()


def test_health_tells_the_stranger_less(locked: Site) -> None:
    url = f"{root(locked)}/healthz"
    assert httpx.get(url).json() == {"status": "ok"}
    told = httpx.get(url, headers={"Authorization": "Bearer s3cret"}).json()
    assert (told["revision"], told["problem"], told["waiting"]) == (2, None, 0)


@pytest.mark.parametrize(("host", "status"), [
    ("127.0.0.1", 200), ("127.0.0.1:8400", 200), ("localhost:1", 200), ("LOCALHOST", 200), ("[::1]:8400", 200),
    ("localhost.", 200), ("evil.example", 400), ("evil.example:8400", 400), ("127.0.0.1.evil.example", 400),
    ("localhost.evil.example", 400), ("192.168.1.9", 400), ("[::1", 400), ("", 400), ("::1:x:y", 400),
])  # fmt: skip
def test_a_page_that_gives_its_name_our_address_is_found_out(site: Site, host: str, status: int) -> None:
    for path in ("/v1/models", "/healthz"):
        assert httpx.get(root(site) + path, headers={"Host": host}).status_code == status, path


def test_on_another_address_the_key_stands_in_for_the_host() -> None:
    assert [is_loopback(name) for name in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [True] * 4
    assert not any(is_loopback(name) for name in ("0.0.0.0", "::", "192.168.1.2", "example.org", ""))


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"])
def test_only_json_is_read_so_that_a_web_page_cannot_ask(site: Site, kind: str) -> None:
    """These are the forms that a browser sends to another site without asking it first."""
    answer = httpx.post(f"{site.url}/completions", content=b"{}", headers={"Content-Type": kind})
    assert answer.status_code == 415
    assert "access-control-allow-origin" not in answer.headers
    asked = httpx.options(f"{site.url}/completions", headers={"Origin": "https://evil.example"})
    assert asked.status_code == 405


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"3", b'{"model": NaN}', b'{"model": "\xff"}', b'{"model": "\\ud800"}', b"[" * 100_000,
    b'{"model": "taught", "prompt": "x", "seed": 1e999}', b'{"model": "taught", "prompt": ""}',
    b'{"model": "taught", "prompt": "x", "temperature": true}', b'{"model": "taught", "prompt": "x", "n": 1.5}',
    b'{"model": "taught", "prompt": "x", "stop": [""]}', b'{"model": "taught", "prompt": "x", "stream": 1}',
    b'{"model": "taught", "prompt": "x", "stream_options": {"include_usage": true}}', b'{"model": 1, "prompt": "x"}',
    b'{"model": "taught"}', b'{"prompt": "x"}',
])  # fmt: skip
def test_what_is_no_request_is_refused_and_nothing_breaks(site: Site, body: bytes) -> None:
    answer = httpx.post(f"{site.url}/completions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert site.told == []


@pytest.mark.parametrize("messages", [
    None, [], "hello", ["hello"], [{"content": "x"}], [{"role": "tool", "content": "x"}], [{"role": "user"}],
    [{"role": "user", "content": 3}], [{"role": "user", "content": [{"type": "image_url"}]}],
    [{"role": "assistant", "content": None, "tool_calls": [{}]}], [{"role": ["user"], "content": "x"}],
])  # fmt: skip
def test_messages_that_are_none_are_refused(site: Site, messages: Any) -> None:
    answer = httpx.post(f"{site.url}/chat/completions", json={"model": "taught", "messages": messages})
    assert answer.status_code == 400
    assert "messages" in answer.json()["error"]["message"]


def test_a_body_may_not_be_larger_than_allowed(site: Site) -> None:
    limit = site.listener.guard.body_bytes
    big = {**BODY, "prompt": "x" * limit}
    answer = httpx.post(f"{site.url}/completions", json=big)
    assert answer.status_code == 413

    def parts() -> Iterator[bytes]:  # without a Content-Length
        for _ in range(limit // 1000 + 2):
            yield b"x" * 1000

    unannounced = httpx.post(
        f"{site.url}/completions", content=parts(), headers={"Content-Type": "application/json"}
    )
    assert unannounced.status_code == 413
    assert site.engine.load == (0, 0)


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/", 404), ("GET", "/v1/embeddings", 404), ("GET", "/v1/completions", 405), ("DELETE", "/v1/models", 405),
    ("GET", "/v1/models/../../etc/passwd", 404),
])  # fmt: skip
def test_other_paths_are_told_so_in_the_same_form(site: Site, method: str, path: str, status: int) -> None:
    answer = httpx.request(method, root(site) + path)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "text", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"\x16\x03\x01\x02\x00"]
)
def test_what_is_no_http_ends_the_connection_only(
    site: Site, text: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    raw(site, text + b"\r\n\r\n")
    assert httpx.get(f"{root(site)}/healthz").status_code == 200
    assert capfd.readouterr() == ("", "")


def test_a_body_that_does_not_come_is_not_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.serve.guard._BODY_TIMEOUT_S", 0.2)
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n"
    assert raw(site, head).startswith(b"HTTP/1.1 408 ")


@pytest.fixture(scope="module")
def locked(lm: LM, published: Any) -> Iterator[Site]:
    """A server that wants a key. It serves a fixed revision, so that nobody changes the state."""
    with serving(lm, published, fixed=2, key="s3cret") as running:
        yield running


def test_the_key_is_not_in_what_a_guard_says_of_itself() -> None:
    assert "s3cret" not in repr(Guard("0.0.0.0", "s3cret", 1))
