"""The process in which a web page becomes text: trafilatura over lxml, on markup that somebody else wrote.

It runs apart (`agent.sources.pages` starts it and ends it when a page takes too long) with a bound on its
memory, fetches nothing, and speaks JSON over a pipe: a page costs at worst its own process.
"""

from __future__ import annotations

import json
import logging
import re
import resource
import sys
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from typing import Any

MEMORY_BYTES = 1 << 30
_AT = r"({day})[T ](\d\d:\d\d)(?::(\d\d))?(?:[.,]\d{{1,9}})?\s?(Z|[+-]\d\d:?\d\d)?"
_SAID = (
    r"(?:published_time|datePublished|pubdate|DC\.date\.issued)[^<>{{}}]{{0,120}}?" + _AT,
    r"<time\b[^<>]{{0,300}}?datetime\s*=\s*[\"']" + _AT,
)


def main() -> None:
    """Answer pages on the pipe whose number is the first argument, until it closes."""
    pipe = Connection(int(sys.argv[1]))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    logging.disable(logging.CRITICAL)
    try:
        from trafilatura import bare_extraction
    except Exception as problem:
        pipe.send_bytes(json.dumps({"broken": f"{type(problem).__name__}: {str(problem)[:300]}"}).encode())
        return
    pipe.send_bytes(b"{}")
    while True:
        try:
            asked = json.loads(pipe.recv_bytes())
        except EOFError:
            return
        try:
            answer = _read(bare_extraction, asked["html"], asked["url"], asked["all"])
        except (Exception, RecursionError, MemoryError) as problem:  # whatever its parts raise
            answer = {"error": f"{type(problem).__name__}: {str(problem)[:160]}"}
        pipe.send_bytes(json.dumps(answer).encode())


def _read(extract: Any, html: str, url: str, everything: bool) -> dict[str, str]:
    """`everything`: also what the page says of itself, besides its text."""
    found = extract(
        html,
        url=url or None,
        favor_precision=True,
        include_comments=False,
        include_tables=True,
        with_metadata=everything,
    )
    if found is None:
        return {"text": ""}
    said = {"text": found.text}
    if everything:
        said |= {"title": found.title, "url": found.url, "site": found.sitename}
        said["published"] = _published(html, found.date or "")
    return {key: value for key, value in said.items() if isinstance(value, str)}


def _published(html: str, day: str) -> str:
    """trafilatura knows the day; the hour is what the page's own markup says beside that very day."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", day):
        return ""
    for pattern in _SAID:
        said = re.search(pattern.format(day=day), html[:500_000], re.IGNORECASE)
        if said is not None:
            zone = (said[4] or "Z").replace("Z", "+00:00").replace("z", "+00:00")
            try:
                at = datetime.fromisoformat(f"{said[1]}T{said[2]}:{said[3] or '00'}{zone}")
                return at.astimezone(UTC).isoformat()
            except (ValueError, OverflowError):
                continue
    return f"{day}T00:00:00+00:00"
