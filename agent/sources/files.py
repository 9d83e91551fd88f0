"""Sources on disk: a feed, a JSONL file or a saved web page, or a folder of them, put there by hand or by
another tool.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from agent.errors import SourceError, TooLarge
from agent.sources.base import Fetched, SourceSpec
from agent.sources.body import parse_body
from agent.sources.http import Client
from agent.sources.items import Context, Parsed, distinct, page_item, to_articles
from agent.sources.pace import DEFAULT_PACING, Pacing
from agent.sources.pages import PageReader
from agent.sources.unpack import MAX_BYTES
from agent.strict import at_home
from agent.types import Article, FeedState

PAGES = frozenset((".html", ".htm"))
SUFFIXES = frozenset((".xml", ".rss", ".atom", ".json", ".jsonl", ".ndjson")) | PAGES
MAX_FILES = 1000
_MAX_NOTES = 50


@dataclass(frozen=True, slots=True)
class FileSource:
    """file:// URLs and plain paths."""

    pacing: Pacing = DEFAULT_PACING
    max_bytes: int = MAX_BYTES

    def accepts(self, spec: SourceSpec) -> bool:
        return "://" not in spec.url or spec.url.lower().startswith("file://")

    def fetch(self, spec: SourceSpec, state: FeedState, client: Client, now: datetime) -> Fetched:
        """Read what is there. The names, sizes and times of the files stand in for an ETag.

        Raises SourceError if the path is missing or unreadable, or if no file in it could be read.
        """
        path = to_path(spec.url)
        files = _files(path)
        signature = _signature(files)
        after = replace(
            state,
            etag=signature,
            errors=0,
            last_error="",
            gone=False,
            polled_at=now,
            next_poll_at=now + timedelta(seconds=self.pacing.fastest_s),
        )
        if signature == state.etag:
            return Fetched(spec.name, "not_modified", (), after, "no file has changed since the last poll")
        with PageReader() as reader:
            kept, notes = self._read_all(path, files, Context(spec, now), reader)
        message = f"{len(kept)} article{'s' * (len(kept) != 1)} in {len(files)} file{'s' * (len(files) != 1)}"
        return Fetched(spec.name, "ok", kept, after, message, notes)

    def _read_all(
        self, path: Path, files: list[Path], context: Context, reader: PageReader
    ) -> tuple[tuple[Article, ...], tuple[str, ...]]:
        articles: list[Article] = []
        notes: list[str] = []
        bad = 0
        for file in files:
            try:
                parsed = _parse(file, _read(file, self.max_bytes), context, reader)
            except SourceError as problem:
                if len(files) == 1:
                    raise SourceError(f"{file}: {problem}") from problem
                bad += 1
                notes.append(f"{file.name}: {problem}")
                continue
            articles.extend(parsed.articles)
            notes.extend(f"{file.name}: {note}" for note in parsed.notes)
        if files and bad == len(files):
            raise SourceError(f"none of the {bad} files in {path} could be read; the first: {notes[0]}")
        if len(notes) > _MAX_NOTES:
            notes[_MAX_NOTES:] = [f"{len(notes) - _MAX_NOTES} more remarks of this sort"]
        return distinct(articles), tuple(notes)


def _parse(file: Path, body: bytes, context: Context, reader: PageReader) -> Parsed:
    """A page without a date of its own counts as published when its file was written: not later than now."""
    if file.suffix.lower() not in PAGES:
        return parse_body(body, context, name=file.name, base_url="")
    page = reader.read(body)
    item = page_item(page)
    notes: tuple[str, ...] = ()
    if item.published_at is None:
        item = replace(item, published_at=_written_at(file))
        notes = ("the page carries no date; it counts as published when the file was written",)
    articles, more = to_articles([item], context)
    return Parsed(articles, notes=(*notes, *more))


def _written_at(file: Path) -> datetime:
    try:
        return datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except (OSError, ValueError, OverflowError) as problem:
        raise SourceError(f"cannot tell when it was written: {problem}") from problem


def to_path(url: str) -> Path:
    """The path that a file:// URL or a plain path means. Raises SourceError for a URL that is none, or has a foreign host."""
    if not url.lower().startswith("file://"):
        return at_home(url, SourceError)
    try:
        parts = urlsplit(url)
    except ValueError as problem:
        raise SourceError(f"{url[:200]!a} is no file URL ({problem}); write file:///path") from problem
    if parts.netloc not in ("", "localhost"):
        raise SourceError(f"{url!a} names the host {parts.netloc!a}; write file:///path with three slashes")
    return Path(unquote(parts.path))


def _files(path: Path) -> list[Path]:
    try:
        if path.is_dir():
            found = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
        elif path.is_file():
            return [path]
        else:
            raise SourceError(f"there is no file or folder {path}; check the source's url")
    except (OSError, ValueError) as problem:
        raise SourceError(f"cannot read {path}: {problem}") from problem
    if len(found) > MAX_FILES:
        raise TooLarge(f"the folder {path} holds more than {MAX_FILES} files; split it")
    if not found:
        raise SourceError(f"the folder {path} holds no feed file and no page ({', '.join(sorted(SUFFIXES))})")
    return found


def _signature(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        try:
            stat = file.stat()
        except OSError as problem:
            raise SourceError(f"cannot read {file}: {problem}") from problem
        digest.update(
            f"{file.name}\x00{stat.st_size}\x00{stat.st_mtime_ns}\x00".encode("utf-8", "surrogateescape")
        )
    return digest.hexdigest()


def _read(file: Path, max_bytes: int) -> bytes:
    try:
        with file.open("rb") as stream:
            body = stream.read(max_bytes + 1)
    except OSError as problem:
        raise SourceError(f"cannot read it: {problem}") from problem
    if len(body) > max_bytes:
        raise TooLarge(f"it is larger than {max_bytes / 2**20:g} MB; split it")
    return body
