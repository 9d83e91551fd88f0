"""`factd audit`: the ledger of what was done to the model, and whether everything is still as it says."""

from __future__ import annotations

from typing import Annotated

import typer

from agent.cli.session import session
from agent.cli.text import emit, err, minute, out, out_lines, plural, table, terminal_width
from agent.errors import StoreError
from agent.store import audit as store_audit
from agent.store import ledger, published
from agent.store.ledger import Entry

app = typer.Typer(
    help="Check that what was published is as the ledger says.", no_args_is_help=True, rich_markup_mode=None
)
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
_TOLD = ("proposal", "action", "reason", "before", "proposals", "away", "back", "bytes")


@app.command()
def verify(ctx: typer.Context, json: Json = False) -> None:
    """Check the ledger's chain, every revision's row and files, and what is served. Exit 1 when anything was
    changed, with the first of it named.
    """
    with session(ctx).reading() as store:
        found = store_audit.audit(store)
        count, seal = ledger.head(store)
        number = len(published.revisions(store))
    if json:
        findings = [{"where": finding.where, "what": finding.what} for finding in found]
        emit({"sound": not found, "findings": findings, "rows": count, "head": seal, "revisions": number})
    elif not found:
        out(f"sound: {plural(count, 'ledger row')}, {plural(number, 'revision')}")
        out(f"head {seal or '(empty)'}")
    for finding in found[1:]:
        err(f"also: {finding.where}: {finding.what}")
    if found:
        raise StoreError(f"{found[0].where}: {found[0].what}")


@app.command()
def log(ctx: typer.Context, json: Json = False) -> None:
    """List the ledger: what was published, served, pinned, removed, and by whom."""
    with session(ctx).reading() as store:
        rows = ledger.entries(store)
    if json:
        entries = [
            {"seq": e.seq, "at": e.at, "kind": e.kind, "payload": e.payload, "prev": e.prev, "hash": e.hash}
            for e in rows
        ]
        emit({"entries": entries})
        return
    lines = [
        (
            e.seq,
            minute(e.at),
            e.kind,
            e.payload.get("revision", ""),
            e.payload.get("who", ""),
            e.hash[:12],
            _told(e),
        )
        for e in rows
    ]
    heads = ("row", "at (UTC)", "what", "revision", "by", "hash", "more")
    out_lines(table(heads, lines, width=terminal_width()))


def _told(entry: Entry) -> str:
    return ", ".join(f"{name} {entry.payload[name]}" for name in _TOLD if name in entry.payload)
