"""Files and folders as sources."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from agent.sources.base import Fetched, SourceSpec
from agent.sources.fetch import fetch
from agent.sources.files import FileSource
from agent.sources.http import Client
from agent.types import FeedState
from tests.sources.conftest import NOW, item, rss


def get(url: str, client: Client, state: FeedState | None = None) -> Fetched:
    return fetch(SourceSpec("disk", url), state, client, NOW)


def test_a_file_by_path_and_by_url(tmp_path: Path, client: Client) -> None:
    file = tmp_path / "my feed.xml"
    file.write_bytes(rss(item(1), item(2)))
    by_path, by_url = get(str(file), client), get(file.as_uri(), client)
    assert by_path.status == "ok" and by_path.articles == by_url.articles and len(by_path.articles) == 2
    assert by_path.message == "2 articles in 1 file"


def test_a_file_is_read_again_when_it_changes(tmp_path: Path, client: Client) -> None:
    file = tmp_path / "a.xml"
    file.write_bytes(rss(item(1)))
    first = get(str(file), client)
    again = get(str(file), client, first.state)
    assert again.status == "not_modified" and again.articles == ()
    file.write_bytes(rss(item(1), item(2)))
    assert len(get(str(file), client, first.state).articles) == 2


def test_a_folder_mixes_formats_and_survives_a_bad_file(tmp_path: Path, client: Client) -> None:
    (tmp_path / "a.xml").write_bytes(rss(item(1)))
    (tmp_path / "b.jsonl").write_text(json.dumps({"title": "From a line"}) + "\nbad\n")
    (tmp_path / "c.json").write_text(
        json.dumps({"version": "https://jsonfeed.org/version/1", "items": [{"title": "J"}]})
    )
    (tmp_path / "d.rss").write_bytes(b"<html></html>")
    (tmp_path / "e.xml").write_bytes(rss(item(1)))
    (tmp_path / "notes.md").write_text("not a feed")
    (tmp_path / "sub.xml").mkdir()
    got = get(str(tmp_path), client)
    assert [a.title for a in got.articles] == ["Story number 1", "From a line", "J"]
    assert got.status == "ok" and got.message == "3 articles in 5 files"
    assert [note[:15] for note in got.notes] == ["b.jsonl: line 2", "d.rss: this is "]


def test_missing_empty_large_and_strange_paths_are_errors(tmp_path: Path, client: Client) -> None:
    os.mkfifo(tmp_path / "pipe.xml")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.xml").write_bytes(b"x")
    for url, reason in [
        (str(tmp_path / "none.xml"), "no file or folder"),
        (str(tmp_path / "pipe.xml"), "no file or folder"),
        (str(tmp_path / "empty"), "no feed file"),
        (str(tmp_path / "bad"), "no XML"),
        ("file://server/share.xml", "three slashes"),
        ("a\x00b", "no file or folder"),
        ("ftp://a.example/feed", "neither"),
    ]:
        got = get(url, client)
        assert got.status == "error" and reason in got.message, got.message
        assert got.state.errors == 1 and got.state.next_poll_at is not None


def test_a_large_file_is_refused_unread(tmp_path: Path, client: Client) -> None:
    file = tmp_path / "large.xml"
    with file.open("wb") as stream:
        stream.truncate(200 * 2**20)
    assert "larger than 15 MB" in get(str(file), client).message


def test_a_source_kind_may_have_limits_of_its_own(tmp_path: Path, client: Client) -> None:
    file = tmp_path / "a.xml"
    file.write_bytes(rss(item(1)))
    got = fetch(SourceSpec("disk", str(file)), None, client, NOW, kinds=(FileSource(max_bytes=10),))
    assert got.status == "error" and "larger" in got.message


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file(tmp_path: Path, client: Client) -> None:
    file = tmp_path / "a.xml"
    file.write_bytes(rss(item(1)))
    file.chmod(0)
    assert "cannot read" in get(str(file), client).message
