"""Other people's feeds, good and broken, through the readers of bodies: nothing may raise but our errors.

    python -m benchmarks.feed_corpora --data DIR [--json FILE] [--seconds 10] [--memory 1024] [--no-peer]

Every folder in DIR is a corpus (a checkout of feedparser, gofeed, rome...), every file in it is read as if a feed
had sent it, in a process of its own kind: one that takes too long is killed and counted, one that takes more memory
fails. `other` (anything but a SourceError), `hangs` and `killed` must be 0.

Two comparisons with feedparser. *peer*: what feedparser alone makes of the same bytes, entry by entry: how many of its
entries that have a title or text we have, and how often title, url and time of both are the same. *expected*: what the
headers of feedparser's own test files say about an entry's title, link, summary and time. Nothing of the files is kept.
"""

from __future__ import annotations

import argparse
import ast
import calendar
import io
import json
import multiprocessing
import re
import resource
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import feedparser

from agent.errors import SourceError
from agent.sources.base import SourceSpec
from agent.sources.body import parse_body
from agent.sources.items import Context
from agent.sources.text import canonical_url, clean_line, clean_text, url_key
from agent.types import Article

# Read as of one moment, so that the figures do not depend on the day.
NOW = datetime(2026, 9, 1, tzinfo=UTC)
CONTEXT = Context(SourceSpec("corpus", "https://corpus.example/feed"), NOW)
_MIB = 1 << 20
_EXPECT = re.compile(rb"^\s*Expect:\s*(.+?)\s*$", re.MULTILINE)
_FIELDS = ("title", "link", "summary", "published_parsed", "updated_parsed")


@dataclass(slots=True)
class Outcome:
    """What became of one file. `how` is "parsed", the name of an error of ours, or "other NAME", "hang", "killed"."""

    name: str
    size: int
    how: str
    articles: int = 0
    seconds: float = 0.0
    peak_mib: float = 0.0
    message: str = ""
    peer: dict[str, int] = field(default_factory=dict)
    expected: dict[str, int] = field(default_factory=dict)


def read(path: Path, *, peer: bool) -> Outcome:
    """One file through `parse_body`."""
    body = path.read_bytes()
    outcome = Outcome(path.name, len(body), "parsed")
    forget_peak()
    before_mib, started = peak_mib(), time.perf_counter()
    articles: tuple[Article, ...] = ()
    try:
        articles = parse_body(body, CONTEXT, name=path.name).articles
    except SourceError as problem:
        outcome.how, outcome.message = type(problem).__name__, str(problem)[:200]
    except Exception as problem:
        outcome.how, outcome.message = f"other {type(problem).__name__}", repr(problem)[:200]
    outcome.seconds, outcome.peak_mib = time.perf_counter() - started, peak_mib() - before_mib
    outcome.articles = len(articles)
    if peer and body.lstrip()[:1] != b"{":
        outcome.peer = dict(beside(articles, body))
    outcome.expected = dict(as_expected(articles, body))
    return outcome


