"""What a new source is called, and whether a url is one that is known. Pure; light enough for a keystroke."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from urllib.parse import urlsplit

from agent.errors import SourceError
from agent.sources.text import canonical_url, clean_line, url_key, visible
from agent.strict import at_home
from agent.types import SourceSpec
from agent.wikibase import is_source

MAX_NAME = 60


def name_for(url: str, taken: Collection[str], wanted: str = "") -> str:
    """`wanted`, else the host or the file's name; numbered where a source in `taken` is called so."""
    stem = _printable(clean_line(wanted))[:MAX_NAME].strip() or _stem(url)
    number = 1
    while (name := stem if number == 1 else f"{stem} {number}") in taken:
        number += 1
    return name


def settled(url: str) -> str:
    """`url` as it goes into the settings: stripped, `feed:` undone, a path made absolute.

    Raises:
        SourceError: hidden or control characters, a home that nobody has, an http url without a host, or a scheme with nothing behind.
    """
    url = url.strip()
    if not url:
        raise SourceError("the url is empty")
    if url != visible(url) or "\n" in url:
        raise SourceError(f"{url[:200]!a} holds control or hidden characters; type it anew")
    if url.lower().startswith("feed:"):
        rest = url[len("feed:") :]
        url = f"http:{rest}" if rest.startswith("//") else rest
    if is_source(url):
        return url
    if "://" not in url:
        return str(at_home(url, SourceError).absolute())
    if url.lower().startswith(("http://", "https://")) and not canonical_url(url):
        raise SourceError(f"{url[:200]!a} is no web address; write it as https://example.org/feed.xml")
    return url


def same_source(url: str, specs: Iterable[SourceSpec]) -> SourceSpec | None:
    """The one of `specs` that reads `url` already; http and https, `www.` and a final slash make no
    difference.
    """
    key = _key(url)
    return next((spec for spec in specs if _key(spec.url) == key), None)


def _key(url: str) -> str:
    return url_key(url) or url


def _stem(url: str) -> str:
    if is_source(url):
        return "wikidata"
    try:
        host = (urlsplit(url).hostname or "") if "://" in url else ""
    except ValueError:
        host = ""
    return _printable(host.removeprefix("www.") or Path(url).stem)[:MAX_NAME] or "feed"


def _printable(text: str) -> str:
    return "".join(c for c in text if c.isprintable())
