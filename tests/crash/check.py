"""What a state folder comes to, and what of it may never be lost again once it was there."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from agent.store import articles, audit, feeds, ledger, progress, queue, revisions, rounds, signatures
from agent.store.db import Store, read_store
from tests.store.samples import tree

# Rows of these are only ever added: one that a killed process left is acknowledged.
_KEPT = ("article", "claim", "proposal", "proposal_event", "revision", "revision_fact", "ledger", "round")
_EVER = datetime(1, 1, 1, tzinfo=UTC)
_GIVEN_BACK = ("editing", "verified")


def acknowledged(folder: Path) -> set[tuple[object, ...]]:
    """The keys of every row that a reader of the database could have seen."""
    if not _has_tables(folder):
        return set()
    with read_store(folder) as store:
        found: set[tuple[object, ...]] = set()
        for table in _KEPT:
            keys = [row["name"] for row in store.rows(f"PRAGMA table_info({table})") if row["pk"]]
            found |= {(table, *row) for row in store.rows(f"SELECT {', '.join(keys)} FROM {table}")}
        found |= {("seal", entry.seq, entry.hash) for entry in ledger.entries(store)}
        return found


def outcome(folder: Path) -> dict[str, object]:
    """All that must come out the same; how often a lease was given back need not."""
    with read_store(folder) as store:
        return {
            "files": tree(store.revisions_folder),
            "current": revisions.current(store),
            "revisions": revisions.revisions(store),
            "proposals": queue.proposals(store),
            "events": decisions(store),
            "articles": articles.since(store, _EVER),
            "claims": articles.claims(store),
            "feeds": feeds.states(store),
            "skips": progress.skips(store),
            "stages": progress.stages(store),
            "rounds that run": [r.id for r in rounds.last(store, 9) if r.outcome == "running"],
            "signed": signatures.signatures(store),
            "ledger": ledger.entries(store),
            "unsound": audit.audit(store),
        }


def _has_tables(folder: Path) -> bool:
    """Not so where the process was killed before the first commit of all."""
    database = folder / "factd.db"
    if not database.exists():
        return False
    with closing(sqlite3.connect(database)) as conn:
        return bool(conn.execute("PRAGMA user_version").fetchone()[0])


def decisions(store: Store) -> list[tuple[str, ...]]:
    """Every move of every proposal but the worker's taking and giving back."""
    found = []
    for proposal in queue.proposals(store):
        steps = [(event.source, event.target) for event in queue.events(store, proposal.id)]
        told = [s for s in steps if not (s[1] in _GIVEN_BACK or (s[0] in _GIVEN_BACK and s[1] == "approved"))]
        found.append(tuple(f"{source}>{target}" for source, target in told))
    return found


def debris(folder: Path) -> list[str]:
    """What a start has to do something about, looked for without the program's own help."""
    found = [str(path) for path in folder.rglob(".building-*")]
    found += [str(path) for path in folder.rglob(".unconfirmed")]
    found += [str(path) for path in folder.rglob(".partial-*")] + [
        str(path) for path in folder.rglob(".set-*")
    ]
    if not _has_tables(folder):
        return found
    with read_store(folder) as store:
        found += [f"lease of {p.id}" for p in queue.proposals(store, "editing", "verified")]
        served = revisions.pointer(store)
        link = folder / "revisions" / "current"
        if (link.readlink().name if link.is_symlink() else "0") != str(served):
            found.append("link")
        removed = store.rows("SELECT id FROM revision WHERE removed_at IS NOT NULL")
        found += [
            f"weights of {row['id']}"
            for row in removed
            if (folder / "revisions" / str(row["id"]) / "delta.safetensors").exists()
        ]
    return found
