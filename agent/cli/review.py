"""`factd review`: one proposal after another, one key for each decision."""

from __future__ import annotations

import sys

import typer

from agent.cli.session import session, who
from agent.errors import UsageError


def review(ctx: typer.Context) -> None:
    """Decide on what waits, one proposal after another: a approves, r rejects, d defers, e shows the evidence in its article, ? helps.

    A decision is kept at once, with your name and the reason; u undoes it as long as nobody went on from it.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "review needs a terminal; elsewhere `factd queue list` shows what waits, `factd queue approve` and"
            " `factd queue reject` decide"
        )
    from agent.cli.keys import Keyboard
    from agent.cli.reviewer import Reviewer

    asked = session(ctx)
    with asked.writing() as store:
        reviewer = Reviewer(store, asked.now, who())
        try:
            with Keyboard() as keys:
                reviewer.run(keys)
        finally:
            asked.note(reviewer.summary())