def forget_peak() -> None:
    """Begin to measure anew, where the system can (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_mib() -> float:
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def beside(articles: Sequence[Article], body: bytes) -> Counter[str]:
    """How far feedparser alone agrees: entries, those that we have, same title, url, time."""
    counts: Counter[str] = Counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            entries = feedparser.parse(io.BytesIO(body)).entries
    except Exception:  # it lets some through
        return Counter(gave_up=1)
    known = {
        key: a for a in reversed(articles) for key in ((a.title, ""), ("", a.text), ("url", url_key(a.url)))
    }
    for entry in entries:
        title, url = clean_line(text_of(entry, "title")), canonical_url(text_of(entry, "link"))
        bodies = (
            text_of(entry, "summary"),
            *(str(c.get("value", "")) for c in dict.get(entry, "content") or ()),
        )
        text = clean_text(max(bodies, key=len))
        if not title and not text:
            continue
        counts["entries"] += 1
        keys = (
            (title, "") if title else None,
            ("", text) if text else None,
            ("url", url_key(url)) if url else None,
        )
        ours = next((known[key] for key in keys if key in known), None)
        if ours is None:
            continue
        counts["have"] += 1
        counts["title"] += ours.title == title
        counts["url"] += ours.url == url
        at = moment(dict.get(entry, "published_parsed") or dict.get(entry, "updated_parsed"))
        counts["time"] += ours.published_at == at
    return counts


def text_of(entry: Any, key: str) -> str:
    # dict.get, for FeedParserDict.get falls back between keys
    value = dict.get(entry, key)
    return value if isinstance(value, str) else ""


def moment(parsed: Any) -> datetime:
    """feedparser's time as an article has it: never after `NOW`, and `NOW` where there is none or an absurd one."""
    try:
        at = datetime.fromtimestamp(calendar.timegm(tuple(parsed)), UTC)
    except (TypeError, ValueError, OverflowError):
        return NOW
    return min(at, NOW) if at.year >= 1990 else NOW


def as_expected(articles: Sequence[Article], body: bytes) -> Counter[str]:
    """What the header of a feedparser test says of entries, against the articles."""
    counts: Counter[str] = Counter()
    header = _EXPECT.search(body[:4000])
    if header is None:
        return counts
    for number, key, value in claims(header[1].decode("utf-8", "replace")):
        if not articles:  # an entry with neither title nor text is no article
            counts["blank"] += 1
            continue
        article = articles[min(number, len(articles) - 1)]
        same = agrees(key, value, article)
        counts[f"{key.partition('_')[0]} {'agree' if same else 'differ'}"] += 1
    return counts


def agrees(key: str, value: Any, article: Article) -> bool:
    if key == "title":
        return clean_line(value) == article.title
    if key == "link":
        return canonical_url(value) == article.url
    return clean_text(value) in article.text if key == "summary" else moment(value) == article.published_at


def claims(expression: str) -> Iterator[tuple[int, str, Any]]:
    """`entries[0]['title'] == 'x'` and the like in a test's expectation: number, key, value."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(expression, mode="eval")
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq):
            match node.left:
                case ast.Subscript(
                    value=ast.Subscript(
                        value=ast.Name(id="entries"), slice=ast.Constant(value=int() as number)
                    ),
                    slice=ast.Constant(value=str() as key),
                ) if key in _FIELDS:
                    try:
                        value = ast.literal_eval(node.comparators[0])
                    except ValueError:
                        continue
                    if isinstance(value, tuple if key.endswith("parsed") else str):
                        yield number, key, value


def work(link: Connection, memory_mib: int, peer: bool) -> None:
    """The worker: paths come in, outcomes go out."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_mib * _MIB, memory_mib * _MIB))
    while True:
        path = link.recv()
        if path is None:
            return
        link.send(read(path, peer=peer))


class Hands:
    """A worker process that is replaced when it hangs or dies."""

    def __init__(self, seconds: float, memory_mib: int, *, peer: bool) -> None:
        self.seconds, self.memory_mib, self.peer = seconds, memory_mib, peer
        self.start()

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.link, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, self.memory_mib, self.peer), daemon=True)
        self.process.start()
        theirs.close()

    def read(self, path: Path) -> Outcome:
        self.link.send(path)
        lost = Outcome(path.name, path.stat().st_size, "hang", seconds=self.seconds)
        try:
            if self.link.poll(self.seconds if not self.peer else 2 * self.seconds):
                outcome: Outcome = self.link.recv()
                if outcome.seconds > self.seconds:
                    outcome.how = "hang"
                return outcome
        except EOFError:
            lost.how = "killed"
        self.process.kill()
        self.process.join()
        self.start()
        return lost

    def stop(self) -> None:
        self.link.send(None)
        self.process.join()


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    how = Counter(outcome.how for outcome in outcomes)
    slowest = max(outcomes, key=lambda o: o.seconds)
    peer: Counter[str] = Counter()
    expected: Counter[str] = Counter()
    for outcome in outcomes:
        peer.update(outcome.peer)
        expected.update(outcome.expected)
    ours = {
        name: n for name, n in how.items() if name not in ("parsed", "hang", "killed") and " " not in name
    }
    return {
        "files": len(outcomes),
        "parsed": how["parsed"],
        "articles": sum(o.articles for o in outcomes),
        "refused": ours,
        "other": sum(n for name, n in how.items() if name.startswith("other ")),
        "hangs": how["hang"],
        "killed": how["killed"],
        "slowest": {"name": slowest.name, "size": slowest.size, "seconds": round(slowest.seconds, 2)},
        "peak_mib": round(max(o.peak_mib for o in outcomes), 1),
        "peer": dict(peer),
        "expected": dict(expected),
    }


