"""The client against a real server: what each answer means; nothing gets past the guard or the limits."""

from __future__ import annotations

import gzip
import shutil
import socket
import ssl
import subprocess
import threading
import time
import zlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from agent.errors import FetchRefused, SourceError, TooLarge
from agent.sources.base import SourceSpec, is_due, new_state, state_for
from agent.sources.fetch import fetch
from agent.sources.http import Client, shown
from agent.sources.pace import MAX_JITTER_S, jitter_s
from agent.types import FeedState
from tests.sources.conftest import NOW, Site, answer, item, rss

FEED = rss(item(1), item(2))


def test_a_feed_is_read_and_its_validators_come_back(site: Site, client: Client) -> None:
    site.pages["/f"] = answer(200, FEED, etag='W/"odd, but opaque"', last_modified="some time ago")
    first = fetch(site.spec("/f"), None, client, NOW)
    assert first.status == "ok" and [a.title for a in first.articles] == ["Story number 1", "Story number 2"]
    site.pages["/f"] = answer(304)
    second = fetch(site.spec("/f"), first.state, client, NOW)
    assert second.status == "not_modified" and second.articles == ()
    assert site.seen[1]["if-none-match"] == 'W/"odd, but opaque"'
    assert site.seen[1]["if-modified-since"] == "some time ago"
    assert second.state.etag == first.state.etag
    assert "if-none-match" not in site.seen[0]


def test_the_same_etag_with_200_is_unmodified(site: Site, client: Client) -> None:
    site.pages["/f"] = answer(200, FEED, etag='"v1"')
    state = fetch(site.spec("/f"), None, client, NOW).state
    assert fetch(site.spec("/f"), state, client, NOW).status == "not_modified"
    site.pages["/f"] = answer(200, rss(item(3)), etag='"v2"')
    assert fetch(site.spec("/f"), state, client, NOW).status == "ok"


def test_the_same_bytes_are_not_read_again(site: Site, client: Client) -> None:
    site.pages["/f"] = answer(200, FEED)
    state = fetch(site.spec("/f"), None, client, NOW).state
    site.pages["/f"] = answer(200, FEED, etag='"now it has one"')
    again = fetch(site.spec("/f"), state, client, NOW)
    assert again.status == "not_modified" and again.articles == ()
    assert again.state.etag == '"now it has one"'
    site.pages["/f"] = answer(200, FEED + b" ")
    assert len(fetch(site.spec("/f"), again.state, client, NOW).articles) == 2


def test_bytes_that_could_not_be_read_are_tried_again(site: Site, client: Client) -> None:
    site.pages["/f"] = answer(200, b"no feed at all")
    first = fetch(site.spec("/f"), None, client, NOW)
    second = fetch(site.spec("/f"), first.state, client, NOW)
    assert [first.status, second.status] == ["error", "error"] and second.state.errors == 2


@pytest.mark.parametrize(
    ("statuses", "moved"),
    [
        ((301,), True),
        ((308,), True),
        ((301, 308), True),
        ((302,), False),
        ((307, 301), False),
        ((303,), False),
    ],
)
def test_only_permanent_redirects_rewrite_the_url(
    site: Site, client: Client, statuses: Sequence[int], moved: bool
) -> None:
    for n, status in enumerate(statuses):
        site.pages[f"/{n}"] = answer(status, location=f"{n + 1}")  # relative on purpose
    site.pages[f"/{len(statuses)}"] = answer(200, FEED)
    got = fetch(site.spec("/0"), None, client, NOW)
    assert got.status == "ok"
    assert got.state.url == (f"{site.url}/{len(statuses)}" if moved else f"{site.url}/0")
    assert got.state.origin == f"{site.url}/0"


def test_a_permanent_redirect_before_a_temporary_one_moves_only_that_far(site: Site, client: Client) -> None:
    site.pages |= {
        "/0": answer(301, location="/1"),
        "/1": answer(302, location="/2"),
        "/2": answer(200, FEED),
    }
    assert fetch(site.spec("/0"), None, client, NOW).state.url == f"{site.url}/1"


def test_a_redirect_to_something_broken_moves_nothing(site: Site, client: Client) -> None:
    site.pages |= {"/0": answer(301, location="/1"), "/1": answer(200, b"<html>gone</html>")}
    got = fetch(site.spec("/0"), None, client, NOW)
    assert got.status == "error" and got.state.url == f"{site.url}/0"


