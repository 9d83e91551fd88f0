"""`factd feeds`: what is listed, added, checked, taken in and out; the settings file keeps all else."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from agent.cli.main import main
from agent.config import load
from agent.sources.base import new_state
from agent.store import articles, feeds
from agent.types import SourceSpec
from tests.cli.conftest import World, write_settings
from tests.sources.conftest import Site, answer, item, rss, site
from tests.store import samples

__all__ = ["site"]


def sources(world: World) -> list[tuple[str, str]]:
    return [(s.name, s.url) for s in load(world.settings, environ={}).sources]


@pytest.fixture
def commented(bare: World) -> World:
    text = bare.settings.read_text().replace("sources:\n  []\n", "sources: []   # none yet\n")
    bare.settings.write_text(f"# mine\n{text}\n# the end\n")
    return bare


def test_list_without_a_state_and_with_one(bare: World, tmp_path: Path) -> None:
    write_settings(bare.folder, model="none", feeds=["https://a.example/f", "https://b.example/f", "/c"])
    assert [s["state"] for s in bare.run("feeds", "list", "--json").json["sources"]] == ["new"] * 3
    now = samples.NOW
    with bare.store() as store:
        a = new_state(SourceSpec("feed 1", "https://a.example/f"))
        b = new_state(SourceSpec("feed 2", "https://b.example/f"))
        feeds.save(store, replace(a, polled_at=now, next_poll_at=now))
        feeds.save(store, replace(b, polled_at=now, errors=3, last_error="away \x1b[2J"))
        articles.add(store, [samples.article(source="feed 1")])
    shown = bare.run("feeds", "list", "--json")
    assert shown.code == 0
    assert [(s["state"], s["errors"], s["articles"]) for s in shown.json["sources"]] == [
        ("ok", 0, 1), ("failing", 3, 0), ("new", 0, 0)
    ]  # fmt: skip
    lines = bare.run("feeds", "list").out.splitlines()
    assert len(lines) == 4 and "away [2J" in lines[2] and "\x1b" not in lines[2]
    with bare.store() as store:
        feeds.save(store, replace(a, url="https://new.example/f", polled_at=now))
        feeds.save(store, replace(b, gone=True, polled_at=now))
    after = bare.run("feeds", "list", "--json").json["sources"]
    assert [s["state"] for s in after] == ["moved", "gone", "new"]
    assert after[0]["moved_to"] == "https://new.example/f"


def test_add_looks_first_and_keeps_every_other_line(commented: World, site: Site) -> None:
    site.pages["/f"] = answer(200, rss(item(1), item(2)))
    before = commented.settings.read_text()
    added = commented.run("feeds", "add", "--allow-private", "--publisher", "p.example", f"{site.url}/f")
    assert added.code == 0 and "2 articles" in added.out, added
    (spec,) = load(commented.settings, environ={}).sources
    assert spec == SourceSpec("127.0.0.1", f"{site.url}/f", "p.example", allow_private=True)
    assert commented.settings.read_text() == before.replace(
        "sources: []   # none yet\n",
        "sources:   # none yet\n"
        f'  - {{name: "127.0.0.1", url: "{site.url}/f", publisher: "p.example", allow_private: true}}\n',
    )
    text = commented.settings.read_text()
    again = commented.run("feeds", "add", "--allow-private", f"{site.url}/f/")
    assert again.code == 0 and "there already" in again.out
    assert commented.settings.read_text() == text


def test_add_refuses_what_it_cannot_read_and_adds_the_rest(commented: World, site: Site) -> None:
    site.pages["/page"] = answer(200, b'<html><link type="application/rss+xml" href="/f"></html>')
    site.pages["/f"] = answer(200, rss(item(1)))
    before = commented.settings.read_text()
    for url, why in [
        (f"{site.url}/none", "HTTP 404"),
        ("https://", "no web address"),
        ("gopher://x.example/", "neither http"),
        ("no/such/file.xml", "no file or folder"),
        ("https://a.example/\u202ex", "hidden"),
    ]:
        refused = commented.run("feeds", "add", "--allow-private", url)
        assert refused.code == 1 and refused.out == ""
        assert why in refused.err and refused.err.startswith("error: ") and len(refused.err.splitlines()) == 1
    assert commented.settings.read_text() == before
    private = commented.run("feeds", "add", f"{site.url}/f")
    assert private.code == 1 and "--allow-private" in private.err
    both = commented.run("feeds", "add", "--allow-private", f"{site.url}/none", f"{site.url}/page")
    assert both.code == 1 and "names the feed" in both.out
    assert sources(commented) == [("127.0.0.1", f"{site.url}/f")]


def test_add_without_looking_names_paths_and_numbers(
    commented: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(commented.folder)
    many = ["https://www.example.org/a", "https://example.org/b", "feed://example.org/c", "news"]
    assert commented.run("feeds", "add", "--no-check", "--body", *many).code == 0
    assert sources(commented) == [
        ("example.org", many[0]), ("example.org 2", many[1]), ("example.org 3", "http://example.org/c"),
        ("news", str(commented.folder / "news")),
    ]  # fmt: skip
    assert all(s.body for s in load(commented.settings, environ={}).sources)
    assert commented.run("feeds", "add", "--no-check", "--name", 'x "y": #z', "https://z.example").code == 0
    assert sources(commented)[-1] == ('x "y": #z', "https://z.example")
    assert commented.run("feeds", "add", "--name", "x", "https://1.example", "https://2.example").code == 2


def test_add_where_it_would_not_count(bare: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTD_SOURCES", "[{name: a, url: b}]")
    refused = bare.run("feeds", "add", "--no-check", "https://a.example/f")
    assert refused.code == 2 and "FACTD_SOURCES" in refused.err
    monkeypatch.delenv("FACTD_SOURCES")
    bare.settings.write_text("other: &a [{name: a, url: b}]\nsources: *a\n".replace("other", "catalogue"))
    assert bare.run("feeds", "add", "--no-check", "https://a.example/f").code == 2
    bare.settings.write_text("{sources: []}\n")
    flow = bare.run("feeds", "add", "--no-check", "https://a.example/f")
    assert flow.code == 2 and "by hand" in flow.err and "https://a.example/f" in flow.err
    empty = tmp_path / "elsewhere"
    empty.mkdir()
    monkeypatch.chdir(empty)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(empty))
    assert main(["feeds", "add", "--no-check", "https://a.example/f"]) == 2
    assert "factd init" in bare.capture.readouterr().err
    (empty / "factd").mkdir()
    users = empty / "factd" / "factd.yaml"
    users.write_text("sources: []\n")
    assert main(["feeds", "add", "--no-check", "https://a.example/f"]) == 0
    assert [s.url for s in load(users, environ={}).sources] == ["https://a.example/f"]
    (empty / "factd.yaml").write_text("state: here\n")
    assert main(["feeds", "add", "--no-check", "https://b.example/f"]) == 2, "it would hide the user's list"
    assert str(users) in bare.capture.readouterr().err


def test_check_reports_and_changes_nothing(bare: World, site: Site) -> None:
    site.pages["/f"] = answer(200, rss(item(1), item(2, description="")))
    site.pages["/old"] = answer(200, rss(item(1, pubDate="Mon, 02 Mar 2020 10:00:00 GMT")))
    rows = "".join(
        f"  - {{name: {name}, url: {site.url}/{name}, allow_private: true}}\n"
        for name in ("f", "old", "none")
    )
    bare.settings.write_text(bare.settings.read_text().replace("sources:\n  []\n", f"sources:\n{rows}"))
    text = bare.settings.read_text()
    found = bare.run("feeds", "check", "--json")
    assert found.code == 1
    f, old, none = found.json["sources"]
    assert (f["name"], f["kind"], f["items"], f["with_text"]) == ("f", "web", 2, 1)
    assert f["publishers"] == ["paper.example"]
    assert (old["status"], none["status"]) == ("warn", "fail")
    assert "2020-03-02" in old["problems"][0]["what"] and none["problems"][0]["advice"]
    assert bare.run("feeds", "check", "old").code == 0
    printed = bare.run("feeds", "check")
    assert printed.code == 1 and "1 of them cannot be read" in printed.err
    assert any(line.startswith("fail  none: ") for line in printed.out.splitlines())
    assert not bare.state.exists() and bare.settings.read_text() == text
    assert bare.run("feeds", "check", "nobody").code == 2


OPML = b"""<?xml version="1.0"?><opml version="2.0"><body><outline text="World">
<outline text="One \x1b[2J&#x202e;" xmlUrl="https://one.example/f"/><outline text="Two" xmlUrl="https://two.example/f?a=1&b=2"/>
<outline text="Two" xmlUrl="https://three.example/f"/><outline text="Again" xmlUrl="http://www.one.example/f/"/>
<outline text="Local" xmlUrl="file:///etc/passwd"/></outline></body></opml>""".replace(b"\x1b", b"")


def test_import_and_export(commented: World) -> None:
    file = commented.folder / "list.opml"
    file.write_bytes(OPML)
    before = commented.settings.read_text()
    dry = commented.run("feeds", "import", file, "--dry-run")
    assert dry.code == 0 and commented.settings.read_text() == before
    assert [line.partition(": ")[0] for line in dry.out.splitlines()] == [
        "would add One [2J", "would add Two", "would add Two 2"
    ]  # fmt: skip
    assert "Again: it is in this list already" in dry.err and "neither http nor https" in dry.err
    assert commented.run("feeds", "import", file).code == 0
    wanted = [
        ("One [2J", "https://one.example/f"), ("Two", "https://two.example/f?a=1&b=2"),
        ("Two 2", "https://three.example/f"),
    ]  # fmt: skip
    assert sources(commented) == wanted
    assert "# mine" in commented.settings.read_text() and "# the end" in commented.settings.read_text()
    assert commented.run("feeds", "import", file).out == ""
    commented.run("feeds", "add", "--no-check", "/a/folder", "https://me:secret@login.example/f")
    exported = commented.run("feeds", "export")
    assert "/a/folder is not on the web" in exported.err and "holds a login" in exported.err
    assert "secret" not in exported.out and "secret@login" in commented.run("feeds", "export", "--logins").out
    write_settings(commented.folder, model="none")
    file.write_text(exported.out)
    assert commented.run("feeds", "import", file).code == 0
    assert sources(commented)[:3] == wanted


@pytest.mark.parametrize(
    "body", [b"", b"<opml><body>", b"<rss/>", b'<!DOCTYPE a [<!ENTITY b "c">]><opml>&b;</opml>', None]
)
def test_a_list_that_cannot_be_read(commented: World, body: bytes | None) -> None:
    file = commented.folder / "list.opml"
    if body is not None:
        file.write_bytes(body)
    before = commented.settings.read_text()
    refused = commented.run("feeds", "import", file)
    assert refused.code == 1 and refused.out == ""
    assert str(file) in refused.err and len(refused.err.splitlines()) == 1
    assert commented.settings.read_text() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_settings_file_that_may_not_be_written(commented: World) -> None:
    commented.folder.chmod(0o500)
    refused = commented.run("feeds", "add", "--no-check", "https://a.example/f")
    commented.folder.chmod(0o700)
    assert refused.code == 1 and refused.out == ""