def print_table(corpora: dict[str, dict[str, Any]]) -> None:
    print(
        "| corpus | files | parsed | articles | refused | other | hangs | slowest, s | peak, MiB | feedparser's entries: we have | same title / url / time |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name, c in corpora.items():
        peer = c["peer"]
        refused = ", ".join(f"{n} {kind}" for kind, n in sorted(c["refused"].items())) or "0"
        print(
            f"| {name} | {c['files']} | {c['parsed']} | {c['articles']} | {refused} | {c['other']} | {c['hangs'] + c['killed']} "
            f"| {c['slowest']['seconds']:.2f} | {c['peak_mib']:.0f} | {peer.get('have', 0)} of {peer.get('entries', 0)} "
            f"| {peer.get('title', 0)} / {peer.get('url', 0)} / {peer.get('time', 0)} |"
        )
    expected: Counter[str] = Counter()
    for c in corpora.values():
        expected.update(c["expected"])
    if expected:
        print("\nAs the test files expect:", ", ".join(f"{n} {what}" for what, n in sorted(expected.items())))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="a folder of corpora")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0, help="allowed for one file")
    parser.add_argument("--memory", type=int, default=1024, help="address space of the worker, MiB")
    parser.add_argument(
        "--worst", type=int, default=10, help="how many of the slowest and refused files to name"
    )
    parser.add_argument("--no-peer", action="store_true", help="do not run feedparser alone beside")
    arguments = parser.parse_args()
    folders = sorted(f for f in arguments.data.iterdir() if f.is_dir() and not f.name.startswith("."))
    if not folders:
        parser.error(f"{arguments.data} holds no folder")
    hands = Hands(arguments.seconds, arguments.memory, peer=not arguments.no_peer)
    outcomes: dict[str, list[Outcome]] = {}
    for folder in folders:
        files = sorted(f for f in folder.rglob("*") if f.is_file() and ".git" not in f.parts)
        if files:
            outcomes[folder.name] = [hands.read(file) for file in files]
    hands.stop()
    corpora = {name: summary(found) for name, found in outcomes.items()}
    print_table(corpora)
    everything = [o for found in outcomes.values() for o in found]
    for title, key in (("slowest", lambda o: o.seconds), ("largest in memory", lambda o: o.peak_mib)):
        print(f"\n{title}:")
        for o in sorted(everything, key=key, reverse=True)[: arguments.worst]:
            print(f"  {o.seconds:6.2f} s {o.peak_mib:6.1f} MiB {o.size:>9} bytes {o.how:12} {o.name!a}")
    bad = [o for o in everything if o.how.startswith("other ") or o.how in ("hang", "killed")]
    for o in bad:
        print(f"WRONG {o.how}: {o.name!a} {o.message!a}")
    if arguments.json:
        whole = {"corpora": corpora, "refused": [asdict(o) for o in everything if o.how != "parsed"]}
        arguments.json.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    raise SystemExit(1 if bad else 0)


if __name__ == "__main__":
    main()
