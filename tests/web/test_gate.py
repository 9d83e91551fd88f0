"""Who gets in, and whose forms count: hosts, tokens, cookies, origins, secrets, sizes; what every answer tells a browser."""

from __future__ import annotations

import socket
from itertools import product

import httpx
import pytest

from agent.store import ledger, queue
from agent.web.gate import FORM_BYTES
from agent.web.sessions import Sessions
from tests.store.samples import status
from tests.web.conftest import TOKEN, Site, Visitor

SHOWN = (
    "/", "/queue", "/proposals/1", "/evidence?claim=c1", "/beliefs", "/history", "/subject?name=Borduria", "/revisions",
    "/revisions/1", "/revisions/1/report",
)  # fmt: skip
CHANGING = ("/proposals/1/approve", "/proposals/1/undo", "/revisions/0/rollback", "/leave")


def ask(site: Site, text: bytes) -> bytes:
    """What comes back for these bytes."""
    host, port = site.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as line:
        line.sendall(text)
        answer = b""
        while part := line.recv(65536):
            answer += part
    return answer


def test_without_the_cookie_nothing_is_shown(site: Site) -> None:
    for path, cookie in product(SHOWN, (None, "x", "\xe9" * 40)):
        headers = (
            {}
            if cookie is None
            else {"Cookie": f"factd_{site.url.rpartition(':')[2]}={cookie}".encode("latin-1")}
        )
        answer = httpx.get(site.url + path, headers=headers)
        assert answer.status_code == 401 and "Lopes" not in answer.text and "Token" in answer.text


def test_with_it_everything_is(visitor: Visitor) -> None:
    for path in SHOWN:
        answer = visitor.client.get(path, follow_redirects=True)
        assert answer.status_code == 200 and "<h1" in answer.text, path


