"""Saved web pages as articles: what is taken from them, and that none can hold or harm the program."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.errors import SourceError, TooLarge
from agent.sources.base import Fetched, SourceSpec
from agent.sources.fetch import fetch
from agent.sources.http import Client
from agent.sources.pages import MAX_SLOW, PageReader, PageReaderMissing, missing
from tests.sources.conftest import NOW, item, rss

ENDLESS = b"<p>" + b"<span>word</span> " * 250_000  # not read in 20 s

SENTENCES = (
    "The council of Elmford chose Ines Varga as its new mayor on Monday evening.",
    "She follows Tomas Brill, who had led the town for eleven years & did not stand again.",
    "Voters had asked for a market hall, a second bridge and trams that run after midnight.",
    "The first session under the new mayor is to take place on the ninth of March, officials said.",
)


def page(*, head: str = "", title: str = "Elmford has a new mayor", more: str = "") -> str:
    paragraphs = "".join(f"<p>{sentence.replace('&', '&amp;')}</p>" for sentence in SENTENCES * 2)
    return (
        f'<!DOCTYPE html><html lang="en"><head><title>{title}</title>{head}</head><body><nav><a href="/">Home</a>'
        f'<a href="/sport">Sport</a></nav><article><h1>{title}</h1>{paragraphs}{more}</article>'
        "<footer>Cookies, imprint and all rights reserved</footer></body></html>"
    )


HEAD = (
    '<meta charset="utf-8"><link rel="canonical" href="https://www.paper.example/town/mayor?utm_source=x">'
    '<meta property="og:site_name" content="The Paper">'
    '<meta property="article:published_time" content="2026-03-02T21:15:00+02:00">'
)


def get(url: Path, client: Client, **more: str) -> Fetched:
    return fetch(SourceSpec("disk", str(url), **more), None, client, NOW)  # type: ignore[arg-type]


@pytest.fixture
def reader() -> PageReader:
    if why := missing("trafilatura"):
        pytest.skip(why)
    return PageReader()


def test_title_text_time_link_and_publisher(tmp_path: Path, client: Client, reader: PageReader) -> None:
    file = tmp_path / "mayor.html"
    file.write_text(
        page(head=HEAD, more="<p>One dot<b>\u202e\x1b[2J &lt;i&gt; of text</b></p>"), encoding="utf-8"
    )
    got = get(file, client)
    assert got.status == "ok", got.message
    (article,) = got.articles
    assert article.title == "Elmford has a new mayor"
    assert all(sentence in article.text for sentence in SENTENCES)
    assert "Cookies" not in article.text and "Sport" not in article.text
    assert "\x1b" not in article.text and "\u202e" not in article.text
    assert article.url == "https://www.paper.example/town/mayor"
    assert article.publisher == "paper.example"
    assert article.published_at == datetime(2026, 3, 2, 19, 15, tzinfo=UTC)
    assert get(file, client, publisher="mine").articles[0].publisher == "mine"
    again = fetch(SourceSpec("disk", str(file)), got.state, client, NOW)
    assert again.status == "not_modified"


def test_a_page_that_says_nothing_of_itself(tmp_path: Path, client: Client, reader: PageReader) -> None:
    file = tmp_path / "mayor.htm"
    file.write_text(page(), encoding="utf-8")
    written = datetime(2026, 2, 1, 8, 0, tzinfo=UTC)
    os.utime(file, (written.timestamp(), written.timestamp()))
    got = get(file, client)
    assert got.articles[0].published_at == written and got.articles[0].publisher == "disk"
    assert "carries no date" in got.notes[0]


def test_a_page_is_never_newer_than_now(tmp_path: Path, client: Client, reader: PageReader) -> None:
    file = tmp_path / "mayor.html"
    file.write_text(page(head=HEAD.replace("2026", "2031")), encoding="utf-8")
    assert get(file, client).articles[0].published_at <= NOW


def test_a_folder_of_pages_and_feeds(tmp_path: Path, client: Client, reader: PageReader) -> None:
    (tmp_path / "a.xml").write_bytes(rss(item(1)))
    (tmp_path / "b.html").write_text(page(head=HEAD), encoding="utf-8")
    (tmp_path / "c.htm").write_bytes(
        page(title="Caf\u00e9", head='<meta charset="latin-1">').encode("latin-1")
    )
    (tmp_path / "d.html").write_bytes(b"\x00\xff<p>")
    got = get(tmp_path, client)
    assert [a.title for a in got.articles] == ["Story number 1", "Elmford has a new mayor", "Caf\u00e9"]
    assert any(note.startswith("d.html: ") for note in got.notes)


def test_a_page_that_takes_too_long_is_given_up_and_the_next_is_read(reader: PageReader) -> None:
    reader.timeout_s = 4.0
    with reader:
        assert SENTENCES[0] in reader.read(page().encode()).text
        started = time.perf_counter()
        with pytest.raises(SourceError, match="longer than 4 s"):
            reader.read(ENDLESS, url="https://slow.example/")
        assert time.perf_counter() - started < 10
        assert SENTENCES[0] in reader.read(page().encode()).text


def test_a_site_of_slow_pages_is_given_up_and_others_are_not(reader: PageReader) -> None:
    reader.timeout_s = 0.1
    with reader:
        for _ in range(MAX_SLOW):
            with pytest.raises(SourceError, match="longer"):
                reader.read(ENDLESS, url="https://slow.example/a")
        with pytest.raises(SourceError, match="others are left"):
            reader.read(page().encode(), url="https://slow.example/b")
        reader.timeout_s = 20.0
        assert SENTENCES[0] in reader.read(page().encode(), url="https://other.example/").text


@pytest.mark.parametrize(
    "body",
    [b"", b"\x00" * 1000, b"<div>" * 50_000, b"<a " * 100_000, b"&#99999999999;", b"<p \xff\xfe=", b"{}"],
)
def test_pages_without_an_article_are_an_error_in_words(reader: PageReader, body: bytes) -> None:
    with reader, pytest.raises(SourceError):
        reader.read(body)


def test_a_large_page_is_refused_unread() -> None:
    with PageReader(max_bytes=1000) as small, pytest.raises(TooLarge, match="larger than"):
        small.read(b"x" * 1001)


def test_without_trafilatura_the_error_says_what_to_install(
    tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.sources.pages.importlib.util.find_spec", lambda name: None)
    assert "pip install 'factd[bodies]'" in missing("trafilatura")
    with PageReader() as reader, pytest.raises(PageReaderMissing):
        reader.read(page().encode())
    (tmp_path / "a.html").write_text(page())
    (tmp_path / "b.html").write_text(page())
    got = get(tmp_path, client)
    assert got.status == "error" and "pip install 'factd[bodies]'" in got.message


def test_a_closed_reader_leaves_no_process(reader: PageReader) -> None:
    with reader:
        reader.read(page().encode())
        process = reader._process
        assert process is not None and process.poll() is None
    assert process.poll() is not None


def test_a_reader_that_dies_costs_one_page(reader: PageReader) -> None:
    with reader:
        reader.read(page().encode())
        process = reader._process
        assert process is not None
        process.kill()
        process.wait()
        with pytest.raises(SourceError, match="ran out of memory or broke"):
            reader.read(page().encode())
        assert SENTENCES[0] in reader.read(page().encode()).text
