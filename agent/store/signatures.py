"""Signatures as rows of the ledger, so that they are sealed like everything else. What they mean is `agent.signing`'s business."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from agent.errors import StoreError
from agent.store import ledger
from agent.store.codec import to_text
from agent.store.db import Store

KIND = "signed"


@dataclass(frozen=True, slots=True)
class Signature:
    """Row `row` holds it; it says that `who` saw the ledger up to row `seq` with the hash `hash`. `fits`: that row has that hash."""

    row: int
    seq: int
    hash: str
    who: str
    at: str
    key: str
    signature: str
    fits: bool


def add(store: Store, who: str, now: datetime, sign: Callable[[int, str, str], tuple[str, str]]) -> Signature:
    """Sign the head: `sign(seq, hash, at)` gives key and signature. Raises StoreError for an empty or a broken ledger."""
    with store.writing("sign"):
        broken = ledger.verify_chain(store)
        if broken is not None:
            raise StoreError(f"ledger row {broken}: was changed; a broken ledger is not signed")
        seq, seal = ledger.head(store)
        if not seq:
            raise StoreError("the ledger is empty; there is nothing to sign yet")
        at = to_text(now)
        key, signature = sign(seq, seal, at)
        payload = {"seq": seq, "hash": seal, "who": who, "at": at, "key": key, "signature": signature}
        row = ledger.append(store, KIND, payload, now)
    return Signature(row.seq, seq, seal, who, at, key, signature, True)


def signatures(store: Store) -> tuple[Signature, ...]:
    """All of them, oldest first."""
    entries = ledger.entries(store)
    hashes = {entry.seq: entry.hash for entry in entries}
    found = []
    for entry in entries:
        if entry.kind == KIND:
            said = {
                name: str(entry.payload.get(name, "")) for name in ("hash", "who", "at", "key", "signature")
            }
            seq = entry.payload.get("seq")
            fits = isinstance(seq, int) and seq < entry.seq and hashes.get(seq) == said["hash"]
            found.append(Signature(entry.seq, seq if isinstance(seq, int) else 0, fits=fits, **said))
    return tuple(found)