def test_the_token_gives_a_strict_cookie_and_a_wrong_one_nothing(site: Site) -> None:
    for wrong in ("", "x", TOKEN + "x", TOKEN[:-1], "é"):
        answer = httpx.get(f"{site.url}/enter", params={"token": wrong})
        assert answer.status_code == 403 and "set-cookie" not in answer.headers
    right = httpx.get(site.enter)
    cookie = right.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and TOKEN.lower() not in cookie
    assert TOKEN not in right.text, "the token stays out of pages"
    pasted = httpx.post(f"{site.url}/enter", data={"token": f" {TOKEN} "}, headers={"Origin": site.url})
    assert pasted.status_code == 200 and "set-cookie" in pasted.headers
    foreign = httpx.post(
        f"{site.url}/enter", data={"token": TOKEN}, headers={"Origin": "http://evil.example"}
    )
    assert foreign.status_code == 403 and "set-cookie" not in foreign.headers


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "0.0.0.0",
        "",
        "[::1",
        "10.0.0.1:8401",
    ],
)
def test_another_name_for_our_address_is_refused(visitor: Visitor, host: str) -> None:
    """DNS rebinding: the page of a foreign site under our address, with the cookie even."""
    for path in (*SHOWN, "/enter", "/desk.js"):
        answer = visitor.get(path, Host=host)
        assert answer.status_code == 400 and "Lopes" not in answer.text
    form = visitor.form("/proposals/1", "/proposals/1/approve")
    answer = visitor.post("/proposals/1/approve", form, Host=host, Origin=f"http://{host}")
    assert answer.status_code == 400
    with visitor.site.store() as store:
        assert status(store, 1) == "pending"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "-", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "-", "Sec-Fetch-Site": "same-site"},
        {"Origin": "-", "Sec-Fetch-Site": "none"},
        {"Origin": "-", "Sec-Fetch-Site": "-"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_forms_of_other_pages_change_nothing(visitor: Visitor, headers: dict[str, str]) -> None:
    """Even with the cookie and the secret."""
    for path in CHANGING:
        form = visitor.form("/proposals/1", "/proposals/1/approve") | {
            "reason": "x",
            "served": "1",
            "event": "1",
        }
        assert visitor.post(path, form, **headers).status_code == 403, path
    nothing_was_done(visitor)


@pytest.mark.parametrize("key", [None, "", "x", "é"])
def test_a_form_without_the_secret_changes_nothing(visitor: Visitor, key: str | None) -> None:
    for path in CHANGING:
        form = visitor.form("/proposals/1", "/proposals/1/approve") | {
            "reason": "x",
            "served": "1",
            "event": "1",
        }
        form = {name: value for name, value in form.items() if name != "key"} | (
            {} if key is None else {"key": key}
        )
        assert visitor.post(path, form).status_code == 403, path
    nothing_was_done(visitor)


def test_one_browsers_secret_is_not_anothers(visitor: Visitor) -> None:
    form = visitor.form("/proposals/1", "/proposals/1/approve")
    with httpx.Client(base_url=visitor.site.url) as other:
        other.get(f"/enter?token={TOKEN}")
        answer = other.post("/proposals/1/approve", data=form, headers={"Origin": visitor.site.url})
    assert answer.status_code == 403
    nothing_was_done(visitor)


def nothing_was_done(visitor: Visitor) -> None:
    assert visitor.get("/queue").status_code == 200, "still in"
    with visitor.site.store() as store:
        assert status(store, 1) == "pending" and len(queue.events(store, 1)) == 1
        assert [e.kind for e in ledger.entries(store)] == ["published"]


def test_links_change_nothing(visitor: Visitor) -> None:
    for path in CHANGING:
        for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
            assert visitor.client.request(method, path).status_code in (404, 405), (method, path)
    nothing_was_done(visitor)


def test_every_answer_forbids_what_the_desk_does_not_need(visitor: Visitor, site: Site) -> None:
    for path in (*SHOWN, "/enter", "/nowhere", "/desk.css", "/desk.js", "/revisions/9", "/proposals/9"):
        for answer in (visitor.get(path), httpx.get(site.url + path), visitor.get(path, Host="evil.example")):
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy, path
            assert "base-uri 'none'" in policy and "unsafe" not in policy and "http" not in policy, path
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["referrer-policy"] == "same-origin"
            assert not [name for name in answer.headers if name.startswith("access-control")]
            if not path.startswith("/desk."):
                assert answer.headers["cache-control"] == "no-store", path


def test_what_is_too_much_is_not_read(visitor: Visitor, site: Site) -> None:
    form = visitor.form("/proposals/1", "/proposals/1/approve")
    assert visitor.post("/proposals/1/approve", form | {"reason": "x" * FORM_BYTES}).status_code == 413
    many = form | {f"f{n}": "" for n in range(99)}
    assert visitor.post("/proposals/1/approve", many).status_code == 400
    headers = {"Origin": site.url, "Content-Type": "application/json"}
    answer = visitor.client.post("/proposals/1/approve", content=b"{}", headers=headers)
    assert answer.status_code == 415
    nothing_was_done(visitor)


def test_a_fault_of_ours_is_told_to_the_operator_alone(visitor: Visitor, site: Site) -> None:
    """The database goes away under it: said without a trace of where."""
    (site.state / "factd.db").rename(site.state / "away.db")
    answer = visitor.get("/queue")
    (site.state / "away.db").rename(site.state / "factd.db")
    assert answer.status_code == 500 and "Traceback" not in answer.text


def test_raw_requests_get_answers(site: Site) -> None:
    assert b" 400 " in ask(site, b"GET /queue HTTP/1.1\r\nConnection: close\r\n\r\n").split(b"\r\n")[0]
    assert ask(site, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400")


def test_a_cookie_ends_after_a_day_without_a_visit_and_when_one_leaves(visitor: Visitor) -> None:
    now = [0.0]
    sessions = Sessions(TOKEN, lambda: now[0])
    first = sessions.enter(TOKEN)
    assert first is not None and sessions.visitor(first.cookie) is first
    now[0] += 11 * 3600
    assert sessions.visitor(first.cookie) is first
    now[0] += 13 * 3600
    assert sessions.visitor(first.cookie) is None
    kept = [sessions.enter(TOKEN) for _ in range(100)]
    assert kept[0] is not None and kept[-1] is not None
    assert sessions.visitor(kept[0].cookie) is None and sessions.visitor(kept[-1].cookie) is kept[-1]
    form = visitor.form("/queue", "/leave")
    assert visitor.post("/leave", form).status_code == 200
    assert visitor.get("/queue").status_code == 401
