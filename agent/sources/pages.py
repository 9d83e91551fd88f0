"""Web pages -> what is in them, by trafilatura (the extra `bodies`) in a process that can be ended.

A parser cannot be stopped from within Python, and markup that holds one for minutes is easily written. So the
reading is done next door, page by page, under a limit of time, size and memory.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlsplit

from agent.errors import SourceError, TooLarge
from agent.sources.decode import decode

MAX_PAGE_BYTES = 5 * 1024 * 1024
TIMEOUT_S = 20.0
MAX_SLOW = 3  # pages of one site that took too long: after so many its others are refused
START_S = 60.0  # a cold disk; importing takes half a second
INSTALL = "pip install 'factd[bodies]'"
NEEDED = ("trafilatura", "protego")  # for `body: true`; a folder of pages needs the first only
_CODE = "from agent.sources.pageworker import main; main()"


class PageReaderMissing(SourceError):
    """trafilatura is not installed, or does not import."""


class _TooSlow(SourceError):
    pass


def missing(*packages: str) -> str:
    """What of the optional `packages` is not installed, and the cure; "" if all are there."""
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    if not absent:
        return ""
    return f"reading web pages needs {' and '.join(absent)}, not installed: {INSTALL}"


@dataclass(frozen=True, slots=True)
class Page:
    """What one page says: markup is gone. Empty strings and None where it does not say. `url` is the address
    that the page gives as its own.
    """

    text: str
    title: str = ""
    url: str = ""
    site: str = ""
    published_at: datetime | None = None


class PageReader:
    """Use it as a context manager. Threads may share it; pages are read one at a time."""

    def __init__(self, timeout_s: float = TIMEOUT_S, max_bytes: int = MAX_PAGE_BYTES) -> None:
        self.timeout_s = timeout_s
        self.max_bytes = max_bytes
        self._slow: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection[Any, Any] | None = None

    def __enter__(self) -> PageReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process. The next page would start another."""
        with self._lock:
            self._end()

    def read(self, body: bytes, *, content_type: str = "", url: str = "", everything: bool = True) -> Page:
        """The page in `body`. `everything`: title, date, site and address too, which takes longer.

        Raises:
            PageReaderMissing: names what to install.
            TooLarge: more than `max_bytes`.
            SourceError: no text in it, or reading it took too long or too much memory.
        """
        if len(body) > self.max_bytes:
            raise TooLarge(f"the page is larger than {self.max_bytes / 2**20:g} MB")
        site = urlsplit(url).netloc
        if self._slow[site] >= MAX_SLOW:
            raise SourceError(f"{MAX_SLOW} pages took longer than {self.timeout_s:g} s; the others are left")
        html = decode(body, content_type if "charset" in content_type.lower() else _head(body))
        asked = {"html": html.encode("utf-8", "replace").decode("utf-8"), "url": url, "all": everything}
        with self._lock:
            try:
                answer = self._ask(json.dumps(asked).encode())
            except _TooSlow:
                self._slow[site] += 1
                raise
        if "error" in answer:
            raise SourceError(f"the page cannot be read: {answer['error']}")
        said = {key: value for key, value in answer.items() if isinstance(value, str)}
        if not said.get("text", "").strip():
            raise SourceError("no article was found in the page")
        return Page(
            said["text"],
            said.get("title", ""),
            said.get("url", ""),
            said.get("site", ""),
            _time(said.get("published", "")),
        )

    def _ask(self, question: bytes) -> dict[str, Any]:
        pipe = self._pipe or self._start()
        try:
            pipe.send_bytes(question)
            return self._answer(pipe, self.timeout_s)
        except (EOFError, OSError) as problem:
            self._end()
            raise SourceError("the page cannot be read: its reader ran out of memory or broke") from problem

    def _answer(self, pipe: Connection[Any, Any], timeout_s: float) -> dict[str, Any]:
        if not pipe.poll(timeout_s):
            self._end()
            raise _TooSlow(f"reading the page took longer than {timeout_s:g} s")
        answer = json.loads(pipe.recv_bytes())
        return answer if isinstance(answer, dict) else {}

    def _start(self) -> Connection[Any, Any]:
        if why := missing("trafilatura"):
            raise PageReaderMissing(why)
        try:
            self._pipe, theirs = Pipe()
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _CODE, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                )
            ready = self._answer(self._pipe, START_S)
        except (EOFError, OSError) as problem:
            self._end()
            raise SourceError(f"the reader of web pages does not start: {problem}") from problem
        if "broken" in ready:
            self._end()
            raise PageReaderMissing(f"trafilatura does not import ({ready['broken']}): {INSTALL}")
        return self._pipe

    def _end(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._pipe = self._process = None


def _time(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


def _head(body: bytes) -> str:
    """The beginning of a page, where `<meta charset=...>` stands."""
    return body[:4096].decode("ascii", "ignore")
