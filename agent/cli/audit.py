"""`factd audit`: the ledger of what was done to the model, and whether everything is still as it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.session import session, who
from agent.cli.text import emit, err, minute, out, out_lines, plural, table, terminal_width
from agent.errors import StoreError
from agent.store import audit as store_audit
from agent.store import ledger, published, signatures
from agent.store.audit import Finding
from agent.store.db import Store
from agent.store.ledger import Entry
from agent.store.signatures import Signature

if TYPE_CHECKING:
    from agent.signing import Statement

app = typer.Typer(
    help="Check that what was published is as the ledger says.", no_args_is_help=True, rich_markup_mode=None
)
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
_TOLD = ("proposal", "action", "reason", "before", "proposals", "away", "back", "bytes")


@app.command()
def verify(
    ctx: typer.Context,
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="FILE", help="A public key that must have signed the ledger."),
    ] = None,
    head: Annotated[
        str,
        typer.Option(
            "--head", metavar="HASH", help="A head kept elsewhere, which the ledger must still hold."
        ),
    ] = "",
    json: Json = False,
) -> None:
    """Check the ledger's chain, every revision's row and files, what is served, and who signed up to where. Exit 1 when anything was
    changed, with the first of it named.
    """
    with session(ctx).reading() as store:
        found = [*store_audit.audit(store)]
        count, seal = ledger.head(store)
        number = len(published.revisions(store))
        signed = [] if found else _signed(store)
        found += _refused(store, signed, key, head.strip().lower()) if not found else []
    if json:
        findings = [{"where": finding.where, "what": finding.what} for finding in found]
        emit({"sound": not found, "findings": findings, "rows": count, "head": seal, "revisions": number,
              "signatures": [_record(s, good) for s, good in signed]})  # fmt: skip
    elif not found:
        out(f"sound: {plural(count, 'ledger row')}, {plural(number, 'revision')}")
        out(f"head {seal or '(empty)'}")
        out_lines(_said(s, good, count) for s, good in signed)
    for finding in found[1:]:
        err(f"also: {finding.where}: {finding.what}")
    if found:
        raise StoreError(f"{found[0].where}: {found[0].what}")


@app.command()
def sign(
    ctx: typer.Context,
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="The private key (Ed25519, PEM).")],
    json: Json = False,
) -> None:
    """Sign the ledger's head: that you have seen all of it, as it is now. Needs factd[sign]."""
    from agent import signing

    signing.check_available()
    asked, name = session(ctx), who()
    with asked.writing() as store:
        done = signatures.add(
            store,
            name,
            asked.now(),
            lambda seq, seal, at: signing.sign(signing.Statement(seq, seal, name, at), key),
        )
    if json:
        emit(_record(done, True))
        return
    out(f"signed up to row {done.seq} by {done.who} with key {signing.name_of(done.key)}")


@app.command("key")
def make_key(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where the private key goes; FILE.pub is the public one.")
    ],
) -> None:
    """Make a key for signing the ledger. Keep FILE away from the machine that runs factd, if you can. Needs factd[sign]."""
    from agent import signing

    public = signing.make_key(file)
    out(f"private key in {file}, public key {signing.name_of(signing.read_public(public))} in {public}")


def _signed(store: Store) -> list[tuple[Signature, bool | None]]:
    """Every signature, and whether it is good; None where nobody can tell without the package."""
    from agent import signing

    able = signing.available()
    return [
        (s, (s.fits and signing.is_signed(_statement(s), s.key, s.signature)) if able else None)
        for s in signatures.signatures(store)
    ]


def _statement(s: Signature) -> Statement:
    from agent.signing import Statement

    return Statement(s.seq, s.hash, s.who, s.at)


def _refused(
    store: Store, signed: list[tuple[Signature, bool | None]], key: Path | None, head: str
) -> Iterator[Finding]:
    """Signatures that are none, and what was asked for and is not there."""
    from agent import signing

    for s, good in signed:
        if good is False or not s.fits:
            yield Finding(
                f"ledger row {s.row}",
                f"holds a signature by {s.who} that is none of the ledger up to row {s.seq}",
            )
    if key is not None:
        public = signing.read_public(key)
        if not any(good and s.key == public for s, good in signed):
            yield Finding("the ledger", f"was not signed by the key {signing.name_of(public)} of {key}")
    if head and all(entry.hash != head for entry in ledger.entries(store)):
        yield Finding(
            "the ledger", f"does not hold the head {head[:64]}: it was cut off or written anew since"
        )


def _record(s: Signature, good: bool | None) -> dict[str, object]:
    from agent.signing import name_of

    return {
        "row": s.row,
        "up_to": s.seq,
        "hash": s.hash,
        "who": s.who,
        "at": s.at,
        "key": name_of(s.key),
        "good": good,
    }


def _said(s: Signature, good: bool | None, count: int) -> str:
    from agent.signing import name_of

    since = count - s.row
    word = "signed" if good else "a signature that cannot be checked without factd[sign]:"
    after = f"; {plural(since, 'row')} since" if since else ""
    return f"{word} up to row {s.seq} by {s.who} at {s.at}, key {name_of(s.key)}{after}"


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
