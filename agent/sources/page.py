"""The page behind an article, fetched once more: its text, that it is gone, or that nobody can tell."""

from __future__ import annotations

from urllib.parse import urlsplit

from agent.errors import SourceError
from agent.sources.base import SourceSpec
from agent.sources.decode import decode
from agent.sources.http import Client, shown
from agent.sources.text import clean_text
from agent.types import Page

_GONE = (404, 410)
_MAX_CHARS = 200_000
_TEXT = ("text/", "application/xhtml", "application/xml")


def fetch_page(url: str, source: SourceSpec, client: Client) -> Page:
    """GET `url` under the guard. Never raises: trouble of any kind is a page that could not be read.

    `source`: where the article came from; a host of its own that may be private may be so here as well.
    """
    try:
        answer = client.get(url, private_host=private_host(source, url))
        if answer.status in _GONE:
            return Page("gone", message=f"{shown(url)} is gone (HTTP {answer.status})")
        if answer.status != 200:
            return Page("unread", message=f"{shown(url)} answers HTTP {answer.status}")
        kind = answer.headers.get("content-type", "text/html").strip().lower()
        if not kind.startswith(_TEXT):
            return Page("unread", message=f"{shown(url)} is no text but {ascii(kind)[1:40]}")
        return Page("read", clean_text(decode(answer.body, kind)[: 10 * _MAX_CHARS])[:_MAX_CHARS])
    except SourceError as problem:
        return Page("unread", message=str(problem))


def is_web(source: SourceSpec) -> bool:
    return source.url.lower().startswith(("http://", "https://"))


def private_host(source: SourceSpec, url: str) -> str:
    """The host of `url` where it may lie in the local network: the source's own, on the source's own port."""
    if not source.allow_private:
        return ""
    try:
        here, there = urlsplit(source.url), urlsplit(url)
        return here.hostname or "" if here.netloc == there.netloc else ""
    except ValueError:
        return ""