def test_too_many_redirects(site: Site, client: Client) -> None:
    site.pages["/f"] = answer(302, location="/f")
    got = fetch(site.spec("/f"), None, client, NOW)
    assert got.status == "error" and "more than 5 times" in got.message and len(site.seen) == 6


def test_gone_retires_the_feed_until_its_url_changes(site: Site, client: Client) -> None:
    site.pages["/f"] = answer(410)
    got = fetch(site.spec("/f"), None, client, NOW)
    assert got.status == "gone" and got.state.gone
    assert not is_due(site.spec("/f"), got.state, NOW + timedelta(days=999))
    assert is_due(site.spec("/new"), got.state, NOW)


@pytest.mark.parametrize("status", [204, 206, 400, 401, 403, 404, 429, 500, 503])
def test_other_statuses_are_errors_that_back_off(site: Site, client: Client, status: int) -> None:
    site.pages["/f"] = answer(status)
    state: FeedState | None = None
    waits = []
    for _ in range(4):
        got = fetch(site.spec("/f"), state, client, NOW)
        assert got.status == "error" and str(status) in got.message and got.state.last_error == got.message
        state = got.state
        assert state.next_poll_at is not None
        waits.append((state.next_poll_at - NOW).total_seconds())
    assert [int(wait // 300 * 300) for wait in waits] == [300, 600, 1200, 2400]
    assert [jitter_s("local", least) for least in (300, 600, 1200, 2400)] == [
        pytest.approx(wait - least) for wait, least in zip(waits, (300, 600, 1200, 2400), strict=True)
    ]
    site.pages["/f"] = answer(200, FEED)
    healed = fetch(site.spec("/f"), state, client, NOW).state
    assert healed.errors == 0 and healed.last_error == ""


def test_retry_after_is_honoured(site: Site, client: Client) -> None:
    site.pages["/f"] = answer(503, retry_after="7200")
    state = fetch(site.spec("/f"), None, client, NOW).state
    assert state.next_poll_at is not None
    assert 7200 <= (state.next_poll_at - NOW).total_seconds() <= 7200 + MAX_JITTER_S


def test_after_five_errors_a_moved_feed_is_sought_at_home(site: Site, client: Client) -> None:
    spec = site.spec("/home")
    state = FeedState("local", f"{site.url}/moved", etag='"x"', errors=4, origin=spec.url)
    state = fetch(spec, state, client, NOW).state
    assert state.url == spec.url and state.etag == ""
    site.pages["/home"] = answer(200, FEED)
    assert fetch(spec, state, client, NOW).status == "ok"


def test_a_feed_may_change_only_its_own_state(site: Site, client: Client) -> None:
    old = FeedState(
        "local", "http://elsewhere.example/", etag='"x"', gone=True, origin="http://elsewhere.example/"
    )
    site.pages["/f"] = answer(200, FEED)
    got = fetch(site.spec("/f"), old, client, NOW)
    assert got.status == "ok" and not got.state.gone and "if-none-match" not in site.seen[0]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b"  \r\n ", "empty"),
        (b"not found, sorry", "no XML"),
        (b"<!DOCTYPE html><html><body>hello</body></html>", "HTML page"),
        (b"<html><head><link rel=alternate type='application/rss+xml' href='/feed.xml'></head>", "/feed.xml"),
        (b"<rss><channel><title>x", "broken"),
        (b"<catalog><book/></catalog>", "neither RSS nor Atom"),
        (b'{"a": 1}', "no JSON Feed"),
    ],
)
def test_what_is_no_feed_says_why(site: Site, client: Client, body: bytes, reason: str) -> None:
    site.pages["/f"] = answer(200, body)
    got = fetch(site.spec("/f"), None, client, NOW)
    assert got.status == "error" and reason in got.message and "/f" in got.message


@pytest.mark.parametrize("coding", ["gzip", "deflate", "bare"])
def test_compressed_bodies(site: Site, client: Client, coding: str) -> None:
    bare = zlib.compressobj(wbits=-15)
    packed = {
        "gzip": gzip.compress(FEED),
        "deflate": zlib.compress(FEED),
        "bare": bare.compress(FEED) + bare.flush(),
    }
    header = "deflate" if coding == "bare" else coding
    site.pages["/f"] = answer(200, packed[coding], content_encoding=header)
    assert len(fetch(site.spec("/f"), None, client, NOW).articles) == 2
    site.pages["/f"] = answer(200, packed[coding][:-10], content_encoding=header)
    assert "cut off" in fetch(site.spec("/f"), None, client, NOW).message
    site.pages["/f"] = answer(200, b"\x78\x9cgarbage", content_encoding=header)
    assert "damaged" in fetch(site.spec("/f"), None, client, NOW).message


