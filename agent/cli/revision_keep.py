"""`factd revisions pin`, `unpin`, `gc`, `rebuild`: which revisions keep their weights, and getting them back."""

from __future__ import annotations

from typing import Annotated

import typer

from agent.cli.session import confirm, repair, session, who
from agent.cli.text import emit, minute, out, out_lines, plural, table
from agent.errors import EditError, UsageError
from agent.store import keeping
from agent.store.lock import worker_lock

Number = Annotated[int, typer.Argument(metavar="N", help="A revision's number.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


def pin(
    ctx: typer.Context,
    id: Number,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why (needed); it stays in the ledger.")
    ] = "",
) -> None:
    """Keep the weights of a revision whatever `gc` removes."""
    if not reason.strip():
        raise UsageError("pinning needs a reason: add --reason TEXT")
    asked = session(ctx)
    with asked.writing() as store:
        keeping.pin(store, id, reason=reason, who=who(), now=asked.now())
    asked.note(f"revision {id} is pinned")


def unpin(ctx: typer.Context, id: Number) -> None:
    """Let `gc` remove the weights of a revision again."""
    asked = session(ctx)
    with asked.writing() as store:
        keeping.unpin(store, id, who=who(), now=asked.now())
    asked.note(f"revision {id} is no longer pinned")


def gc(
    ctx: typer.Context,
    keep: Annotated[int, typer.Option("--keep", metavar="N", min=0, help="Keep the newest N.")] = 5,
    older_than: Annotated[
        float, typer.Option("--older-than", metavar="DAYS", min=0, help="Only what is older.")
    ] = 0.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask back.")] = False,
    json: Json = False,
) -> None:
    """Remove the weights of revisions that are neither served, nor pinned, nor among the newest.

    What was recorded of them stays, and `rebuild` compiles them again.
    """
    asked = session(ctx)
    now = asked.now()
    opened = asked.reading() if dry_run else asked.writing()
    with opened as store:
        found = keeping.removable(store, newest=keep, now=now, older_than_days=older_than)
        sizes = {one.id: keeping.weights_bytes(store, one.id) for one in found}
        freed = sum(sizes.values())
        if not json:
            rows = [(one.id, minute(one.created_at), f"{sizes[one.id]:,}") for one in found]
            out_lines(table(("id", "created (UTC)", "bytes"), rows) if rows else ())
        if found and not dry_run:
            confirm(f"Remove the weights of {plural(len(found), 'revision')}, {freed:,} bytes?", yes=yes)
            with worker_lock(store.folder):
                repair(store)
                freed = keeping.remove(store, sizes, who=who(), now=now)
    if json:
        emit(
            {"dry_run": dry_run, "removed": [{"id": i, "bytes": b} for i, b in sizes.items()], "bytes": freed}
        )
    elif not found:
        out("nothing to remove")
    else:
        done = "would be freed" if dry_run else "freed"
        out(f"{freed:,} bytes {done}: the weights of {plural(len(found), 'revision')}")


def rebuild(
    ctx: typer.Context,
    id: Number,
    check: Annotated[
        bool, typer.Option("--check", help="Compile and compare only; write nothing back.")
    ] = False,
    json: Json = False,
) -> None:
    """Compile a revision's facts again, as they were, and put its weights back if they come out the same, byte
    for byte.
    """
    from agent.rebuild import rebuild as rebuilt

    with session(ctx).working() as shop:
        found = rebuilt(shop, id, who=who(), check=check)
    if json:
        emit({
            "revision": id, "same": found.same, "delta_sha": found.delta_sha, "recorded_sha": found.recorded_sha,
            "restored": found.restored, "differs": list(found.differs),
        })  # fmt: skip
    if not found.same:
        raise EditError(
            f"revision {id} does not come out the same ({found.delta_sha[:12]}, recorded {found.recorded_sha[:12]});"
            f" nothing was put back. What differs from then: {'; '.join(found.differs)}"
        )
    if not json:
        what = (
            "its weights are back"
            if found.restored
            else "its weights are there"
            if not check
            else "compared only"
        )
        out(f"revision {id} comes out the same, byte for byte ({found.delta_sha[:12]}); {what}")
