"""The text of the page behind an item, for sources that say `body: true` and feeds that carry two lines.

The item is stored as the feed gave it before any of this begins, and stays so whenever a page cannot be had.
A page's url is somebody else's word: it goes through the same guarded client as a feed, asks the site's
robots.txt, and one site gets one request at a time with a pause between.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from agent.errors import SourceError
from agent.sources.base import SourceSpec
from agent.sources.http import Client
from agent.sources.items import with_body
from agent.sources.page import private_host
from agent.sources.pages import MAX_PAGE_BYTES, PageReader, PageReaderMissing
from agent.sources.robots import robots_of
from agent.sources.text import registered_domain, words
from agent.types import Article

SHORT_WORDS = 100  # an item with as many carries its story; a teaser has 20 to 40
LEAST_WORDS = 60  # a page that gives fewer is a wall, a picture or a video
MAX_PAGES = 30  # of one source in one poll
PAUSE_S = 1.0
BUDGET_S = 180.0  # for all pages of one site in one poll
ACCEPT = "text/html, application/xhtml+xml"


@dataclass(frozen=True, slots=True)
class Job:
    """One item whose page is wanted."""

    spec: SourceSpec
    article: Article


@dataclass(frozen=True, slots=True)
class Body:
    """What became of a job: `article` with its page's text, or None and in `note` why not."""

    job: Job
    article: Article | None
    note: str = ""


def jobs_for(spec: SourceSpec, articles: Iterable[Article]) -> tuple[Job, ...]:
    """The items of one poll whose pages to read: short ones with a link, the newest first, MAX_PAGES at
    most. Pure.
    """
    if not spec.body:
        return ()
    short = [a for a in articles if a.url and len(words(a.text)) < SHORT_WORDS]
    short.sort(key=lambda a: (a.published_at, a.id), reverse=True)
    return tuple(Job(spec, article) for article in short[:MAX_PAGES])


def page_client() -> Client:
    """The guarded client with the limits of pages."""
    return Client(max_bytes=MAX_PAGE_BYTES)


def read_bodies(
    jobs: Sequence[Job],
    client: Client,
    *,
    clock: Callable[[], datetime],
    max_concurrency: int = 8,
    pause_s: float = PAUSE_S,
) -> Iterator[Body]:
    """Read the pages of `jobs`, some sites at a time and each site's one by one. Never raises SourceError.

    `pause_s` is the least pause between two requests to one site. Abandoning the iterator starts no further
    request.
    """
    sites: dict[str, list[Job]] = {}
    for job in jobs:
        sites.setdefault(urlsplit(job.article.url).netloc, []).append(job)
    if not sites:
        return
    stop = threading.Event()
    with (
        PageReader() as reader,
        ThreadPoolExecutor(max_workers=max_concurrency, thread_name_prefix="bodies") as pool,
    ):
        visits = (_Visit(client, reader, clock, pause_s, own, stop) for own in sites.values())
        try:
            for found in pool.map(lambda visit: list(visit.run()), visits):
                yield from found
        finally:
            stop.set()


@dataclass(frozen=True, slots=True)
class _Visit:
    """The pages of one site, one after the other."""

    client: Client
    reader: PageReader
    clock: Callable[[], datetime]
    pause_s: float
    jobs: Sequence[Job]
    stop: threading.Event

    def run(self) -> Iterator[Body]:
        ends_s = time.monotonic() + BUDGET_S
        hosts = (private_host(job.spec, job.article.url) for job in self.jobs)
        try:
            robots = robots_of(self.jobs[0].article.url, self.client, next(filter(None, hosts), ""))
        except PageReaderMissing as problem:
            yield from (Body(job, None, str(problem)) for job in self.jobs)
            return
        pause_s = max(self.pause_s, robots.pause_s())
        for job in self.jobs:
            why = robots.refusal(job.article.url)
            if not why and time.monotonic() + pause_s > ends_s:
                why = f"its site's {BUDGET_S:g} s of this poll are used up"
            if why:
                yield Body(job, None, why)
                continue
            if self.stop.wait(pause_s):
                return
            yield self._one(job)

    def _one(self, job: Job) -> Body:
        article = job.article
        try:
            text = self._text(job)
        except SourceError as problem:
            return Body(job, None, str(problem))
        later = max(self.clock(), article.fetched_at + timedelta(microseconds=1))
        filled = with_body(article, text, later)
        found = len(words(filled.text))
        if found < LEAST_WORDS or found <= len(words(article.text)):
            return Body(job, None, f"the page has no more to say than the feed ({found} words)")
        return Body(job, filled)

    def _text(self, job: Job) -> str:
        url = job.article.url
        answer = self.client.get(url, {"Accept": ACCEPT}, private_host=private_host(job.spec, url))
        kind = answer.headers.get("content-type", "text/html")
        if answer.status != 200:
            raise SourceError(f"the page answers HTTP {answer.status}")
        if "html" not in kind.lower():
            raise SourceError(f"the link leads to no page ({kind[:60]!a})")
        here, there = registered_domain(url), registered_domain(answer.url)
        # The item counts as the voice of the site it links to: another site's words must not pass for it.
        if here != there and job.article.publisher == here:
            raise SourceError(f"the page redirects to another site, {there}")
        page = self.reader.read(answer.body, content_type=kind, url=answer.url, everything=False)
        return page.text
