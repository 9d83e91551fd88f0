"""Published revisions: publishing; reading (`published`) and going back (`pointing`) are offered here as well.

    write everything into a temporary folder -> fsync -> rename to revisions/<id> -> one transaction ->
    `current` link

The transaction is what publishes: before it the folder is an orphan that the next publication sweeps away,
after it the link is only a convenience that `repair` makes again. Publishing the same thing twice gives the
same revision. Nothing published is ever deleted, but for weights that nobody serves (`keeping`): going back moves the pointer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from agent.errors import StaleState
from agent.store import artefacts, keeping, ledger
from agent.store.codec import asked_record, canonical, digest, fact_record, report_record, to_text
from agent.store.db import Store
from agent.store.moves import Note, Step, get_row, proposal_in, stale, supersede, take
from agent.store.pointing import link_is_right, point_at, repair, repair_link, rollback, set_pointer
from agent.store.published import (
    BASE,
    answers,
    current,
    folder,
    get,
    members,
    places,
    pointer,
    revisions,
    statuses,
    strangers,
)
from agent.types import Place, Report, Revision

__all__ = [
    "BASE",
    "Candidate",
    "answers",
    "current",
    "folder",
    "get",
    "link_is_right",
    "members",
    "places",
    "pointer",
    "publish",
    "repair",
    "revisions",
    "rollback",
    "statuses",
]

_NO_LEASE = {"lease_owner": None, "lease_until": None}


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is to be published. `proposals` are the ids of all facts it holds: those live already and those
    just verified; `overlay` those of them that are not in the weights.

    `delta` is the content of delta.safetensors, or a function that writes it to the path it is given.
    `delta_sha` and `settings_sha` are the caller's own: they say when two candidates are the same. `records`: further small files,
    name to text, that are kept beside it.
    """

    base_sha: str
    delta_sha: str
    settings_sha: str
    proposals: tuple[int, ...]
    delta: bytes | Callable[[Path], object]
    report: Report | None = None
    overlay: tuple[int, ...] = ()
    records: Mapping[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        told = [sorted(self.overlay)] if self.overlay else []
        return digest([self.base_sha, self.delta_sha, self.settings_sha, sorted(self.proposals), *told])


def publish(store: Store, candidate: Candidate, *, now: datetime, who: str = "factd") -> Revision:
    """Make `candidate` the current revision, its verified proposals live, those they replace superseded.

    A candidate that is published already is not written again, unless its weights were removed; the pointer moves to it if it
    stands elsewhere. One without proposals is the base. Raises StaleState when a proposal is neither verified nor
    live, or a live one is missing from the candidate that nothing in it supersedes (take it back first);
    StoreError when the files cannot be written. Either way the revision that was current still is.
    """
    ids = tuple(sorted(set(candidate.proposals)))
    candidate = replace(candidate, proposals=ids)
    known = _known(store, candidate)
    if known is not None:
        keeping.restore_if_removed(store, known, candidate.delta, Note(who, now))
        with store.writing("republish"):
            _check_members(store, ids)
            if pointer(store) != known:
                point_at(store, known, Note(who, now, f"revision {known} was compiled again"))
        repair_link(store)
        return get(store, known)
    facts = tuple(proposal_in(get_row(store, proposal_id)).fact for proposal_id in ids)
    texts = {**candidate.records, "facts.json": canonical([fact_record(fact) for fact in facts])}
    texts["report.json"] = canonical(None if candidate.report is None else report_record(candidate.report))
    if candidate.report is not None and candidate.report.asked:
        texts["answers.json"] = canonical([asked_record(asked) for asked in candidate.report.asked])
    with artefacts.written(store.revisions_folder, candidate.delta, texts) as draft:
        revision_id = _commit(store, candidate, draft, texts, Note(who, now))
    artefacts.confirm(store.revisions_folder, revision_id)
    repair_link(store)
    return get(store, revision_id)


def _known(store: Store, candidate: Candidate) -> int | None:
    if not candidate.proposals:
        return BASE
    row = store.row("SELECT id FROM revision WHERE identity = ?", (candidate.identity,))
    return None if row is None else int(row["id"])


def _commit(
    store: Store, candidate: Candidate, draft: artefacts.Draft, texts: dict[str, str], note: Note
) -> int:
    """The rename and everything the database says about it, under one write lock: ids cannot collide."""
    with store.writing("publish"):
        superseded = _check_members(store, candidate.proposals)
        last = store.row("SELECT coalesce(max(id), 0) AS id FROM revision")
        known = int(last["id"]) if last is not None else 0
        revision_id = max(known, *strangers(store), 0) + 1
        draft.settle(revision_id)
        store.run(
            "INSERT INTO revision (id, identity, base_sha, delta_sha, settings_sha, facts, report, files, status,"
            " created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'published', ?)",
            (
                revision_id,
                candidate.identity,
                candidate.base_sha,
                candidate.delta_sha,
                candidate.settings_sha,
                texts["facts.json"],
                None if candidate.report is None else texts["report.json"],
                canonical(draft.files),
                to_text(note.at),
            ),
        )
        _move_members(store, revision_id, candidate, superseded, note)
        before = pointer(store)
        set_pointer(store, revision_id)
        payload = {
            "revision": revision_id,
            "before": before,
            "base_sha": candidate.base_sha,
            "delta_sha": candidate.delta_sha,
            "settings_sha": candidate.settings_sha,
            "proposals": list(candidate.proposals),
            "overlay": sorted(candidate.overlay),
            "files": draft.files,
            "who": note.who,
        }
        ledger.append(store, "published", payload, note.at)
    return revision_id


def _check_members(store: Store, ids: tuple[int, ...]) -> dict[int, int]:
    """Each member must be verified or live, each other live one have its key taken: {live id: taker}."""
    rows = [get_row(store, proposal_id) for proposal_id in ids]
    takers: dict[tuple[str, str], int] = {}
    for row in rows:
        if row["status"] not in ("verified", "live"):
            raise stale(store, row["id"], "verified or live")
        if row["single"] and takers.setdefault((row["subject"], row["relation"]), row["id"]) != row["id"]:
            raise StaleState(
                f"proposals {takers[row['subject'], row['relation']]} and {row['id']} give {row['subject']!r}"
                f" two objects for {row['relation']}; leave out the live one that the new one replaces"
            )
    superseded = {}
    for row in store.rows("SELECT * FROM proposal WHERE status = 'live' ORDER BY id"):
        if row["id"] in ids:
            continue
        taker = takers.get((row["subject"], row["relation"])) if row["single"] else None
        if taker is None:
            raise StaleState(
                f"proposal {row['id']} is live and not in the new revision, which has nothing in its place;"
                " take it back first, or compile with it"
            )
        superseded[row["id"]] = taker
    return superseded


def _move_members(
    store: Store, revision_id: int, candidate: Candidate, superseded: dict[int, int], note: Note
) -> None:
    """Superseded ones leave first: a single-valued key has one live object at any moment."""
    for proposal_id in candidate.proposals:
        place: Place = "overlay" if proposal_id in candidate.overlay else "weights"
        store.run("INSERT INTO revision_fact VALUES (?, ?, ?)", (revision_id, proposal_id, place))
    for proposal_id, taker in superseded.items():
        reason = f"proposal {taker} took its place in revision {revision_id}"
        supersede(store, proposal_id, "live", taker, Note(note.who, note.at, reason))
    for proposal_id in candidate.proposals:
        if get_row(store, proposal_id)["status"] == "verified":
            again = Note(note.who, note.at, f"published in revision {revision_id}")
            take(store, proposal_id, Step("verified", "live", _NO_LEASE), again)
