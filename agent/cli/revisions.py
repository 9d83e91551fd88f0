"""`factd revisions`: what was published, and the group of commands that look at it or tidy it up."""

from __future__ import annotations

from typing import Annotated

import typer

from agent.cli import revision_diff, revision_keep, revision_show
from agent.cli.session import session
from agent.cli.text import emit, minute, out_lines, table
from agent.cli.views import revision_record
from agent.store import published
from agent.store.published import Keeping
from agent.types import Revision

app = typer.Typer(
    help="Look at the published revisions, keep or remove their weights, compile them again.",
    rich_markup_mode=None,
)
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
_SHARES = ("efficacy", "paraphrase", "others_unchanged")


@app.callback(invoke_without_command=True)
def group(ctx: typer.Context, json: Json = False) -> None:
    if ctx.invoked_subcommand is None:
        list_(ctx, json)


@app.command("list")
def list_(ctx: typer.Context, json: Json = False) -> None:
    """List the published revisions; 0 is the base model, * marks the one that is served."""
    with session(ctx).reading() as store, store.reading():
        served, statuses = published.pointer(store), published.statuses(store)
        found = (published.get(store, published.BASE), *published.revisions(store))
        kept = published.keepings(store)
    if json:
        listed = [
            revision_record(r, current=r.id == served, status=statuses.get(r.id, "base"), kept=kept.get(r.id))
            for r in found
        ]
        emit({"current": served, "revisions": listed})
        return
    rows = [
        (
            "*" if r.id == served else "",
            r.id,
            minute(r.created_at),
            status_of(statuses.get(r.id, "base"), kept.get(r.id)),
            len(r.facts),
            len(r.overlay) or "",
            *_shares(r),
        )
        for r in found
    ]
    heads = ("", "id", "created (UTC)", "status", "facts", "overlay", *_SHARES)
    out_lines(table([head.replace("_", " ") for head in heads], rows))


def status_of(status: str, kept: Keeping | None) -> str:
    """Published or rolled back, pinned, without its weights."""
    words = [status.replace("_", " ")]
    if kept is not None and kept.pinned_at is not None:
        words.append("pinned")
    if kept is not None and kept.removed_at is not None:
        words.append("weights removed")
    return ", ".join(words)


def _shares(revision: Revision) -> list[str]:
    after = {} if revision.report is None else revision.report.after
    return [f"{after[name]:.1%}" if name in after else "" for name in _SHARES]


app.command("show")(revision_show.show)
app.command("diff")(revision_diff.diff)
app.command("pin")(revision_keep.pin)
app.command("unpin")(revision_keep.unpin)
app.command("gc")(revision_keep.gc)
app.command("rebuild")(revision_keep.rebuild)
