"""The status page: the standing as one page of HTML without script, address or form. Every word of it is escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape

from agent.health import Gone, Standing
from agent.redact import plain

REFRESH_S = 30
_LONGEST = 300
_CSS = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem}h2{font-size:1.05rem;margin-top:2rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #8884;vertical-align:top}
.ok{color:#187a2f}.bad{color:#b3261e}
@media(prefers-color-scheme:dark){.ok{color:#7bd88f}.bad{color:#ff8a80}}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1.5rem}dt{font-weight:600}dd{margin:0}
"""


def policy() -> str:
    """What a browser may load for the page: this style, and nothing else."""
    sha = base64.b64encode(hashlib.sha256(_CSS.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{sha}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def page(found: Standing, *, alive: bool) -> str:
    """The whole page; it asks for itself again every half minute."""
    served = found.served
    what = f"revision {served.id}" if served.id else "the base"
    pending = found.queue.get("pending", 0) - found.deferred
    facts = [
        ("served", f"{what}, {served.facts} facts, {served.beside} of them beside the weights, since {_when(served.since_at)}"),
        ("rounds", "get on" if alive else "are stuck"),
        ("waiting", f"{pending} proposals for a person, {found.queue.get('approved', 0)} approved, {found.deferred} deferred"),
        ("sources", f"{len(found.sources)}, {len(found.failing)} of them failing; {found.articles} articles, {found.claims} claims"),
        ("disk", f"{found.disk.total / 2**20:.1f} MB, {found.disk.free / 2**30:.1f} GB free"),
    ]  # fmt: skip
    problems = [] if alive else ["a round makes no steps any more"]
    problems += [p.message for p in found.problems]
    failing = [
        (
            s.name,
            s.state,
            str(s.errors),
            _when(s.next_poll_at) if s.state != "gone" else "never",
            s.last_error,
        )
        for s in found.failing
    ]
    body = [
        f'<h1>factd: <span class="{"bad" if problems else "ok"}">{"something is wrong" if problems else "all is well"}</span></h1>',
        "".join(f'<p class="bad">{_shown(text)}</p>' for text in problems),
        "<dl>" + "".join(f"<dt>{_shown(name)}</dt><dd>{_shown(text)}</dd>" for name, text in facts) + "</dl>",
        "<h2>Rounds</h2>", _table(("round", "began", "took", "ended", "what"), map(_round, found.rounds)),
    ]  # fmt: skip
    if failing:
        body += ["<h2>Sources that fail</h2>"]
        body += [_table(("source", "state", "errors", "next try", "why"), failing)]
    body.append(f"<p>{_shown(_when(found.at))}</p>")
    head = f'<meta charset="utf-8"><meta http-equiv="refresh" content="{REFRESH_S}"><title>factd</title><style>{_CSS}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'


def _round(done: Gone) -> tuple[str, ...]:
    found = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in done.counts.items() if n)
    what = found or "nothing new" if done.outcome == "ok" else done.message
    took = "" if done.outcome in ("running", "lost") else f"{done.took_s:.1f} s"
    return str(done.id), _when(done.started_at), took, done.outcome, what


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{_shown(text)}</th>" for text in headers)
    lines = ["".join(f"<td>{_shown(text)}</td>" for text in row) for row in rows]
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _shown(text: str) -> str:
    """`text` escaped, without what would deceive the eye, cut where it is endless."""
    clean = plain(text)
    return escape(clean if len(clean) <= _LONGEST else clean[:_LONGEST] + "…")


def _when(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"
