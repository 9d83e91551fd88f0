"""What a site's robots.txt lets us read, by RFC 9309, with protego (the extra `bodies`).

A feed is put out to be fetched by programs; the page behind an item is not, so there the site's word counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from agent.errors import SourceError
from agent.sources.decode import decode
from agent.sources.http import Client
from agent.sources.pages import PageReaderMissing, missing

AGENT = "factd"
MAX_BYTES = 500 * 1024  # the least that the RFC asks for; what stands behind it does not count


@dataclass(frozen=True, slots=True)
class Robots:
    """The rules of one site. `why` says what forbids every page, "" where nothing does."""

    rules: Any = None
    why: str = ""

    def refusal(self, url: str) -> str:
        """Why the page at `url` is not to be read; "" if it may be."""
        if self.why or self.rules is None or self.rules.can_fetch(url, AGENT):
            return self.why
        return "its robots.txt asks programs not to read it"

    def pause_s(self) -> float:
        """The seconds that the site wants between two requests, 0 if it does not say."""
        asked = None if self.rules is None else self.rules.crawl_delay(AGENT)
        return max(0.0, float(asked or 0))


def robots_of(url: str, client: Client, private_host: str = "") -> Robots:
    """The rules of the site that `url` lies on. No such file (4xx): all is allowed. Unreadable: nothing is.

    Raises:
        PageReaderMissing: protego is not installed.
    """
    if why := missing("protego"):
        raise PageReaderMissing(why)
    from protego import Protego

    parts = urlsplit(url)
    try:
        answer = client.get(f"{parts.scheme}://{parts.netloc}/robots.txt", private_host=private_host)
    except SourceError as problem:
        return Robots(why=f"its robots.txt cannot be read ({problem})")
    if answer.status == 200:
        return Robots(Protego.parse(decode(answer.body[:MAX_BYTES])))
    if 400 <= answer.status < 500 and answer.status != 429:
        return Robots()
    return Robots(why=f"its robots.txt cannot be read (HTTP {answer.status})")
