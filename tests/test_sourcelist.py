"""A settings file gets new sources and keeps every other byte: comments, quotes, line ends, rights."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ConfigError
from agent.paths import data_file
from agent.sourcelist import add_to_file, with_sources

NEW = {"name": 'a "b" é #', "url": "https://x.example/?a=1&b=[2]", "allow_private": True}
OLD = "{name: a, url: b}"


def sources(text: str) -> list[object]:
    return yaml.safe_load(text)["sources"] or []


@pytest.mark.parametrize(
    "text",
    [
        "state: here\nsources: []   # none yet\nner: null\n",
        "state: here\nsources:\nner: null # x\n",
        "sources: null",
        "sources: false\n",
        "sources:\n  []\n",
        "sources: [\n  # one day\n]\n",
        "sources: [# c\n]",
        f"sources: [{OLD}]\nner: null\n",
        f"sources: [{OLD}, {OLD},   # a comma too many\n  ]\n",
        f"sources:\n- {OLD}\n# about what follows\nner: null\n",
        f"sources:\n  - {OLD}  # mine\n\n  # about what follows\nner: null\n",
        "sources:\n    - name: a\n      url: b\n      # on this source\n      publisher:\nner: null\n",
        "sources:\n  - name: a\n    url: >\n      folded\n      text\nner: null\n",
        "sources:\n  - name: |\n      kept\n\n\n    url: |-\n      b\n\nner: null\n",
        f"ner: null\nsources:\n  - {OLD}",
        f"ner: null\r\nsources:\r\n  - {OLD}\r\n\r\ndaemon: {{}}\r\n",
        f"\ufeffsources:\n  - {OLD}\n",
        "",
        "# nothing but words\n",
        "state: here",
        "---\nstate: here\n",
        "  state: here\n  ner: null\n",
        "ner: |\n  text\n  sources: []\n",
        f"other: &a\n  - {OLD}\nner: null\n",
        "'sources': []\n",
    ],
)
def test_a_source_is_added_and_nothing_else_changes(text: str) -> None:
    changed = with_sources(text, [NEW, {"name": "n", "url": "u"}])
    before, after = yaml.safe_load(text) or {}, yaml.safe_load(changed)
    assert after == {**before, "sources": [*(before.get("sources") or []), NEW, {"name": "n", "url": "u"}]}
    lines = [line for line in difflib.ndiff(text.splitlines(), changed.splitlines()) if line[0] == "-"]
    gone = "".join(line[2:] for line in lines)
    for comment in ("none yet", "one day", "comma too many", "about what follows", "mine", "on this source"):
        assert (comment in text) == (comment in changed)
    assert len(lines) <= 1, f"only the line of an empty or a flow list is rewritten: {gone}"
    if "\r\n" in text:
        assert "\n" not in changed.replace("\r\n", "")


@pytest.mark.parametrize(
    "text",
    [
        "{state: here, sources: []}\n",
        f"other: &a [{OLD}]\nsources: *a\n",
        f"other: &a {OLD}\nsources:\n  - *a\n",
        "state: here\n...\n",
        "sources: [\n",
        "sources: {name: a}\n",
        "- a list\n",
        "sources: words\n",
    ],
)
def test_what_cannot_be_added_to_is_said_with_the_line_to_add(text: str) -> None:
    with pytest.raises(ConfigError, match=r"by hand under sources:\n  - \{name: "):
        with_sources(text, [NEW])


@given(name=st.text(), url=st.text(), times=st.integers(1, 3))
def test_whatever_the_words_the_file_says_them_or_stays(name: str, url: str, times: int) -> None:
    text = "state: here # and why\nsources: []\nner: null\n"
    try:
        for _ in range(times):
            text = with_sources(text, [{"name": name, "url": url}])
    except ConfigError:
        assert not (name + url).isprintable()
        return
    assert sources(text) == [{"name": name, "url": url}] * times
    assert text.startswith("state: here # and why\n") and text.endswith("\nner: null\n")


def test_the_shipped_file_takes_sources_as_it_is_and_with_some_in_it() -> None:
    text = data_file("factd.yaml").read_text(encoding="utf-8")
    once = with_sources(text, [NEW])
    twice = with_sources(once, [{"name": "n", "url": "u"}])
    assert sources(twice) == [NEW, {"name": "n", "url": "u"}]
    changes = [line for line in difflib.ndiff(text.splitlines(), twice.splitlines()) if line[0] in "+-"]
    assert len(changes) == 4 and [c for c in changes if c[0] == "-"] == ["- sources: []"]


def test_the_file_is_replaced_in_one_step_with_its_rights_and_through_its_link(tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    real.write_bytes(b"sources: []\r\n")
    real.chmod(0o640)
    link = tmp_path / "factd.yaml"
    link.symlink_to(real)
    add_to_file(link, [NEW])
    assert link.is_symlink() and sources(real.read_text(encoding="utf-8")) == [NEW]
    assert real.stat().st_mode & 0o777 == 0o640
    assert sorted(p.name for p in tmp_path.iterdir()) == ["factd.yaml", "real.yaml"]


def test_a_file_that_cannot_be_changed_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "factd.yaml"
    for body in (b"sources: *a\n", "sources: []  # é\n".encode("latin-1")):
        path.write_bytes(body)
        with pytest.raises(ConfigError, match=r"factd\.yaml: "):
            add_to_file(path, [NEW])
        assert path.read_bytes() == body
    with pytest.raises(ConfigError, match="cannot be read"):
        add_to_file(tmp_path / "none.yaml", [NEW])


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    path = tmp_path / "factd.yaml"
    path.write_text("sources: []\n")
    tmp_path.chmod(0o500)
    with pytest.raises(OSError):
        add_to_file(path, [NEW])
    tmp_path.chmod(0o700)
    assert path.read_text() == "sources: []\n"
