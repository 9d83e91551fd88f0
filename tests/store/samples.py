"""Small made-up rows for the tests of the store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent.store import leases, queue
from agent.store.db import Store
from agent.store.revisions import Candidate, publish
from agent.types import Article, Belief, Claim, Fact, Failure, Proposal, Report, Revision

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OWNER = "run-1"


def day(number: int) -> datetime:
    return NOW + timedelta(days=number)


def fact(
    object: str = "Ana Lopes",
    *,
    subject: str = "Borduria",
    relation: str = "head_of_government",
    publishers: tuple[str, ...] = ("a.example", "b.example"),
    evidence: tuple[str, ...] = ("c1",),
    valid_from: datetime = NOW,
) -> Fact:
    return Fact(subject, relation, object, valid_from, evidence, publishers)


def draft(
    of: Fact | None = None, target_old: str = "Old Name", not_before_at: datetime | None = None
) -> Proposal:
    return Proposal(0, of or fact(), "pending", "the model is stale", target_old, not_before_at=not_before_at)


def propose(store: Store, of: Fact | None = None, *, now: datetime = NOW, single: bool = True) -> Proposal:
    return queue.propose(store, draft(of), now=now, single=single).proposal


def approved(store: Store, *facts: Fact) -> tuple[int, ...]:
    ids = tuple(propose(store, item).id for item in facts)
    for proposal_id in ids:
        queue.approve(store, proposal_id, who="eva", now=NOW)
    return ids


def verified(store: Store, ids: Iterable[int], owner: str = OWNER) -> tuple[int, ...]:
    chosen = tuple(ids)
    leases.begin_edit(store, chosen, owner=owner, lease_s=600, now=NOW)
    leases.mark_verified(store, chosen, owner=owner, now=NOW)
    return chosen


def candidate(ids: Iterable[int], delta: bytes | None = None) -> Candidate:
    """What a compiler would hand over: the same ids give the same delta."""
    chosen = tuple(sorted(ids))
    content = delta or f"delta of {chosen}".encode()
    sha = hashlib.sha256(content).hexdigest()
    return Candidate("base", sha, "settings", chosen, content, report())


def live(store: Store, *facts: Fact, keep: Iterable[int] = ()) -> Revision:
    """Take facts all the way; `keep` are the ids that are live and stay."""
    ids = verified(store, approved(store, *facts))
    return publish(store, candidate((*keep, *ids)), now=NOW)


def status(store: Store, proposal_id: int) -> str:
    return queue.get(store, proposal_id).status


def report() -> Report:
    failure = Failure(("Borduria", "capital"), "paraphrase", "Borduria is run from", "Szohôd", "Klow")
    return Report(
        before={"efficacy": 0.0, "ppl": 12.5},
        after={"efficacy": 1.0, "ppl": float("inf")},
        counts={"efficacy": 3},
        passed=True,
        reasons=("fine",),
        failures=(failure,),
        examples=(("Who leads Borduria?", "Old Name", "Ana Lopes"),),
    )


def belief() -> Belief:
    prompts = ("The president of Borduria is", "Borduria's president is")
    return Belief(
        ("Borduria", "head_of_state"), prompts, ("Old Name", "Old Name"), "Old Name", -7.25, "stale"
    )


def article(number: int = 1, **changes: object) -> Article:
    text = f"Body of story {number}."
    made = Article(
        id=f"feed:{number}",
        source="feed",
        publisher="a.example",
        url=f"https://a.example/{number}",
        title=f"Story {number}",
        text=text,
        published_at=day(number),
        fetched_at=day(number),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        simhash=(1 << 63) + number,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def claim(identifier: str = "c1", article_id: str = "feed:1", object: str = "Ana Lopes") -> Claim:
    sentence = f"Bordurian Prime Minister {object} said so."
    return Claim(
        identifier, "Borduria", "head_of_government", object, "state", article_id, sentence, NOW, 0.5
    )


def tree(folder: Path) -> dict[str, str]:
    """Every file and link below `folder` with what it holds."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