def test_a_gzip_bomb_stops_at_the_limit(site: Site) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    site.pages["/f"] = answer(200, bomb, content_encoding="gzip")
    got = fetch(site.spec("/f"), None, Client(timeout_s=5, max_bytes=100_000), NOW)
    assert got.status == "error" and "unpacks to more than" in got.message


def test_a_plain_body_over_the_limit_and_an_encoding_nobody_asked_for(site: Site) -> None:
    small = Client(timeout_s=5, max_bytes=100)
    site.pages["/f"] = answer(200, b"x" * 101)
    with pytest.raises(TooLarge):
        small.get(site.url + "/f", private_host="127.0.0.1")
    site.pages["/f"] = answer(200, b"x", content_encoding="br")
    with pytest.raises(SourceError, match="br"):
        small.get(site.url + "/f", private_host="127.0.0.1")


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_server_that_drips_is_cut_off(site: Site, part: str) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(
            b"HTTP/1.1 200 OK\r\n" + (b"Content-Length: 99999\r\n\r\n" if part == "body" else b"X: ")
        )
        while not site.stop.wait(0.05):
            try:
                handler.wfile.write(b"x")
            except OSError:
                return

    site.pages["/f"] = drip
    started = time.monotonic()
    got = fetch(site.spec("/f"), None, Client(timeout_s=0.4), NOW)
    assert got.status == "error" and "no complete answer within 0.4 s" in got.message
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]:{port}/secret",
        "http://[::ffff:127.0.0.1]:{port}/secret",
        "http://0x7f.1:{port}/secret",
        "http://2130706433:{port}/secret",
        "http://0:{port}/secret",
        "http://localhost:{port}/secret",  # not the host that the opt-in names
        "http://10.0.0.1/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "gopher://127.0.0.1:{port}/_x",
    ],
)
def test_redirects_cannot_reach_inside(site: Site, client: Client, target: str) -> None:
    port = site.url.rpartition(":")[2]
    site.pages["/f"] = answer(302, location=target.replace("{port}", port))
    site.pages["/secret"] = answer(200, FEED)
    got = fetch(site.spec("/f"), None, client, NOW)
    assert got.status == "error" and got.articles == ()
    assert [seen[":path"] for seen in site.seen] == ["/f"]


def test_loopback_needs_the_opt_in(site: Site, client: Client) -> None:
    site.pages["/f"] = answer(200, FEED)
    got = fetch(site.spec("/f", allow_private=False), None, client, NOW)
    assert (
        got.status == "error"
        and "loopback" in got.message
        and "allow_private" in got.message
        and not site.seen
    )


def test_a_name_is_resolved_once_and_that_address_is_dialled(site: Site) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    port = site.url.rpartition(":")[2]
    site.pages["/f"] = answer(200, FEED)
    spec = SourceSpec("local", f"http://feeds.test:{port}/f", allow_private=True)
    assert fetch(spec, None, Client(resolve=resolve), NOW).status == "ok"
    assert asked == ["feeds.test"] and site.seen[0]["host"] == f"feeds.test:{port}"


def test_a_name_that_points_inside_is_refused(site: Site) -> None:
    port = site.url.rpartition(":")[2]
    client = Client(resolve=lambda host, port: ["8.8.8.8", "127.0.0.1"])
    got = fetch(SourceSpec("x", f"http://rebind.test:{port}/f"), None, client, NOW)
    assert got.status == "error" and "resolves to 127.0.0.1" in got.message and not site.seen


def test_the_next_address_is_tried_when_the_first_is_dead(site: Site) -> None:
    port = site.url.rpartition(":")[2]
    site.pages["/f"] = answer(200, FEED)
    client = Client(timeout_s=3, resolve=lambda host, port: ["127.77.77.77", "127.0.0.1"])
    spec = SourceSpec("x", f"http://two.test:{port}/f", allow_private=True)
    assert fetch(spec, None, client, NOW).status == "ok"


def test_a_resolver_that_hangs_is_cut_off() -> None:
    stop = threading.Event()

    def hang(host: str, port: int) -> list[str]:
        stop.wait(5)
        return []

    started = time.monotonic()
    got = fetch(SourceSpec("x", "http://slow.test/"), None, Client(timeout_s=0.2, resolve=hang), NOW)
    stop.set()
    assert got.status == "error" and "within 0.2 s" in got.message and time.monotonic() - started < 2


