"""What the documents tell a newcomer to type is there: links, commands, options and examples."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent.editfiles import read_edits
from agent.relations import load_relations

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
_BLOCK = re.compile(r"(?ms)^```(\w*)\n(.*?)^```")


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in _BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not missing


def test_the_readmes_commands_and_options_exist() -> None:
    manual = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"(?ms)^## (factd[^\n]*)\n(.*?)(?=^## |\Z)", manual))
    lines = [line for text in blocks(ROOT / "README.md", "") for line in text.splitlines()]
    typed = [part.split() for line in lines for part in line.split(" && ") if part.startswith("factd ")]
    assert len(typed) >= 10
    for words in typed:
        words = words[:1] + words[3:] if words[1] == "--config" else words
        name = " ".join(words[:3]) if " ".join(words[:3]) in sections else " ".join(words[:2])
        assert name in sections, name
        for option in (word for word in words if word.startswith("--")):
            assert option in sections[name], f"{name} {option}"


def test_the_readmes_edit_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "edits.json"
    path.write_text(blocks(ROOT / "README.md", "json")[0], encoding="utf-8")
    assert [(e.subject, len(e.rephrase), len(e.locality)) for e in read_edits(path)] == [("Amazon", 1, 1)]


def test_the_example_relation_loads(tmp_path: Path) -> None:
    path = tmp_path / "relations.yaml"
    path.write_text(blocks(ROOT / "docs/architecture.md", "yaml")[0], encoding="utf-8")
    assert list(load_relations(path)) == ["health_minister"]
