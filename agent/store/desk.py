"""What a reviewer looks at: the proposals that wait, one of them with everything behind it, a subject's history. Only reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar, cast

from agent.store import articles, queue
from agent.store.codec import belief_of, to_text, to_time
from agent.store.db import Row, Store, Value
from agent.store.decisions import ACTIONS, Action, last_event
from agent.store.moves import OPEN, Event, event_in, proposal_in
from agent.types import Article, Belief, Claim, EditRequest, Proposal

PAGE_SIZE = 20
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of `total` rows: the page `number`, counted from 1, of pages of `size`."""

    items: tuple[T, ...]
    total: int
    number: int
    size: int

    @property
    def last(self) -> int:
        return max(1, -(-self.total // self.size))


@dataclass(frozen=True, slots=True)
class Filter:
    """Which proposals. `status`: one, or "due" (pending and not deferred), "deferred", "" for all; `text`: in subject, object or answer."""

    status: str = "due"
    relation: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """A proposal with everything that a decision needs. `seen`: its last event (`decisions.decide` wants it back). `cited`: by article
    id. `rivals`: open proposals with another object for the same key.
    """

    proposal: Proposal
    seen: int
    belief: Belief | None
    request: EditRequest | None
    claims: tuple[Claim, ...]
    cited: Mapping[str, Article]
    events: tuple[Event, ...]
    rivals: tuple[Proposal, ...] = ()

    def actions(self, now: datetime) -> tuple[Action, ...]:
        """What can be decided."""
        found = ACTIONS.get(self.proposal.status, ())
        deferred = self.proposal.not_before_at
        return (*found, "due") if found and deferred is not None and deferred > now else found


@dataclass(frozen=True, slots=True)
class Asked:
    """What the model said of a key when it was asked last, for that proposal."""

    proposal: Proposal
    belief: Belief
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class Happened:
    """An event with its proposal."""

    proposal: Proposal
    event: Event


@dataclass(frozen=True, slots=True)
class Track:
    """One relation of a subject: its proposals with their histories, and what was read, oldest first."""

    relation: str
    proposals: tuple[Proposal, ...]
    events: tuple[Event, ...]
    claims: tuple[Claim, ...]
    cited: Mapping[str, Article] = field(default_factory=dict)


def waiting(store: Store, now: datetime) -> tuple[int, ...]:
    """The proposals that wait for a decision, the newest fact first."""
    where, values = _where(Filter(), now)
    rows = store.rows(f"SELECT id FROM proposal WHERE {where} ORDER BY valid_from DESC, id DESC", values)
    return tuple(int(row["id"]) for row in rows)


def listed(
    store: Store, wanted: Filter, now: datetime, number: int = 1, size: int = PAGE_SIZE
) -> Page[Proposal]:
    """One page of proposals, the newest fact first. A page beyond the last is the last."""
    where, values = _where(wanted, now)
    return _paged(
        store, "proposal", where, values, "valid_from DESC, id DESC", (number, size), lambda rows: map(proposal_in, rows)
    )  # fmt: skip


def counts(store: Store, now: datetime) -> dict[str, int]:
    """How many proposals there are of each status, "due" and "deferred" among them."""
    rows = store.rows("SELECT status, count(*) AS n FROM proposal GROUP BY status ORDER BY status")
    found = {str(row["status"]): int(row["n"]) for row in rows}
    where, values = _where(Filter(), now)
    due = int(cast(Row, store.row(f"SELECT count(*) AS n FROM proposal WHERE {where}", values))["n"])
    return {"due": due, "deferred": found.get("pending", 0) - due, **found}


def relations(store: Store) -> tuple[str, ...]:
    """Those that there are proposals for."""
    rows = store.rows("SELECT DISTINCT relation FROM proposal ORDER BY relation")
    return tuple(str(row["relation"]) for row in rows)


def case(store: Store, proposal_id: int) -> Case:
    """Everything about one proposal, as of one moment. Raises UnknownId."""
    with store.reading():
        proposal = queue.get(store, proposal_id)
        claims = articles.claims_by_id(store, proposal.fact.evidence)
        cited = {a.id: a for a in articles.articles_of(store, (claim.article_id for claim in claims))}
        marks = ", ".join("?" * len(OPEN))
        rivals = store.rows(
            "SELECT * FROM proposal WHERE subject = ? AND relation = ? AND id <> ? AND object <> ?"
            f" AND status IN ({marks}) ORDER BY id",
            (*proposal.fact.key, proposal_id, proposal.fact.object, *OPEN),
        )
        return Case(
            proposal=proposal,
            seen=last_event(store, proposal_id),
            belief=queue.belief(store, proposal_id),
            request=queue.request(store, proposal_id),
            claims=claims,
            cited=cited,
            events=queue.events(store, proposal_id),
            rivals=tuple(map(proposal_in, rivals)),
        )


def cases(store: Store, proposals: Sequence[Proposal]) -> tuple[Case, ...]:
    with store.reading():
        return tuple(case(store, proposal.id) for proposal in proposals)


def beliefs(store: Store, text: str = "", number: int = 1, size: int = PAGE_SIZE) -> Page[Asked]:
    """By subject and relation, what the model answered when it was asked last."""
    where = "id IN (SELECT max(id) FROM proposal WHERE belief IS NOT NULL GROUP BY subject, relation)"
    more, found = _text(text)
    return _paged(
        store, "proposal", where + more, found, "subject, relation, id", (number, size),
        lambda rows: (Asked(proposal_in(row), belief_of(row["belief"]), to_time(row["created_at"])) for row in rows),
    )  # fmt: skip


def happened(store: Store, number: int = 1, size: int = PAGE_SIZE) -> Page[Happened]:
    """Everything that was done to proposals, the newest first."""

    def made(rows: list[Row]) -> Iterable[Happened]:
        return (Happened(queue.get(store, row["proposal_id"]), event_in(row)) for row in rows)

    return _paged(store, "proposal_event", "1", (), "id DESC", (number, size), made)


def subject(store: Store, name: str) -> tuple[Track, ...]:
    """By relation, what was read and decided about a subject; nothing for one that there is nothing about."""
    with store.reading():
        rows = store.rows("SELECT * FROM proposal WHERE subject = ? ORDER BY id", (name,))
        proposals = [proposal_in(row) for row in rows]
        read = store.rows("SELECT DISTINCT relation FROM claim WHERE subject = ? ORDER BY relation", (name,))
        names = sorted({*(p.fact.relation for p in proposals), *(str(row["relation"]) for row in read)})
        return tuple(_track(store, name, relation, proposals) for relation in names)


def evidence(store: Store, claim_id: str) -> tuple[Claim, Article] | None:
    """A claim with its article, None where either is unknown."""
    with store.reading():
        claims = articles.claims_by_id(store, (claim_id,))
        found = tuple(articles.articles_of(store, (claim.article_id for claim in claims)))
        return (claims[0], found[0]) if claims and found else None


def _track(store: Store, name: str, relation: str, proposals: Sequence[Proposal]) -> Track:
    here = tuple(p for p in proposals if p.fact.relation == relation)
    claims = articles.claims(store, (name, relation))
    events = sorted((e for p in here for e in queue.events(store, p.id)), key=lambda e: e.at)
    cited = {a.id: a for a in articles.articles_of(store, (claim.article_id for claim in claims))}
    return Track(relation, here, tuple(events), claims, cited)


def _paged(
    store: Store,
    table: str,
    where: str,
    values: Sequence[Value],
    order: str,
    place: tuple[int, int],
    made: Callable[[list[Row]], Iterable[T]],
) -> Page[T]:
    """`place`: which page, of which size."""
    number, size = place
    with store.reading():
        total = int(cast(Row, store.row(f"SELECT count(*) AS n FROM {table} WHERE {where}", values))["n"])
        number = min(max(1, number), max(1, -(-total // size)))
        rows = store.rows(
            f"SELECT * FROM {table} WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?",
            (*values, size, (number - 1) * size),
        )
    return Page(tuple(made(rows)), total, number, size)


def _where(wanted: Filter, now: datetime) -> tuple[str, tuple[Value, ...]]:
    """The condition for a filter and its values."""
    at = to_text(now)
    kinds: dict[str, tuple[str, tuple[Value, ...]]] = {
        "": ("1", ()),
        "due": ("status = 'pending' AND (not_before_at IS NULL OR not_before_at <= ?)", (at,)),
        "deferred": ("status = 'pending' AND not_before_at > ?", (at,)),
    }
    where, values = kinds.get(wanted.status, ("status = ?", (wanted.status,)))
    if wanted.relation:
        where, values = f"{where} AND relation = ?", (*values, wanted.relation)
    more, found = _text(wanted.text)
    return where + more, (*values, *found)


def _text(text: str) -> tuple[str, tuple[Value, ...]]:
    wanted = text.replace("\0", "").strip()  # SQLite would take what stands before it for all of it
    if not wanted:
        return "", ()
    escaped = wanted.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    columns = ("subject", "object", "target_old")
    either = " OR ".join(f"{column} LIKE ? ESCAPE '\\'" for column in columns)
    return f" AND ({either})", (f"%{escaped}%",) * len(columns)