def test_names_that_do_not_resolve_and_ports_that_do_not_listen() -> None:
    def nothing(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    got = fetch(SourceSpec("x", "http://nowhere.test/"), None, Client(resolve=nothing), NOW)
    assert "nowhere.test" in got.message and "does not resolve" in got.message
    got = fetch(SourceSpec("x", "http://127.0.0.1:1/", allow_private=True), None, Client(timeout_s=2), NOW)
    assert got.status == "error" and "refused" in got.message


@pytest.mark.parametrize(
    "url",
    ["http://", "http://[::1", "http://a b/", "http://exa\x00mple/", "http://ex\nample/", "https://\ud800/"],
)
def test_urls_that_are_none_are_values_too(client: Client, url: str) -> None:
    assert fetch(SourceSpec("x", url), None, client, NOW).status == "error"


def test_the_environment_proxy_is_ignored(
    site: Site, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    site.pages["/f"] = answer(200, FEED)
    assert fetch(site.spec("/f"), None, client, NOW).status == "ok"


def test_messages_hold_no_login_and_no_control_characters(site: Site, client: Client) -> None:
    assert shown("https://user:secret@host.example/\x1b[2J?a=1") == "https://host.example/\\x1b[2J?a=1"
    site.pages["/f"] = answer(302, location="ftp://user:secret@\u202e/\x1b]0;x")
    got = fetch(site.spec("/f"), None, client, NOW)
    assert "secret" not in got.message and got.message.isprintable() and got.message.isascii()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_tls_is_verified_for_the_name_and_downgrades_are_refused(tmp_path: Path) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    command += " -subj /CN=good.test -addext subjectAltName=DNS:good.test -keyout"
    subprocess.run([*command.split(), str(key), "-out", str(cert)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    names: list[str | None] = []
    context.sni_callback = lambda sock, name, ctx: names.append(name)
    listener = socket.create_server(("127.0.0.1", 0))
    replies = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"",
        b"HTTP/1.1 301 X\r\nLocation: http://good.test/\r\n\r\n",
    ]

    def serve() -> None:
        for reply in replies:
            raw, _ = listener.accept()
            with raw:
                try:
                    with context.wrap_socket(raw, server_side=True) as tls:
                        tls.recv(4096)
                        tls.sendall(reply)
                except (ssl.SSLError, OSError):
                    continue

    thread = threading.Thread(target=serve)
    thread.start()
    port = listener.getsockname()[1]
    client = Client(
        timeout_s=5,
        resolve=lambda h, p: ["127.0.0.1"],
        ssl_context=ssl.create_default_context(cafile=str(cert)),
    )
    assert client.get(f"https://good.test:{port}/", private_host="good.test").body == b"ok"
    with pytest.raises(SourceError, match=r"[Hh]ostname mismatch|not valid for"):
        client.get(f"https://evil.test:{port}/", private_host="evil.test")
    with pytest.raises(FetchRefused, match="unencrypted"):
        client.get(f"https://good.test:{port}/", private_host="good.test")
    thread.join()
    listener.close()
    assert names == ["good.test", "evil.test", "good.test"]


def test_a_new_state_is_due_and_keeps_its_time(site: Site) -> None:
    spec = site.spec("/f")
    assert is_due(spec, None, NOW) and is_due(spec, new_state(spec), NOW)
    later = FeedState("local", spec.url, next_poll_at=NOW + timedelta(seconds=1), origin=spec.url)
    assert not is_due(spec, later, NOW) and is_due(spec, later, NOW + timedelta(seconds=1))


def test_a_clock_that_was_set_back_does_not_keep_a_source_waiting_for_years(site: Site) -> None:
    spec = site.spec("/f")
    year = NOW + timedelta(days=365)
    polled = FeedState(
        "local", spec.url, polled_at=year, next_poll_at=year + timedelta(hours=1), origin=spec.url
    )
    assert not is_due(spec, polled, year)
    assert is_due(spec, polled, NOW)
    assert not is_due(spec, replace(polled, gone=True), NOW)
    assert not is_due(spec, polled, year - timedelta(minutes=1))  # a correction of the clock is no such leap


def test_a_state_of_an_older_version_is_kept_where_its_url_is_still_the_settings() -> None:
    spec = SourceSpec("local", "https://a.example/")
    same = FeedState("local", spec.url, etag='"x"', gone=True)
    assert state_for(spec, same) == replace(same, origin=spec.url)
    assert state_for(spec, replace(same, url="https://b.example/")) == new_state(spec)
