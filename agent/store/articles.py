"""Articles as they came, and what was read in them.

An article is stored before anything else happens to it. The same text under another id is the same article
(the first that came counts, and by which further ways it came is kept); a new wording under a known id, from
the same source, replaces the text, keeps the old one aside, and makes the article unread again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from agent.errors import StoreError, UnknownId
from agent.store.codec import storable, to_text, to_time
from agent.store.db import Row, Store
from agent.types import Article, Claim, ClaimKind, Copy, FactKey

_SIGN = 1 << 63
_WORD = 1 << 64


@dataclass(frozen=True, slots=True)
class Added:
    """What became of a batch, as article ids: `new` and `revised` are to be read, `known` were there."""

    new: tuple[str, ...]
    revised: tuple[str, ...]
    known: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What is needed to find copies of one story, without its text."""

    id: str
    publisher: str
    published_at: datetime
    simhash: int


def add(store: Store, articles: Iterable[Article]) -> Added:
    """Store what is not yet there.

    One transaction: all of the batch or nothing. Doing it again changes nothing.
    """
    sorted_out: dict[str, list[str]] = {"new": [], "revised": [], "known": []}
    with store.writing("articles"):
        for article in articles:
            sorted_out[_add_one(store, article)].append(article.id)
    return Added(*(tuple(sorted_out[kind]) for kind in ("new", "revised", "known")))


def _add_one(store: Store, article: Article) -> str:
    inserted = store.run(
        "INSERT OR IGNORE INTO article VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            article.id,
            article.source,
            article.publisher,
            storable(article.url),
            storable(article.title),
            storable(article.text),
            to_text(article.published_at),
            to_text(article.fetched_at),
            article.sha256,
            _signed(article.simhash),
        ),
    )
    if inserted.rowcount == 1:
        return "new"
    if _revise(store, article):
        return "revised"
    store.run(
        "INSERT OR IGNORE INTO article_copy SELECT id, ?1, ?2 FROM article"
        " WHERE sha256 = ?3 AND (source <> ?1 OR publisher <> ?2)",
        (article.source, article.publisher, article.sha256),
    )
    return "known"


def _revise(store: Store, article: Article) -> bool:
    """Replace the text of a known id by a later, never seen wording of the same source: no other may put
    words into its mouth. Those who printed the old wording have not printed this one.

    A wording seen before is an old copy, or a feed that wavers.
    """
    seen = store.row(
        "SELECT 1 FROM article WHERE sha256 = ?1 UNION SELECT 1 FROM article_old WHERE sha256 = ?1",
        (article.sha256,),
    )
    newer = store.row(
        "SELECT 1 FROM article WHERE id = ? AND fetched_at < ? AND source = ?",
        (article.id, to_text(article.fetched_at), article.source),
    )
    if seen is not None or newer is None:
        return False
    store.run(
        "INSERT OR IGNORE INTO article_old SELECT sha256, id, title, text, fetched_at FROM article WHERE id = ?",
        (article.id,),
    )
    store.run("DELETE FROM article_copy WHERE article_id = ?", (article.id,))
    store.run(
        "UPDATE article SET url = ?, title = ?, text = ?, fetched_at = ?, sha256 = ?, simhash = ?"
        " WHERE id = ?",
        (
            storable(article.url),
            storable(article.title),
            storable(article.text),
            to_text(article.fetched_at),
            article.sha256,
            _signed(article.simhash),
            article.id,
        ),
    )
    store.run("DELETE FROM article_read WHERE article_id = ?", (article.id,))
    return True


def copies(store: Store) -> dict[str, tuple[Copy, ...]]:
    """Article id -> the further ways by which its text came."""
    found: dict[str, tuple[Copy, ...]] = {}
    for row in store.rows("SELECT * FROM article_copy ORDER BY article_id, source, publisher"):
        found[row["article_id"]] = (*found.get(row["article_id"], ()), Copy(row["source"], row["publisher"]))
    return found


def get(store: Store, article_id: str) -> Article:
    """Raises UnknownId."""
    row = store.row("SELECT * FROM article WHERE id = ?", (article_id,))
    if row is None:
        raise UnknownId(f"article {article_id!r}: there is none of that id in {store.folder}")
    return _article(row)


def since(store: Store, at: datetime) -> tuple[Article, ...]:
    """The articles fetched at or after `at`, oldest first."""
    rows = store.rows("SELECT * FROM article WHERE fetched_at >= ? ORDER BY fetched_at, id", (to_text(at),))
    return tuple(_article(row) for row in rows)


def unread(store: Store, reader: str, limit: int = -1) -> tuple[Article, ...]:
    """The articles that this version of the reader has not read, oldest publication first.

    A negative limit is none.
    """
    rows = store.rows(
        "SELECT * FROM article WHERE id NOT IN (SELECT article_id FROM article_read WHERE reader = ?)"
        " ORDER BY published_at, id LIMIT ?",
        (reader, limit),
    )
    return tuple(_article(row) for row in rows)


