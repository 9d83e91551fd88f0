"""`report.json`: everything that the page shows, as plain values in a fixed order (docs/report.md describes it)."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from agent.page.facts import FactRow
from agent.page.inputs import Past
from agent.page.view import View, moment
from agent.types import Asked, Failure

VERSION = 1
Record = dict[str, Any]


def document(view: View) -> Record:
    """The same view gives the same record. Numbers that are not finite are None: JSON has neither NaN nor infinities."""
    return {
        "version": VERSION,
        "factd": view.version,
        "made_at": view.made_at,
        "fresh": view.fresh,
        "outcome": view.outcome,
        "reasons": list(view.reasons),
        "revision": {
            "id": view.revision,
            "status": view.status,
            "created_at": view.created_at,
            "base_sha": view.base_sha,
            "delta_sha": view.delta_sha,
            "weights": view.weights,
            "overlay": view.overlay,
        },
        "metrics": [asdict(row) for row in view.metrics],
        "moved": [asdict(moved) for moved in view.moved],
        "facts": [_fact(row) for row in view.facts],
        "left_out": [asdict(left) for left in view.left_out],
        "relations": [asdict(share) for share in view.relations],
        "others": [asdict(other.cell) for other in view.others],
        "failures": [_failure(f) for group in view.failures for f in group.failures],
        "examples": [{"prompt": p, "before": b, "after": a} for p, b, a in view.examples],
        "norms": [asdict(norm) for norm in view.norms],
        "history": [_past(past) for past in view.history],
        "settings": view.settings,
        "asked": [_asked(asked) for asked in view.asked],
    }


def to_text(record: Record) -> str:
    """One text for one record, ASCII only: answers may hold what a terminal would obey, and halves of surrogate pairs."""
    return json.dumps(record, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def _fact(row: FactRow) -> Record:
    """Its answers are those in `asked` with its subject and relation, and those of kind same_subject about its subject."""
    return {
        "subject": row.subject,
        "relation": row.relation,
        "object": row.object,
        "old": row.old,
        "new": row.new,
        "prompt": row.prompt,
        "right": row.right,
        "told": row.told,
        "place": row.place,
        "note": row.note,
        "proposal": row.proposal,
        "valid_from": row.valid_from,
        "publishers": list(row.publishers),
        "cells": [asdict(cell) for cell in row.cells],
    }


def _failure(failure: Failure) -> Record:
    subject, relation = failure.fact_key
    return {
        "kind": failure.kind,
        "subject": subject,
        "relation": relation,
        "prompt": failure.prompt,
        "expected": failure.expected,
        "got": failure.got,
    }


def _asked(asked: Asked) -> Record:
    subject, relation = asked.fact_key
    return {
        "kind": asked.kind,
        "subject": subject,
        "relation": relation,
        "prompt": asked.prompt,
        "expect": list(asked.expect),
        "before": asked.before,
        "after": asked.after,
        "was_right": asked.was_right,
        "right": asked.right,
        "kept": asked.kept,
    }


def _past(past: Past) -> Record:
    return {
        "id": past.id,
        "created_at": moment(past.created_at),
        "status": past.status,
        "weights": past.weights,
        "overlay": past.overlay,
        "after": dict(sorted(past.after.items())),
    }
