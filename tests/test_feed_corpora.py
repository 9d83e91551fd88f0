"""The benchmark over other people's feeds counts what it says it counts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.feed_corpora import Hands, claims, main, read, summary
from tests.sources.conftest import item, rss

EXPECTING = b"""<!--
Description: an entry
Expect:      not bozo and entries[0]['title'] == 'Story number 1' and entries[0]['summary'] == 'Another text'
-->
"""


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    folder = tmp_path / "some" / "deep"
    folder.mkdir(parents=True)
    (folder / "good.xml").write_bytes(EXPECTING + rss(item(1), item(2))[38:])
    (folder / "cut.xml").write_bytes(rss(item(1), item(2))[:-60])
    (folder / "page.html").write_bytes(b"<html><body>no feed</body></html>")
    (folder / "feed.json").write_text(json.dumps({"version": "https://jsonfeed.org/version/1", "items": []}))
    return tmp_path


def test_a_corpus_is_counted(
    corpora: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = corpora / "out.json"
    monkeypatch.setattr(sys, "argv", ["x", "--data", str(corpora), "--json", str(out), "--memory", "4096"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    some = json.loads(out.read_text())["corpora"]["some"]
    assert (some["files"], some["parsed"], some["articles"]) == (4, 3, 3)
    assert some["refused"] == {"SourceError": 1} and some["other"] == some["hangs"] == some["killed"] == 0
    assert some["expected"] == {"title agree": 1, "summary differ": 1}
    assert some["peer"]["entries"] == 4 and some["peer"]["have"] == some["peer"]["title"] == 3
    assert "| some | 4 | 3 |" in capsys.readouterr().out


def test_what_takes_too_long_is_counted_and_the_next_is_read(corpora: Path) -> None:
    hands = Hands(0.0, 4096, peer=False)
    late = hands.read(corpora / "some" / "deep" / "good.xml")
    hands.seconds = 60.0
    good = hands.read(corpora / "some" / "deep" / "good.xml")
    hands.stop()
    assert (late.how, good.how) == ("hang", "parsed")
    assert summary([late, good])["hangs"] == 1


def test_an_error_that_is_not_ours_is_seen(corpora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr("benchmarks.feed_corpora.parse_body", fail)
    outcome = read(corpora / "some" / "deep" / "good.xml", peer=False)
    assert outcome.how == "other KeyError" and summary([outcome])["other"] == 1


def test_what_a_test_file_expects_is_understood() -> None:
    found = list(
        claims(
            "not bozo and entries[1]['link'] == 'http://x/' and entries[0]['updated_parsed'] == (2004, 1, 1)"
        )
    )
    assert found == [(1, "link", "http://x/"), (0, "updated_parsed", (2004, 1, 1))]
    assert list(claims("feed['title'] == 'x' and entries[0]['tags'][0]['term'] == 'y' and (")) == []