def fingerprints(store: Store, at: datetime) -> tuple[Fingerprint, ...]:
    """One per article published at or after `at`, oldest first."""
    rows = store.rows(
        "SELECT id, publisher, published_at, simhash FROM article WHERE published_at >= ?"
        " ORDER BY published_at, id",
        (to_text(at),),
    )
    return tuple(
        Fingerprint(row["id"], row["publisher"], to_time(row["published_at"]), row["simhash"] % _WORD)
        for row in rows
    )


def count(store: Store) -> int:
    row = store.row("SELECT count(*) FROM article")
    return 0 if row is None else int(row[0])


def counts(store: Store) -> dict[str, int]:
    """How many articles each source has brought. Reads no text, but every row."""
    rows = store.rows("SELECT source, count(*) AS many FROM article GROUP BY source")
    return {row["source"]: int(row["many"]) for row in rows}


def record_readings(
    store: Store, readings: Iterable[tuple[str, Sequence[Claim]]], reader: str, now: datetime
) -> int:
    """Keep what `reader` found in each article and mark the article as read, in one transaction. Returns how
    many claims are new.

    Claims of an earlier reading that were not found again are retired, not deleted: proposals and revisions
    still cite them.
    """
    new = 0
    with store.writing("claims"):
        for article_id, claims in readings:
            strangers = [claim.id for claim in claims if claim.article_id != article_id]
            if strangers:
                raise StoreError(
                    f"article {article_id!r}: claim {strangers[0]!r} was read in another article"
                )
            store.run(
                "UPDATE claim SET retired_at = ? WHERE article_id = ? AND retired_at IS NULL",
                (to_text(now), article_id),
            )
            new += add_claims(store, claims, now)
            # The last reader only: should an earlier one come back, its claims are to come back too.
            store.run("DELETE FROM article_read WHERE article_id = ?", (article_id,))
            store.run("INSERT INTO article_read VALUES (?, ?, ?)", (article_id, reader, to_text(now)))
    return new


def add_claims(store: Store, claims: Iterable[Claim], now: datetime) -> int:
    """Keep claims; one that is known by its id is taken out of retirement, and its score is the one given now.
    Returns how many are new.

    Raises StoreError when a claim's article is not in the store.
    """
    new = 0
    with store.writing("claims"):
        for claim in claims:
            inserted = store.run(
                "INSERT INTO claim VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL) ON CONFLICT (id) DO NOTHING",
                (
                    claim.id,
                    storable(claim.subject),
                    claim.relation,
                    storable(claim.object),
                    claim.kind,
                    claim.article_id,
                    storable(claim.sentence),
                    to_text(claim.as_of),
                    claim.score,
                    to_text(now),
                ),
            )
            new += inserted.rowcount
            store.run(
                "UPDATE claim SET retired_at = NULL, score = ?2"
                " WHERE id = ?1 AND (retired_at IS NOT NULL OR score <> ?2)",
                (claim.id, claim.score),
            )
    return new


def retire(store: Store, ids: Iterable[str], now: datetime) -> None:
    """Let claims count no longer; what cites them still finds them."""
    with store.writing("retire"):
        for claim_id in ids:
            store.run(
                "UPDATE claim SET retired_at = ? WHERE id = ? AND retired_at IS NULL",
                (to_text(now), claim_id),
            )


def claims(store: Store, key: FactKey | None = None) -> tuple[Claim, ...]:
    """The claims that hold (not retired), oldest first; with `key` those of that subject and relation."""
    where = "" if key is None else " AND subject = ? AND relation = ?"
    rows = store.rows(f"SELECT * FROM claim WHERE retired_at IS NULL{where} ORDER BY as_of, id", key or ())
    return tuple(_claim(row) for row in rows)


def claims_by_id(store: Store, ids: Iterable[str]) -> tuple[Claim, ...]:
    """Those of `ids` that are stored, retired ones too, in the order asked: what evidence points at."""
    found = (store.row("SELECT * FROM claim WHERE id = ?", (claim_id,)) for claim_id in ids)
    return tuple(_claim(row) for row in found if row is not None)


def _signed(word: int) -> int:
    """The signed 64-bit number with the same bits; `% 2**64` gives the unsigned one back."""
    return (word + _SIGN) % _WORD - _SIGN


def _article(row: Row) -> Article:
    return Article(
        id=row["id"],
        source=row["source"],
        publisher=row["publisher"],
        url=row["url"],
        title=row["title"],
        text=row["text"],
        published_at=to_time(row["published_at"]),
        fetched_at=to_time(row["fetched_at"]),
        sha256=row["sha256"],
        simhash=row["simhash"] % _WORD,
    )


def _claim(row: Row) -> Claim:
    return Claim(
        id=row["id"],
        subject=row["subject"],
        relation=row["relation"],
        object=row["object"],
        kind=cast(ClaimKind, row["kind"]),
        article_id=row["article_id"],
        sentence=row["sentence"],
        as_of=to_time(row["as_of"]),
        score=row["score"],
    )


def articles_of(store: Store, ids: Iterable[str]) -> Iterator[Article]:
    """Those of `ids` that are stored, in the order asked for, each once."""
    for article_id in dict.fromkeys(ids):
        row = store.row("SELECT * FROM article WHERE id = ?", (article_id,))
        if row is not None:
            yield _article(row)
