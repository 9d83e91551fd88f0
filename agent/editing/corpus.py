"""What the key statistics are measured on, as token rows: a folder of local texts, texts in memory, or the
model's own words.

All of a text counts: what is longer than a window is cut into several, none is dropped.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from typing import TextIO, TypeVar

from agent.errors import InputError
from agent.lm.generate import sample
from agent.lm.load import LM
from agent.lm.tokens import encode

T = TypeVar("T")
Row = Sequence[int]
_OPENINGS = ("The", "In", "A", "It", "For", "What", "Who", "According to")
_SUFFIXES = (".txt", ".md", ".jsonl")
_WINDOW = 512
# Characters that are tokenised together, about two windows; files that are read by turns.
_PIECE = 4096
_OPEN = 32
_CHUNK_TOKENS = 16384
# Samples of one round: what a 7B model without grouped queries still holds in its key-value cache.
_ROUND = 128


@dataclass(frozen=True, slots=True)
class Rows:
    """Token rows in chunks. `identity` names them without computing them; `chunks(n)` starts at chunk n."""

    identity: str
    chunks: Callable[[int], Iterator[Sequence[Row]]]


def own_samples(lm: LM, count: int, tokens: int, seed: int) -> list[str]:
    """Texts the model writes when given nothing but a first word; deterministic in the seed."""
    openings = [_OPENINGS[i % len(_OPENINGS)] for i in range(count)]
    return sample(lm, openings, max_new_tokens=tokens, seed=seed)


def own_rows(lm: LM, count: int, tokens: int, seed: int, *, chunk: int) -> Rows:
    """`count` samples of `tokens` tokens; with 0 as many as somebody reads, in rounds of about `chunk` tokens
    that each have a seed of their own, so that a later round needs none of the earlier ones.
    """
    needed = math.ceil(1.05 * chunk / tokens)  # read again, a text may be a few tokens shorter
    size = math.ceil(needed / math.ceil(needed / _ROUND))

    def chunks(start: int) -> Iterator[Sequence[Row]]:
        if count:
            yield from islice([list(windows(lm, own_samples(lm, count, tokens, seed)))], start, None)
            return
        number = start
        while True:
            digest = hashlib.sha256(f"round {number} of seed {seed}".encode()).digest()
            texts = own_samples(lm, size, tokens, int.from_bytes(digest[:7], "big"))
            yield list(windows(lm, texts))
            number += 1

    named = {"own": count, "round": 0 if count else size, "tokens": tokens, "seed": seed}
    return Rows(json.dumps(named, sort_keys=True), chunks)


def text_rows(lm: LM, texts: Iterable[str], *, chunk: int, most: int | None = None) -> Rows:
    """The first `most` tokens of the texts (all without it); what follows them is not read.

    Raises InputError when there is no token in them.
    """
    rows: list[Row] = [array("i", row) for row in upto(windows(lm, texts), most)]
    if not rows:
        raise InputError("the texts for the key statistics hold no token; give some text")
    digest = hashlib.sha256()
    for row in rows:
        digest.update(len(row).to_bytes(4, "little") + array("i", row).tobytes())

    def chunks(start: int) -> Iterator[Sequence[Row]]:
        return islice(_chunked(rows, min(chunk, _CHUNK_TOKENS)), start, None)

    return Rows(digest.hexdigest(), chunks)


def folder_texts(folder: Path, seed: int) -> Iterator[str]:
    """Pieces of every *.txt, *.md and *.jsonl (field `text`) below a folder, or of one such file.

    The order of the files is drawn with the seed and they are read by turns, some dozens at a time, so that
    a part is a fair sample of the whole; the same names and contents always give the same pieces. Raises
    InputError where there is no such file, or a file is not UTF-8 or not JSON Lines.
    """
    files = [folder] if folder.is_file() else _files(folder)
    if not files:
        raise InputError(f"{folder}: no {', '.join('*' + s for s in _SUFFIXES)} there; set editing.corpus")
    random.Random(seed).shuffle(files)
    for group in _groups(files, _OPEN):
        yield from _by_turns([_pieces(path) for path in group])


def _files(folder: Path) -> list[Path]:
    found = [path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file()]
    visible = [path for path in found if not path.name.startswith(".")]
    return sorted(visible, key=lambda path: path.relative_to(folder).as_posix())


def _by_turns(sources: list[Iterator[str]]) -> Iterator[str]:
    while sources:
        for source in list(sources):
            piece = next(source, None)
            if piece is None:
                sources.remove(source)
            else:
                yield piece


def _pieces(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig") as stream:
            yield from _records(path, stream) if path.suffix.lower() == ".jsonl" else _lines(path, stream)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check editing.corpus") from error


def _lines(path: Path, stream: TextIO) -> Iterator[str]:
    """A few paragraphs at a time; a line without an end does not fill the memory."""
    held: list[str] = []
    size = 0
    for _, line in _numbered(path, stream, _PIECE):
        held.append(line)
        size += len(line)
        if size >= _PIECE:
            yield "".join(held)
            held, size = [], 0
    if "".join(held).strip():
        yield "".join(held)


def _records(path: Path, stream: TextIO) -> Iterator[str]:
    for number, line in _numbered(path, stream, -1):
        if not line.strip():
            continue
        try:
            text = json.loads(line)["text"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: no JSON object with a field 'text'") from error
        if not isinstance(text, str):
            raise InputError(f"{path}, line {number}: 'text' is a {type(text).__name__}, not a string")
        if text.strip():
            yield text


def _numbered(path: Path, stream: TextIO, limit: int) -> Iterator[tuple[int, str]]:
    number = 1
    while True:
        try:
            line = stream.readline(limit)
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            raise InputError(
                f"{path}: not UTF-8 text: byte 0x{byte:02x} at or after line {number}; convert the file, "
                "or take it out of the corpus"
            ) from error
        if not line:
            return
        yield number, line
        number += line.endswith("\n")


def windows(lm: LM, texts: Iterable[str]) -> Iterator[list[int]]:
    """Token rows of the texts, none longer than a window or the model's context.

    A long text is cut evenly, and every part starts with the special tokens that a text starts with.
    """
    most = min(_WINDOW, _context(lm))
    start = encode(lm, [""])[0]
    for group in _groups(texts, 64):
        for row in encode(lm, group):
            if len(row) <= most:
                yield from [row] if row else []
                continue
            shared = takewhile(lambda pair: pair[0] == pair[1], zip(start, row, strict=False))
            head = [token for token, _ in shared]
            body = row[len(head) :]
            parts = math.ceil(len(body) / (most - len(head)))
            size = math.ceil(len(body) / parts)
            yield from (head + body[at : at + size] for at in range(0, len(body), size))


def _context(lm: LM) -> int:
    names = ("max_position_embeddings", "n_positions", "seq_length")
    found = [getattr(lm.model.config, name, None) for name in names]
    return min((n for n in found if isinstance(n, int) and n > 0), default=_WINDOW)


def upto(rows: Iterable[Row], most: int | None) -> Iterator[Row]:
    """The rows' first `most` tokens in all."""
    left = math.inf if most is None else most
    for row in rows:
        if left <= 0:
            return
        yield row if len(row) <= left else row[: int(left)]
        left -= len(row)


def _chunked(rows: Sequence[Row], tokens: int) -> Iterator[Sequence[Row]]:
    """Runs of rows with at least so many tokens each, but for the last."""
    start = count = 0
    for index, row in enumerate(rows):
        count += len(row)
        if count >= tokens:
            yield rows[start : index + 1]
            start, count = index + 1, 0
    if start < len(rows):
        yield rows[start:]


def _groups(items: Iterable[T], size: int) -> Iterator[list[T]]:
    left = iter(items)
    while group := list(islice(left, size)):
        yield group
