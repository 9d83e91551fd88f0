"""Texts for the key statistics: what is read of a folder, in which order, and how it is cut."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest

from agent.editing.corpus import folder_texts, text_rows, upto, windows
from agent.errors import InputError
from agent.lm.load import LM
from agent.lm.tokens import encode
from tests.models import sentences


def read(folder: Path, seed: int = 0) -> list[str]:
    return list(folder_texts(folder, seed))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.txt").write_text("Plain text, é.", encoding="utf-8")
    (tmp_path / "deep" / "b.MD").write_text("\ufeff# Title\n\nWords.\n", encoding="utf-8")
    lines = [json.dumps({"text": "first", "id": 1}), "", json.dumps({"text": " "}), '{"text": "second"}']
    (tmp_path / "c.jsonl").write_text("\n".join(lines))
    (tmp_path / "d.py").write_text("print()")
    (tmp_path / ".hidden.txt").write_bytes(b"\xff")
    (tmp_path / "empty.txt").write_text(" \n")
    return tmp_path


def test_every_text_of_the_folder_once_and_nothing_else(folder: Path) -> None:
    assert sorted(read(folder)) == ["# Title\n\nWords.\n", "Plain text, é.", "first", "second"]
    assert read(folder / "c.jsonl") == ["first", "second"]


def test_the_order_is_that_of_the_seed_alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    copy = tmp_path_factory.mktemp("copy")
    for path in sorted(folder.rglob("*.*"), reverse=True):
        target = copy / path.relative_to(folder)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    assert read(copy) == read(folder)
    assert {tuple(read(folder, seed)) for seed in range(12)} > {tuple(read(folder))}


def test_files_are_read_by_turns_and_a_long_one_in_pieces(tmp_path: Path) -> None:
    """No file comes first as a whole; nothing is lost between pieces, not even in a line without an end."""
    texts = {"a": "".join(f"line {n} of a\n" for n in range(2000)), "b": "b" * 30_000 + "ß" * 20_000}
    for name, text in texts.items():
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    pieces = read(tmp_path)
    assert all(len(piece) <= 8192 for piece in pieces)
    assert [("line" in piece) for piece in pieces[:4]] in ([True, False] * 2, [False, True] * 2)
    assert "".join(piece for piece in pieces if "line" in piece) == texts["a"]
    assert "".join(piece for piece in pieces if "line" not in piece) == texts["b"]


def test_it_is_a_stream(tmp_path: Path) -> None:
    """What is not asked for is not read: a later file may be broken."""
    good, bad = tmp_path / "good.txt", tmp_path / "bad.txt"
    good.write_text("good " * 10_000)
    bad.write_bytes(b"x " * 40_000 + b"\xff")
    texts = folder_texts(tmp_path, 0)
    assert {next(texts)[0], next(texts)[0]} == {"g", "x"}
    with pytest.raises(InputError, match=r"bad\.txt"):
        list(texts)


@pytest.mark.parametrize(("name", "content", "said"), [
    ("a.txt", b"first\nsecond \xe9t\xe9\n", r"a\.txt: not UTF-8 text: byte 0xe9 at or after line 1; convert"),
    ("a.jsonl", b'{"text": "x"}\n{"title": "y"}\n', r"a\.jsonl, line 2: no JSON object with a field 'text'"),
    ("a.jsonl", b'{"text": "x"}\n\n[1\n', r"a\.jsonl, line 3: no JSON object"),
    ("a.jsonl", b'"text"\n', r"a\.jsonl, line 1: no JSON object"),
    ("a.jsonl", b'{"text": 3}\n', r"a\.jsonl, line 1: 'text' is a int, not a string"),
])  # fmt: skip
def test_what_cannot_be_read_is_said_with_file_and_line(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        read(tmp_path)


def test_a_folder_without_texts_is_an_error(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match=r"no \*\.txt, \*\.md, \*\.jsonl there; set editing\.corpus"):
            read(folder)


@pytest.mark.parametrize("bos", [False, True])
def test_long_texts_are_cut_into_windows_and_none_is_dropped(tiny: Callable[..., LM], bos: bool) -> None:
    """The tiny model reads 128 tokens. Every window starts as a text does, and together they are the text."""
    lm = tiny("llama", bos=bos)
    text = " ".join(sentences() * 3)
    ids = encode(lm, [text])[0]
    rows = list(windows(lm, [text, "short", ""]))
    *cut, short = rows[:-1] if bos else rows
    assert len(ids) > 500
    assert all(len(row) <= 128 for row in cut)
    assert min(map(len, cut)) > 100, "evenly: no stump at the end"
    head = 1 if bos else 0
    assert [row[:head] for row in cut] == [ids[:head]] * len(cut)
    assert ids[:head] + list(chain.from_iterable(row[head:] for row in cut)) == ids
    assert short == encode(lm, ["short"])[0]


def test_no_more_than_asked_for_is_read(tiny: Callable[..., LM]) -> None:
    lm = tiny("llama")
    asked = 0

    def texts() -> object:
        nonlocal asked
        while True:
            asked += 1
            yield sentences()[asked % 36]

    rows = text_rows(lm, texts(), chunk=50, most=120)  # type: ignore[arg-type]
    assert sum(len(row) for chunk in rows.chunks(0) for row in chunk) == 120
    assert asked <= 128
    assert [len(row) for row in upto([[1, 2, 3], [4, 5]], 4)] == [3, 1]
    assert list(upto([[1], [2]], None)) == [[1], [2]]


def test_the_identity_is_that_of_the_tokens(tiny: Callable[..., LM]) -> None:
    lm = tiny("llama")
    one = text_rows(lm, ["The capital"], chunk=50).identity
    assert one == text_rows(lm, ["The capital"], chunk=50).identity
    assert one != text_rows(lm, ["The", " capital"], chunk=50).identity
    assert one != text_rows(lm, ["The capitol"], chunk=50).identity
