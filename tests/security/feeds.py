"""Every hostile feed of the list polled over HTTP in this process, which has bounds on its memory. A row of JSON for each.

`python -m tests.security.feeds SECRET [GUARD]`: with the name of a guard it is switched off, to see what it holds.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from datetime import UTC, datetime
from typing import Any

import agent.sources.sockets
from agent.sources.base import SourceSpec
from agent.sources.fetch import fetch
from agent.sources.http import Client
from agent.sources.unpack import MAX_BYTES
from tests.security.lists import cases
from tests.security.sender import Sender, sending

MEMORY_BYTES = 1 << 30
TIMEOUT_S = 0.5
NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
# What each guard holds, and by which entries it is seen when it is off.
GUARDS: dict[str, tuple[str, ...]] = {
    "size": ("gzip bomb", "zlib bomb", "bare deflate bomb"),
    "time": ("a byte of the body now and then", "a byte of the header now and then"),
}


def client_for(case: dict[str, Any], guard: str) -> Client:
    """Nobody waits long for a slow one; a large one may take its time on a busy machine."""
    slow = "no complete answer" in case.get("says", "")
    if guard == "time":
        agent.sources.sockets.Reach.left_s = lambda _: TIMEOUT_S
    return Client(timeout_s=TIMEOUT_S if slow else 20.0, max_bytes=1 << 40 if guard == "size" else MAX_BYTES)


def tried(sender: Sender, case: dict[str, Any], guard: str) -> dict[str, Any]:
    """What came of one: how it was told, how many articles, and in how many seconds."""
    client = client_for(case, guard)
    sender.prepare(case)
    spec = SourceSpec("x", f"{sender.url}/feed", allow_private=True)
    started = time.monotonic()
    try:
        found = fetch(spec, None, client, NOW)
        row = {"status": found.status, "told": found.message, "articles": len(found.articles),
               "text": " ".join(f"{a.title} {a.text}" for a in found.articles)[:2000]}  # fmt: skip
    except BaseException as problem:  # nothing may come out but a value
        row = {"status": type(problem).__name__, "told": str(problem)[:200], "articles": 0, "text": ""}
    asked = [path for path in sender.asked if path.startswith("/inner")]
    return {"name": case["name"], **row, "seconds": time.monotonic() - started, "asked": asked}


def main(secret: str, guard: str = "") -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    chosen = [case for case in cases("feeds") if not guard or case["name"] in GUARDS[guard]]
    with sending(secret) as sender:
        for case in chosen:
            print(json.dumps(tried(sender, case, guard)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
